package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
)

// Loader puts the layers together. Make one, let the flags be parsed, then call
// [Loader.Load].
type Loader struct {
	cfg   Config
	flags *pflag.FlagSet
	file  string
}

// NewLoader returns a Loader and adds its flags to flags: --config and one for each
// setting. With names, only those settings have a flag; the others still come from file
// and environment.
func NewLoader(flags *pflag.FlagSet, names ...string) *Loader {
	l := &Loader{cfg: Default(), flags: pflag.NewFlagSet("config", pflag.ContinueOnError)}
	flags.StringVar(&l.file, "config", "", "YAML `FILE` of settings ("+Variable("config")+")")
	for _, s := range settings {
		s.bind(l.flags, &l.cfg, s.name, s.usage+" ("+Variable(s.name)+")")
		if len(names) == 0 || slices.Contains(names, s.name) {
			flags.AddFlag(l.flags.Lookup(s.name))
		}
	}
	return l
}

// FromEnvironment returns the configuration of an embedded registry: defaults, the file
// that PEDIGREE_CONFIG names, and the environment. A data folder that is not empty wins
// over theirs. Errors as those of [Loader.Load].
func FromEnvironment(env func(string) string, data string) (Config, error) {
	flags := pflag.NewFlagSet("pedigree", pflag.ContinueOnError)
	l := NewLoader(flags)
	if data != "" {
		if err := flags.Set("data", data); err != nil {
			return Config{}, err
		}
	}
	return l.Load(env)
}

// Load returns the configuration: defaults, then the file, then env, then the flags
// that were given. An empty variable counts as unset. It returns [pedigree.CodeInvalid],
// naming the setting and where its value came from.
func (l *Loader) Load(env func(string) string) (Config, error) {
	path := l.file
	if path == "" {
		path = env(Variable("config"))
	}
	values, err := readFile(path)
	if err != nil {
		return Config{}, err
	}
	sources := make(map[string]string)
	for _, s := range settings {
		flag := l.flags.Lookup(s.name)
		inFile, ok := values[s.name]
		variable := Variable(s.name)
		switch {
		case flag.Changed:
			sources[s.name] = "flag"
		case env(variable) != "":
			sources[s.name] = "environment " + variable
			err = set(s, flag, env(variable), "the environment variable "+variable)
		case ok:
			sources[s.name] = "file " + path
			err = set(s, flag, inFile, path)
		default:
			sources[s.name] = "default"
		}
		if err != nil {
			return Config{}, err
		}
	}
	if l.cfg.Data == "" {
		var found bool
		if l.cfg.Data, found = DefaultData(env, runtime.GOOS); !found {
			sources["data"] = "default: there is no home folder"
		}
	}
	c, err := l.cfg.Complete()
	if err != nil {
		return Config{}, err
	}
	c.settings = describe(c, sources)
	return c, nil
}

// set parses a value by way of its flag.
func set(s setting, flag *pflag.Flag, value, where string) error {
	if err := flag.Value.Set(value); err != nil {
		if s.mask != nil {
			return invalid("%s: %s can't be read", where, s.name)
		}
		return invalid("%s: %s %q: want a %s", where, s.name, value, wanted(flag.Value.Type()))
	}
	return nil
}

func wanted(kind string) string {
	switch kind {
	case "duration":
		return "duration such as 20s or 2m"
	case "int":
		return "whole number"
	case "bool":
		return "true or false"
	}
	return kind
}

// describe lists the settings with their values in force.
func describe(c Config, sources map[string]string) []Setting {
	shown := pflag.NewFlagSet("shown", pflag.ContinueOnError)
	list := make([]Setting, len(settings))
	for i, s := range settings {
		s.bind(shown, &c, s.name, s.usage)
		flag := shown.Lookup(s.name)
		value := flag.Value.String()
		if s.mask != nil {
			value = s.mask(value)
		}
		_, usage := pflag.UnquoteUsage(flag)
		list[i] = Setting{Name: s.name, Value: value, Source: sources[s.name], Variable: Variable(s.name), Usage: usage}
	}
	return list
}

// readFile reads a YAML file into texts by key. It returns nothing for no path.
func readFile(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, invalid("the configuration file can't be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	return parseFile(f, path)
}

// parseFile reads the one mapping that a configuration file consists of.
func parseFile(r io.Reader, path string) (map[string]string, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(r)
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil // empty, or comments only
	} else if err != nil {
		return nil, invalid("%s is not YAML: %w", path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, invalid("%s holds more than one document", path)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, invalid("%s: want lines of the form \"name: value\"", path)
	}
	values := make(map[string]string)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		where := fmt.Sprintf("%s, line %d", path, key.Line)
		if err := checkKey(key.Value, where); err != nil {
			return nil, err
		}
		if _, twice := values[key.Value]; twice {
			return nil, invalid("%s: %s is set twice", where, key.Value)
		}
		if value.Kind != yaml.ScalarNode {
			return nil, invalid("%s: %s: want one value, not a list or a block", where, key.Value)
		}
		if value.Tag == "!!null" {
			return nil, invalid("%s: %s has no value", where, key.Value).WithFix("remove the line for the default")
		}
		values[key.Value] = value.Value
	}
	return values, nil
}

func checkKey(key, where string) error {
	names := make(map[string]bool)
	for _, s := range settings {
		names[s.name] = true
	}
	if names[key] {
		return nil
	}
	err := invalid("%s: %q is not a setting", where, key)
	if near := pedigree.Nearest(key, slices.Sorted(maps.Keys(names))); near != "" {
		return err.WithFix("did you mean %s?", near)
	}
	return err.WithFix("pedigree config lists them")
}

// DefaultData is the user's folder for this program's data on the system goos, and
// false where env names no home folder: then it is pedigree-data in the working folder.
func DefaultData(env func(string) string, goos string) (dir string, found bool) {
	home := env("HOME")
	switch goos {
	case "windows":
		if local := env("LOCALAPPDATA"); local != "" {
			return filepath.Join(local, "pedigree"), true
		}
		home = env("USERPROFILE")
		if home != "" {
			return filepath.Join(home, "AppData", "Local", "pedigree"), true
		}
	case "darwin":
		if home != "" {
			return filepath.Join(home, "Library", "Application Support", "pedigree"), true
		}
	default:
		if xdg := env("XDG_DATA_HOME"); filepath.IsAbs(xdg) { // the specification says to ignore others
			return filepath.Join(xdg, "pedigree"), true
		}
		if home != "" {
			return filepath.Join(home, ".local", "share", "pedigree"), true
		}
	}
	return "pedigree-data", false
}
