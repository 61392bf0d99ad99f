package cli

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
)

// policyFile is a policy as somebody wrote it, which knows where its expressions stand.
type policyFile struct {
	policy pedigree.Policy
	file   string
	lines  []string
	exprs  map[string]*yaml.Node // by the name of the gate
	// instance says that the file itself says "instance: true".
	instance bool
}

// readPolicy reads a policy in YAML or JSON: the keys of [pedigree.Policy], and no others.
// What the registry adds to a policy that is applied (seq, applied_at, applied_by) may be
// there, as in a policy that was shown, and is left out. The error is
// [pedigree.CodeInvalid] and begins with file and line.
func readPolicy(data []byte, file string) (*policyFile, error) {
	docs, err := documents(data, file)
	if err != nil {
		return nil, err
	}
	if len(docs) > 1 {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "%s: there is a second YAML document in it", file).WithFix("pedigree apply -f %s reads files of several", file)
	}
	if kind := member(docs[0], "kind"); kind != nil && kind.Value != kindPolicy {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "%s: it is a %s, not a policy", file, kind.Value).WithFix("pedigree apply -f %s", file)
	}
	var in policyDocument
	if err := decodeTyped(docs[0], file, &in); err != nil {
		return nil, err
	}
	out, err := policyOf(in.Policy, docs[0], data, file)
	if err != nil {
		return nil, err
	}
	out.instance = in.Instance
	return out, nil
}

// policyOf is a policy that was read from a document of a file.
func policyOf(policy pedigree.Policy, doc *yaml.Node, data []byte, file string) (*policyFile, error) {
	out := &policyFile{policy: policy, file: file, lines: strings.Split(string(data), "\n"), exprs: map[string]*yaml.Node{}}
	out.policy.Seq, out.policy.AppliedAt, out.policy.AppliedBy = 0, time.Time{}, ""
	if gates := member(doc, "gates"); gates != nil {
		for _, g := range gates.Content {
			if name, expr := member(g, "name"), member(g, "expr"); name != nil && expr != nil {
				out.exprs[name.Value] = expr
			}
		}
	}
	if err := out.policy.Normalize(); err != nil {
		var e *pedigree.Error
		if errors.As(err, &e) {
			placed := *e
			placed.Message = file + ": " + e.Message
			return nil, &placed
		}
		return nil, err
	}
	return out, nil
}

var gateFault = regexp.MustCompile(`gate "([a-z0-9_-]+)"(?:, line ([0-9]+), column ([0-9]+))?: `)

// place returns an error about gates, as the registry gives it, with the places in the
// file: "policy.yaml:7:12: gate "auc": …". Other errors stay as they are.
func (f *policyFile) place(err error) error {
	var e *pedigree.Error
	if !errors.As(err, &e) {
		return err
	}
	placed := *e
	placed.Message = gateFault.ReplaceAllStringFunc(e.Message, func(text string) string {
		m := gateFault.FindStringSubmatch(text)
		expr := f.exprs[m[1]]
		if expr == nil {
			return text
		}
		line, _ := strconv.Atoi(m[2])
		column, _ := strconv.Atoi(m[3])
		where := f.file + ":" + strconv.Itoa(expr.Line)
		if at, in := f.position(expr, line, column); in > 0 {
			where = f.file + ":" + strconv.Itoa(at) + ":" + strconv.Itoa(in)
		}
		return where + ": gate \"" + m[1] + "\": "
	})
	return &placed
}

// position is where a line and a column of a value stand in the file, as its style has it;
// 0 where that can't be told.
func (f *policyFile) position(value *yaml.Node, line, column int) (fileLine, fileColumn int) {
	source := func(n int) string {
		if n < 1 || n > len(f.lines) {
			return ""
		}
		return strings.TrimSuffix(f.lines[n-1], "\r")
	}
	indent := func(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }
	switch {
	case line < 1 || column < 1:
		return 0, 0
	case value.Style&yaml.LiteralStyle != 0:
		first := value.Line + 1
		for first < len(f.lines) && strings.TrimSpace(source(first)) == "" {
			first++ // blank lines before the text are part of it
		}
		return value.Line + line, indent(source(first)) + column
	case value.Style&yaml.FoldedStyle != 0 && line == 1:
		for n := value.Line + 1; n <= len(f.lines); n++ {
			text := source(n)
			length := utf8.RuneCountInString(strings.TrimLeft(text, " "))
			if length == 0 {
				break // a paragraph ends, and how lines are folded after it is another story
			}
			if column <= length+1 {
				return n, indent(text) + column
			}
			column -= length + 1
		}
		return 0, 0
	}
	start := value.Column
	if value.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		start++
	}
	text := []rune(source(value.Line))
	if line != 1 || start < 1 || start-1 > len(text) || !strings.HasPrefix(string(text[start-1:]), value.Value) {
		return 0, 0 // it goes over several lines, or is not written as it reads
	}
	return value.Line, start + column - 1
}

// member is the value of a key of a mapping, nil without.
func member(n *yaml.Node, key string) *yaml.Node {
	n = resolved(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return resolved(n.Content[i+1])
		}
	}
	return nil
}

