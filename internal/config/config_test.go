package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
)

// environment is a lookup in a map that has a home folder.
func environment(vars map[string]string) func(string) string {
	return func(name string) string {
		if v, ok := vars[name]; ok {
			return v
		}
		if name == "HOME" || name == "USERPROFILE" {
			return filepath.FromSlash("/home/ada")
		}
		return ""
	}
}

// load runs the layers; file is the text of the configuration file, "" for none.
func load(t *testing.T, file string, vars map[string]string, args ...string) (config.Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	l := config.NewLoader(flags)
	if file != "" {
		path := filepath.Join(t.TempDir(), "pedigree.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return l.Load(environment(vars))
}

func source(c config.Config, name string) string {
	for _, s := range c.Settings() {
		if s.Name == name {
			// A file's folder is another one in each run.
			source, _, _ := strings.Cut(s.Source, " ")
			return source
		}
	}
	return "no such setting"
}

func TestLayers(t *testing.T) {
	for _, test := range []struct {
		name   string
		file   string
		vars   map[string]string
		args   []string
		want   string // of addr
		source string
	}{
		{"Default", "", nil, nil, "127.0.0.1:5000", "default"},
		{"File", "addr: 127.0.0.1:1\n", nil, nil, "127.0.0.1:1", "file"},
		{"EnvironmentOverFile", "addr: 127.0.0.1:1\n", map[string]string{"PEDIGREE_ADDR": "127.0.0.1:2"}, nil, "127.0.0.1:2", "environment"},
		{"FlagOverAll", "addr: 127.0.0.1:1\n", map[string]string{"PEDIGREE_ADDR": "127.0.0.1:2"}, []string{"--addr=127.0.0.1:3"}, "127.0.0.1:3", "flag"},
		{"EmptyVariableIsUnset", "addr: 127.0.0.1:1\n", map[string]string{"PEDIGREE_ADDR": ""}, nil, "127.0.0.1:1", "file"},
		{"EmptyFile", "# nothing\n", nil, nil, "127.0.0.1:5000", "default"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := load(t, test.file, test.vars, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := source(c, "addr"); c.Addr != test.want || got != test.source {
				t.Errorf("got %s from %s, want %s from %s", c.Addr, got, test.want, test.source)
			}
		})
	}
}

func TestEverySettingFromEveryLayer(t *testing.T) {
	values := map[string]string{
		"addr": "127.0.0.1:7", "data": "/d", "database": "/d/x.db", "blobs": "/b", "log-key": "PRIVATE+KEY+x", "log-key-file": "/k", "log-origin": "o/log",
		"allow-anonymous": "true", "public-read": "true", "secret": "hunter2 and more", "webhook-allow": "10.0.0.0/8,ci.internal", "public-url": "https://models.example.org", "readiness-interval": "4h0m0s", "checkpoint-to": "/c", "upstream-mlflow": "http://127.0.0.1:8", "upstream-mlflow-user": "ann", "upstream-mlflow-password": "s3cret", "upstream-mlflow-token": "t0ken",
		"log-format": "json", "log-level": "debug", "shutdown-timeout": "5s", "max-connections": "9",
		"database-connections": "3", "read-header-timeout": "6s", "idle-timeout": "7s",
	}
	c, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		value, ok := values[s.Name]
		if !ok {
			t.Errorf("this test knows no value for %s", s.Name)
			continue
		}
		for layer, try := range map[string]func() (config.Config, error){
			"flag":        func() (config.Config, error) { return load(t, "", nil, "--"+s.Name+"="+value) },
			"environment": func() (config.Config, error) { return load(t, "", map[string]string{s.Variable: value}) },
			"file":        func() (config.Config, error) { return load(t, s.Name+": "+value+"\n", nil) },
		} {
			c, err := try()
			if err != nil {
				t.Errorf("%s from %s: %v", s.Name, layer, err)
				continue
			}
			if got := source(c, s.Name); got != layer {
				t.Errorf("%s: source is %q, want %q", s.Name, got, layer)
			}
			if s.Usage == "" {
				t.Errorf("%s has no text", s.Name)
			}
			for _, shown := range c.Settings() {
				want := value
				switch {
				case s.Name == "log-key", s.Name == "secret", s.Name == "upstream-mlflow-password", s.Name == "upstream-mlflow-token":
					want = "(secret)"
				case strings.HasPrefix(value, "/"):
					want, _ = filepath.Abs(value)
				}
				if shown.Name == s.Name && shown.Value != want {
					t.Errorf("%s from %s: shown as %q, want %q", s.Name, layer, shown.Value, want)
				}
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		file string
		vars map[string]string
		args []string
		want string // in the message or the fix
	}{
		{"UnknownKey", "adr: x\n", nil, nil, "did you mean addr?"},
		{"UnknownKeyNamesItsLine", "# one\nlog-level: info\ncolour: red\n", nil, nil, "line 3"},
		{"KeyTwice", "addr: 127.0.0.1:1\naddr: 127.0.0.1:2\n", nil, nil, "twice"},
		{"Block", "addr:\n  host: x\n", nil, nil, "one value"},
		{"NoValue", "addr:\n", nil, nil, "no value"},
		{"List", "- addr\n", nil, nil, "name: value"},
		{"NotYAML", "a: [", nil, nil, "not YAML"},
		{"TwoDocuments", "addr: 127.0.0.1:1\n---\naddr: 127.0.0.1:2\n", nil, nil, "more than one document"},
		{"BadDurationInFile", "shutdown-timeout: soon\n", nil, nil, "such as 20s"},
		{"BadDurationInEnvironment", "", map[string]string{"PEDIGREE_IDLE_TIMEOUT": "5"}, nil, "PEDIGREE_IDLE_TIMEOUT"},
		{"NegativeDuration", "", nil, []string{"--idle-timeout=-1s"}, "negative"},
		{"BadNumber", "max-connections: many\n", nil, nil, "whole number"},
		{"BadReceivers", "", nil, []string{"--webhook-allow=http://x"}, "networks and hosts"},
		{"BadPublicURL", "", nil, []string{"--public-url=models.example.org"}, "without a slash"},
		{"BadBool", "", map[string]string{"PEDIGREE_ALLOW_ANONYMOUS": "perhaps"}, nil, "true or false"},
		{"NoPort", "", nil, []string{"--addr=127.0.0.1"}, "host:port"},
		{"BadPort", "", nil, []string{"--addr=127.0.0.1:http"}, "0 to 65535"},
		{"OtherDatabase", "", nil, []string{"--database=mysql://root:hunter2@h/d"}, "postgres://"},
		{"DatabaseInWords", "", nil, []string{"--database=host=h password=hunter2"}, "postgres://"},
		{"TwoKeys", "", map[string]string{"PEDIGREE_LOG_KEY": "hunter2"}, []string{"--log-key-file=k"}, "which one"},
		{"CheckpointToURL", "", nil, []string{"--checkpoint-to=https://u:hunter2@h/x"}, "to a file"},
		{"LogFormat", "", nil, []string{"--log-format=xml"}, "text or json"},
		{"LogLevel", "", nil, []string{"--log-level=loud"}, "debug, info, warn or error"},
		{"Origin", "", nil, []string{"--log-origin=a b"}, "white space"},
		{"Connections", "", nil, []string{"--database-connections=-1"}, "from 1"},
		{"NoSuchFile", "", map[string]string{"PEDIGREE_CONFIG": "/nowhere/pedigree.yaml"}, nil, "can't be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.file, test.vars, test.args...)
			if pedigree.CodeOf(err) != pedigree.CodeInvalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an invalid that says %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message holds a secret: %v", err)
			}
		})
	}
}

func TestAddressesOfThisMachine(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		"10.0.0.1:1": false, "[::]:1": false, "0.0.0.0:1": false, "localhost.evil.example:1": false,
	} {
		c, err := load(t, "", nil, "--addr", addr) // whether it may listen there, the log decides
		if err != nil || c.Loopback() != ok {
			t.Errorf("%s: got %v, %v; want %v", addr, c.Loopback(), err, ok)
		}
	}
}