func resolved(n *yaml.Node) *yaml.Node {
	for n != nil && (n.Kind == yaml.DocumentNode || n.Kind == yaml.AliasNode) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		} else {
			n = n.Content[0]
		}
	}
	return n
}

// documents are the YAML documents of a file that hold anything, at least one. Their
// lines are those of the file.
func documents(data []byte, file string) ([]*yaml.Node, error) {
	var out []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		doc := &yaml.Node{}
		err := dec.Decode(doc)
		switch {
		case errors.Is(err, io.EOF) && len(out) == 0:
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "%s: it is empty", file)
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
		case len(doc.Content) > 0 && doc.Content[0].ShortTag() != "!!null":
			out = append(out, doc)
		}
	}
}

// decodeTyped reads a YAML document into v, by its JSON keys. Every key must be one of
// v's, and every value fit; the error says file and line, and which key was perhaps
// meant. A text may be written without quotes, whatever YAML takes it for.
func decodeTyped(doc *yaml.Node, file string, v any) error {
	r := typedReader{file: file, budget: 200_000}
	tree, err := r.value(doc.Content[0], reflect.TypeOf(v).Elem(), "")
	if err != nil {
		return err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return pedigree.Errorf(pedigree.CodeInvalid, "%s: %w", file, err)
	}
	return nil
}

// typedReader turns nodes into what [json.Marshal] takes, as the types ask for it.
type typedReader struct {
	file   string
	budget int // of nodes, since aliases can make few bytes into many
}

func (r *typedReader) wrong(n *yaml.Node, format string, args ...any) error {
	return pedigree.Errorf(pedigree.CodeInvalid, "%s:%d: %s", r.file, n.Line, fmt.Sprintf(format, args...))
}

var textReader = reflect.TypeFor[encoding.TextUnmarshaler]()

// value reads n as a t; at is the way there, for messages.
func (r *typedReader) value(n *yaml.Node, t reflect.Type, at string) (any, error) {
	if r.budget--; r.budget < 0 {
		return nil, r.wrong(n, "the file holds too much")
	}
	if n.Kind == yaml.AliasNode {
		return r.value(n.Alias, t, at)
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return nil, nil
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(textReader) {
		if n.Kind != yaml.ScalarNode {
			return nil, r.misfit(n, at, "a text")
		}
		if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			return nil, r.wrong(n, "%s: %s", at, err)
		}
		return n.Value, nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return r.fields(n, t, at)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return nil, r.misfit(n, at, "a list")
		}
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			v, err := r.value(c, t.Elem(), at+"["+strconv.Itoa(i)+"]")
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	}
	if n.Kind != yaml.ScalarNode {
		return nil, r.misfit(n, at, "a plain value")
	}
	var v any
	var err error
	want := ""
	switch t.Kind() {
	case reflect.String:
		return n.Value, nil
	case reflect.Bool:
		want = "true or false"
		var b bool
		err, v = n.Decode(&b), &b
	case reflect.Int, reflect.Int64:
		want = "a whole number"
		var i int64
		if n.ShortTag() != "!!int" {
			return nil, r.misfit(n, at, want) // 1.5 would be cut to 1
		}
		err, v = n.Decode(&i), &i
	default:
		want = "a number"
		var f float64
		err, v = n.Decode(&f), &f
	}
	if err != nil {
		return nil, r.misfit(n, at, want)
	}
	return v, nil
}

// fields reads a mapping by the JSON keys of a struct.
func (r *typedReader) fields(n *yaml.Node, t reflect.Type, at string) (any, error) {
	if n.Kind != yaml.MappingNode {
		return nil, r.misfit(n, at, "fields (KEY: VALUE)")
	}
	known, keys := map[string]reflect.Type{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			known[name], keys = f.Type, append(keys, name)
		}
	}
	out := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		of := known[key.Value]
		if of == nil || key.Kind != yaml.ScalarNode {
			where := "here"
			if at != "" {
				where = "in " + at
			}
			if near := pedigree.Nearest(key.Value, keys); near != "" {
				return nil, r.wrong(key, "there is no key %q %s; did you mean %s?", key.Value, where, near)
			}
			return nil, r.wrong(key, "there is no key %q %s; there are %s", key.Value, where, strings.Join(slices.Sorted(slices.Values(keys)), ", "))
		}
		if _, twice := out[key.Value]; twice {
			return nil, r.wrong(key, "the key %q is there twice", key.Value)
		}
		below := key.Value
		if at != "" {
			below = at + "." + key.Value
		}
		v, err := r.value(n.Content[i+1], of, below)
		if err != nil {
			return nil, err
		}
		out[key.Value] = v
	}
	return out, nil
}

func (r *typedReader) misfit(n *yaml.Node, at, want string) error {
	got := map[yaml.Kind]string{yaml.MappingNode: "fields (KEY: VALUE)", yaml.SequenceNode: "a list"}[n.Kind]
	if got == "" {
		got = strconv.Quote(n.Value)
	}
	if at == "" {
		at = "the file"
	}
	return r.wrong(n, "%s: there is %s, and %s is wanted", at, got, want)
}