func TestPasswordIsMasked(t *testing.T) {
	for _, dsn := range []string{
		"postgres://ada:hunter2@db/pedigree", "postgresql://db/pedigree?password=hunter2&user=ada", "postgres://db/p?sslpassword=hunter2", "postgres://ada:hunter2@db:x/%zz",
	} {
		c, err := load(t, "", map[string]string{"PEDIGREE_DATABASE": dsn})
		if err != nil {
			t.Fatal(err)
		}
		if c.Database != dsn {
			t.Errorf("the database is %s", c.Database)
		}
		for _, s := range c.Settings() {
			if strings.Contains(s.Value, "hunter2") {
				t.Errorf("%s shows the password: %s", s.Name, s.Value)
			}
		}
	}
}

func TestDefaultData(t *testing.T) {
	for _, test := range []struct {
		name, goos string
		vars       map[string]string
		want       string
		found      bool
	}{
		{"XDG", "linux", map[string]string{"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/pedigree", true},
		{"RelativeXDGIsIgnored", "linux", map[string]string{"XDG_DATA_HOME": "x", "HOME": "/h"}, "/h/.local/share/pedigree", true},
		{"Home", "linux", map[string]string{"HOME": "/h"}, "/h/.local/share/pedigree", true},
		{"Mac", "darwin", map[string]string{"HOME": "/h"}, "/h/Library/Application Support/pedigree", true},
		{"Windows", "windows", map[string]string{"LOCALAPPDATA": "/l"}, "/l/pedigree", true},
		{"WindowsProfile", "windows", map[string]string{"USERPROFILE": "/u"}, "/u/AppData/Local/pedigree", true},
		{"NoHome", "linux", nil, "pedigree-data", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, found := config.DefaultData(func(name string) string { return test.vars[name] }, test.goos)
			if filepath.ToSlash(dir) != test.want || found != test.found {
				t.Errorf("got %s, %v, want %s, %v", dir, found, test.want, test.found)
			}
		})
	}
}

func TestNoHomeFolderIsSaid(t *testing.T) {
	c, err := config.FromEnvironment(func(string) string { return "" }, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		if s.Name == "data" && (filepath.Base(s.Value) != "pedigree-data" || !strings.Contains(s.Source, "no home")) {
			t.Errorf("data is %s, from %q", s.Value, s.Source)
		}
	}
}

func TestZeroMeansDefault(t *testing.T) {
	dir := t.TempDir()
	c, err := config.Config{Data: dir, ShutdownTimeout: time.Minute}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Data, want.ShutdownTimeout = dir, time.Minute
	want.Database, want.Blobs, want.LogKeyFile = filepath.Join(dir, "pedigree.db"), filepath.Join(dir, "blobs"), filepath.Join(dir, "log.key")
	for name, pair := range map[string][2]any{
		"Addr": {c.Addr, want.Addr}, "Database": {c.Database, want.Database}, "Blobs": {c.Blobs, want.Blobs}, "LogKeyFile": {c.LogKeyFile, want.LogKeyFile},
		"ShutdownTimeout": {c.ShutdownTimeout, want.ShutdownTimeout}, "IdleTimeout": {c.IdleTimeout, want.IdleTimeout}, "MaxConnections": {c.MaxConnections, want.MaxConnections},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
	if _, err := (config.Config{}).Complete(); pedigree.CodeOf(err) != pedigree.CodeInvalid {
		t.Errorf("without a data folder: got %v", err)
	}
}

func TestKeyFileOfADatabaseElsewhere(t *testing.T) {
	dir := t.TempDir()
	c, err := config.Config{Data: dir, Database: filepath.Join(dir, "other.db")}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "other.db.log.key"); c.LogKeyFile != want {
		t.Errorf("got %s, want %s: two logs must not share a key", c.LogKeyFile, want)
	}
	c, err = config.Config{Data: dir, Database: "postgres://db/x"}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	if c.LogKeyFile != "" {
		t.Errorf("PostgreSQL: got %s, want none", c.LogKeyFile)
	}
}
