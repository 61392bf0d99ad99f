package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/capture"
	"github.com/pedigree-ml/pedigree/internal/link"
)

// recordFlags are the flags that give a record, for push and amend.
type recordFlags struct {
	metrics, data, params, outputs, parents, evidence []string

	owner, image, target, rollbackNote string
	code, signature                    string
	dataFile, recordFile               string
	allowSecrets                       bool
}

func (f *recordFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.metrics, "metric", nil, "offline metric, `NAME=VALUE[@DATASET[/SPLIT]]` (repeat)")
	flags.StringArrayVar(&f.data, "data", nil, "data reference, `ROLE=URI[@DIGEST]`; also ROLE=PATH, ROLE=query:SELECT … (repeat)")
	flags.StringVar(&f.dataFile, "data-file", "", "`FILE` with a YAML list of data references in their full form")
	flags.StringVar(&f.owner, "owner", "", "person or team that answers for it (PEDIGREE_OWNER)")
	flags.StringVar(&f.image, "image", "", "container `IMAGE` that ran the training, best with its digest")
	flags.StringVar(&f.code, "code", "", "where the code is, `REPO@COMMIT`")
	flags.StringVar(&f.target, "target", "", "intended place of use, `ENV/NAME`")
	flags.StringVar(&f.rollbackNote, "rollback-note", "", "what to mind when going back from this version")
	flags.StringArrayVar(&f.params, "param", nil, "parameter of the training, `NAME=VALUE` (repeat)")
	flags.StringArrayVar(&f.outputs, "output", nil, "what the training wrote besides the model, `[NAME=]URI` (repeat)")
	flags.StringArrayVar(&f.parents, "parent", nil, "where it came from, `RELATION=REF|URI`, as in fine-tuned-from=fraud/6 (repeat)")
	flags.StringArrayVar(&f.evidence, "evidence", nil, "document or result to attach, `KIND=FILE|URI`, as in evaluation=report.html (repeat)")
	flags.StringVar(&f.signature, "signature", "", "JSON or YAML `FILE` that says what the model takes and gives")
	flags.StringVar(&f.recordFile, "record", "", "YAML `FILE` with fields of the record; flags win over it")
	allowSecrets(flags, &f.allowSecrets)
}

// given is what flags and files said.
type given struct {
	record      pedigree.Record
	attachments []client.Attachment
	tags        map[string]string
	description string
}

// read reads flags and files over what was captured. owner stands in where nothing
// names one.
func (f *recordFlags) read(ctx context.Context, captured pedigree.Record, attachments []client.Attachment, owner string) (given, error) {
	out := given{record: captured, attachments: attachments}
	if f.recordFile != "" {
		var file struct {
			pedigree.Record
			Tags        map[string]string `json:"tags"`
			Description string            `json:"description"`
		}
		if err := readYAML(f.recordFile, &file); err != nil {
			return out, err
		}
		overlay(&out.record, file.Record)
		out.tags, out.description = file.Tags, file.Description
	}
	flags, err := f.flagRecord(ctx)
	if err != nil {
		return out, err
	}
	before := commitOf(captured)
	overlay(&out.record, flags)
	if before != "" && commitOf(out.record) != before {
		// What differed from another commit says nothing about this one.
		out.attachments = slices.DeleteFunc(slices.Clone(out.attachments), func(a client.Attachment) bool {
			return a.Evidence.Kind == "patch" || a.Evidence.Kind == "notebook"
		})
		out.record.Code.Dirty = false
	}
	if out.record.Owner == "" {
		out.record.Owner = owner
	}
	attached, links, err := readEvidence(f.evidence, out.attachments)
	if err != nil {
		return out, err
	}
	out.attachments = append(out.attachments, attached...)
	overlay(&out.record, pedigree.Record{Evidence: links})
	return out, nil
}

// flagRecord is the record that the flags alone give, without evidence.
func (f *recordFlags) flagRecord(ctx context.Context) (pedigree.Record, error) {
	r := pedigree.Record{Owner: f.owner, Target: f.target, RollbackNote: f.rollbackNote}
	var err error
	if r.Metrics, err = parseAll(f.metrics, parseMetric); err != nil {
		return r, err
	}
	if f.dataFile != "" {
		if err := readYAML(f.dataFile, &r.Data); err != nil {
			return r, err
		}
	}
	data, err := parseAll(f.data, func(s string) (pedigree.DataReference, error) { return parseData(ctx, s) })
	if err != nil {
		return r, err
	}
	r.Data = append(r.Data, data...)
	if r.Outputs, err = parseAll(f.outputs, parseOutput); err != nil {
		return r, err
	}
	if r.Parents, err = parseAll(f.parents, parseParent); err != nil {
		return r, err
	}
	if r.Params, err = parsePairs("param", f.params); err != nil {
		return r, err
	}
	if f.image != "" {
		r.Runtime = &pedigree.Runtime{Image: f.image}
	}
	if f.code != "" {
		if r.Code, err = parseCode(f.code); err != nil {
			return r, err
		}
	}
	if f.signature != "" {
		r.Signature = &pedigree.Signature{}
		if err := readYAML(f.signature, r.Signature); err != nil {
			return r, err
		}
	}
	if r.Target != "" {
		if _, err := pedigree.ParseTarget(r.Target); err != nil {
			return r, err
		}
	}
	return r, nil
}

func commitOf(r pedigree.Record) string {
	if r.Code == nil {
		return ""
	}
	return r.Code.Commit
}

// overlay lays what somebody said over what is there: texts and structs field by
// field, lists and params by their keys.
func overlay(r *pedigree.Record, over pedigree.Record) {
	if over.Artifact.Kind != "" {
		r.Artifact = over.Artifact
	}
	if over.Code != nil {
		if r.Code == nil || over.Code.Commit != "" && !strings.HasPrefix(r.Code.Commit, over.Code.Commit) {
			r.Code = over.Code
		} else {
			code := *r.Code
			code.Repository = cmp.Or(over.Code.Repository, code.Repository)
			code.Branch = cmp.Or(over.Code.Branch, code.Branch)
			code.Path = cmp.Or(over.Code.Path, code.Path)
			code.Dirty = over.Code.Dirty || code.Dirty
			r.Code = &code
		}
	}
	if over.Runtime != nil {
		rt := pedigree.Runtime{}
		if r.Runtime != nil {
			rt = *r.Runtime
		}
		rt.Image = cmp.Or(over.Runtime.Image, rt.Image)
		rt.Environment = cmp.Or(over.Runtime.Environment, rt.Environment)
		rt.Compute = cmp.Or(over.Runtime.Compute, rt.Compute)
		rt.Seconds = cmp.Or(over.Runtime.Seconds, rt.Seconds)
		r.Runtime = &rt
	}
	r.Run = cmp.Or(over.Run, r.Run)
	r.Signature = cmp.Or(over.Signature, r.Signature)
	r.Owner = cmp.Or(over.Owner, r.Owner)
	r.Target = cmp.Or(over.Target, r.Target)
	r.RollbackNote = cmp.Or(over.RollbackNote, r.RollbackNote)
	if len(over.Params) > 0 {
		params := pedigree.Params{}
		for _, from := range []pedigree.Params{r.Params, over.Params} {
			for k, v := range from {
				params[k] = v
			}
		}
		r.Params = params
	}
	r.Data = overlayList(r.Data, over.Data, func(d pedigree.DataReference) string { return d.Role + "\x00" + string(d.URI) + "\x00" + d.Query })
	r.Metrics = overlayList(r.Metrics, over.Metrics, func(m pedigree.Metric) string { return m.Name + "\x00" + m.Dataset + "\x00" + m.Split })
	r.Outputs = overlayList(r.Outputs, over.Outputs, func(o pedigree.Output) string { return cmp.Or(o.Name, string(o.URI)) })
	r.Parents = overlayList(r.Parents, over.Parents, func(p pedigree.Parent) string { return p.Reference + "\x00" + string(p.URI) })
	r.Flavors = overlayList(r.Flavors, over.Flavors, func(f pedigree.Flavor) string { return f.Name })
	r.Evidence = overlayList(r.Evidence, over.Evidence, func(e pedigree.Evidence) string { return e.Name })
}

func overlayList[T any](list, over []T, key func(T) string) []T {
	for _, o := range over {
		i := slices.IndexFunc(list, func(t T) bool { return key(t) == key(o) })
		if i < 0 {
			list = append(list, o)
		} else {
			list = slices.Clone(list)
			list[i] = o
		}
	}
	return list
}

func parseAll[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, s := range texts {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// flagError is the error of a flag's value, with the form that it should have.
func flagError(flag, value, why, form string) error {
	return pedigree.Errorf(pedigree.CodeInvalid, "--%s %q: %s", flag, cut(value, 80), why).WithFix("write --%s %s", flag, form)
}

// parseMetric reads NAME=VALUE[@DATASET[/SPLIT]].
func parseMetric(s string) (pedigree.Metric, error) {
	const form = "NAME=VALUE[@DATASET[/SPLIT]], as in auc=0.93@test"
	name, rest, found := strings.Cut(s, "=")
	if !found || name == "" {
		return pedigree.Metric{}, flagError("metric", s, "there is no name and value", form)
	}
	number, dataset, _ := strings.Cut(rest, "@")
	value, err := pedigree.ParseFloat(strings.TrimSpace(number))
	if err != nil {
		return pedigree.Metric{}, flagError("metric", s, err.Error(), form)
	}
	if _, err := pedigree.ParseKey("metric", name); err != nil {
		return pedigree.Metric{}, err
	}
	m := pedigree.Metric{Name: name, Value: value, Dataset: dataset}
	if i := strings.LastIndexByte(dataset, '/'); i >= 0 && !strings.Contains(dataset, "://") {
		m.Dataset, m.Split = dataset[:i], dataset[i+1:]
	}
	return m, nil
}

var queryStart = regexp.MustCompile(`(?is)^\s*(select|with|from)\s`)

// parseData reads ROLE=WHAT and tells from WHAT which kind of reference it is: a query,
// a feature view, an id in a lineage system, a file or folder here (whose digest and
// size are taken), or else a pointer to a snapshot.
func parseData(ctx context.Context, s string) (pedigree.DataReference, error) {
	const form = "ROLE=URI[@sha256:…], as in train=s3://lake/fraud/2026-10"
	role, what, found := strings.Cut(s, "=")
	if !found || role == "" || what == "" {
		return pedigree.DataReference{}, flagError("data", s, "there is no role and reference", form)
	}
	if _, err := pedigree.ParseKey("data role", role); err != nil {
		return pedigree.DataReference{}, flagError("data", s, err.Error(), form)
	}
	d := pedigree.DataReference{Role: role, Kind: pedigree.DataSnapshot}
	if query, ok := strings.CutPrefix(what, "query:"); ok || queryStart.MatchString(what) {
		if !ok {
			query = what
		}
		d.Kind, d.Query = pedigree.DataQuery, strings.TrimSpace(query)
		return d, nil
	}
	what, digest, err := cutDigest(what)
	if err != nil {
		return d, flagError("data", s, err.Error(), form)
	}
	d.Digest = digest
	if _, err := os.Stat(what); err == nil {
		return localData(ctx, d, what)
	}
	lower := strings.ToLower(what)
	switch {
	case strings.HasPrefix(lower, "features:") || strings.HasPrefix(lower, "feast:"):
		d.Kind = pedigree.DataFeatures
	case strings.HasPrefix(lower, "lineage:") || strings.HasPrefix(lower, "openlineage:"):
		d.Kind = pedigree.DataLineage
	}
	d.URI, err = pedigree.ParseSafeURI(what)
	return d, err
}

// cutDigest takes "@sha256:…" from the end.
func cutDigest(s string) (string, pedigree.Digest, error) {
	i := strings.LastIndex(s, "@sha256:")
	if i < 0 {
		return s, "", nil
	}
	d, err := pedigree.ParseDigest(s[i+1:])
	return s[:i], d, err
}

// localData completes a reference to a file or folder of this machine: a pointer, pinned
// by the digest, since the bytes stay where they are. A digest that was given must be that
// of the bytes.
func localData(ctx context.Context, d pedigree.DataReference, name string) (pedigree.DataReference, error) {
	info, err := link.Read(ctx, name, link.Options{})
	if err != nil {
		return d, err
	}
	if info.Digest == "" {
		return d, pedigree.Errorf(pedigree.CodeInvalid, "data %s: %s", d.Role, info.Note)
	}
	if d.Digest != "" && d.Digest != info.Digest {
		return d, pedigree.Errorf(pedigree.CodeInvalid, "data %s: %s has the digest %s, not %s", d.Role, name, info.Digest, d.Digest)
	}
	d.URI, d.Digest, d.Size = info.URI, info.Digest, info.Size
	return d, nil
}

// fileError is the error of a file that the user named.
func fileError(err error) error {
	var p *fs.PathError
	if !errors.As(err, &p) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return pedigree.Errorf(pedigree.CodeInvalid, "there is no file or folder %s", p.Path)
	}
	return pedigree.Errorf(pedigree.CodeInvalid, "%s: %w", p.Path, p.Err)
}

// parseOutput reads [NAME=]URI.
func parseOutput(s string) (pedigree.Output, error) {
	o := pedigree.Output{}
	what := s
	if name, rest, found := strings.Cut(s, "="); found && !strings.ContainsAny(name, ":/?#") {
		o.Name, what = name, rest
	}
	what, digest, err := cutDigest(what)
	if err == nil && what == "" {
		err = errors.New("there is no URI")
	}
	if err != nil {
		return o, flagError("output", s, err.Error(), "[NAME=]URI, as in scores=s3://lake/fraud/scores")
	}
	o.Digest = digest
	o.URI, err = pedigree.ParseSafeURI(what)
	return o, err
}

// relations are the relations as flags have them.
var relations = []pedigree.Relation{pedigree.FineTunedFrom, pedigree.DistilledFrom, pedigree.EnsembleOf, pedigree.DerivedFrom}

// parseParent reads RELATION=REF or RELATION=URI[@sha256:…]. What has a scheme of its
// own is a base model outside.
func parseParent(s string) (pedigree.Parent, error) {
	const form = "RELATION=REF|URI, as in fine-tuned-from=fraud/6; relations: fine-tuned-from, distilled-from, ensemble-of, derived-from"
	name, what, found := strings.Cut(s, "=")
	p := pedigree.Parent{Relation: pedigree.Relation(strings.ReplaceAll(strings.ToLower(name), "-", "_"))}
	switch {
	case !found || what == "":
		return p, flagError("parent", s, "there is no relation and reference", form)
	case !slices.Contains(relations, p.Relation):
		return p, flagError("parent", s, "there is no such relation", form)
	}
	outside := strings.Contains(what, "://") && !strings.HasPrefix(what, "pedigree://")
	if outside || strings.HasPrefix(what, "hf:") || strings.HasPrefix(what, "oci:") {
		uri, digest, err := cutDigest(what)
		if err != nil {
			return p, flagError("parent", s, err.Error(), form)
		}
		p.Digest = digest
		p.URI, err = pedigree.ParseSafeURI(uri)
		return p, err
	}
	ref, err := pedigree.ParseReference(what)
	p.Reference = ref.String()
	return p, err
}

// parsePairs reads KEY=VALUE texts; a key that comes twice is an error.
func parsePairs(flag string, texts []string) (map[string]string, error) {
	var out map[string]string
	for _, s := range texts {
		key, value, found := strings.Cut(s, "=")
		if !found || key == "" {
			return nil, flagError(flag, s, "there is no key and value", "KEY=VALUE")
		}
		if _, err := pedigree.ParseKey(flag, key); err != nil {
			return nil, err
		}
		if _, twice := out[key]; twice {
			return nil, flagError(flag, s, "the key is there twice", "KEY=VALUE once for each key")
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out, nil
}

var commitPattern = regexp.MustCompile(`^[0-9a-fA-F]{7,64}$`)

// parseCode reads REPO@COMMIT, or a commit alone.
func parseCode(s string) (*pedigree.Code, error) {
	repository, commit := "", s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		repository, commit = s[:i], s[i+1:]
	}
	if !commitPattern.MatchString(commit) {
		return nil, flagError("code", s, fmt.Sprintf("%q is not a commit id", cut(commit, 40)), "REPO@COMMIT, as in https://git.example.org/fraud@4f9d2c1")
	}
	uri, err := pedigree.ParseSafeURI(repository)
	return &pedigree.Code{Repository: uri, Commit: strings.ToLower(commit)}, err
}

// readEvidence reads KIND=FILE texts into attachments, and KIND=URI texts into
// evidence that is elsewhere. A name that is taken gets its kind before it.
func readEvidence(texts []string, have []client.Attachment) (attached []client.Attachment, links []pedigree.Evidence, err error) {
	taken := map[string]bool{}
	for _, a := range have {
		taken[a.Evidence.Name] = true
	}
	for _, s := range texts {
		kind, what, found := strings.Cut(s, "=")
		if !found || kind == "" || what == "" {
			return nil, nil, flagError("evidence", s, "there is no kind and file", "KIND=FILE, as in evaluation=report.html")
		}
		e := pedigree.Evidence{Kind: kind}
		u, urlErr := url.Parse(what)
		outside := urlErr == nil && u.Host != ""
		if outside {
			e.Name = cmp.Or(strings.Trim(path.Base(u.Path), "/."), u.Hostname())
		} else {
			e.Name = filepath.Base(what)
		}
		if taken[e.Name] {
			e.Name = kind + "/" + e.Name
		}
		taken[e.Name] = true
		if outside {
			if e.URI, err = pedigree.ParseSafeURI(what); err != nil {
				return nil, nil, err
			}
			links = append(links, e)
			continue
		}
		a, err := readAttachment(what, e)
		if err != nil {
			return nil, nil, err
		}
		attached = append(attached, a)
	}
	return attached, links, nil
}

// maxEvidenceFile is the most bytes of one evidence file; it is read into memory.
const maxEvidenceFile = 64 << 20

func readAttachment(name string, e pedigree.Evidence) (client.Attachment, error) {
	content, err := readFile(name, maxEvidenceFile)
	if err != nil {
		return client.Attachment{}, err
	}
	e.Digest, e.Size = pedigree.DigestBytes(content), int64(len(content))
	e.MediaType, _, _ = mime.ParseMediaType(mime.TypeByExtension(filepath.Ext(name)))
	return client.Attachment{Evidence: e, Content: content}, nil
}

// readFile reads a file that the user named, of no more than limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError(err)
	}
	if int64(len(content)) > limit {
		return nil, pedigree.Errorf(pedigree.CodeTooLarge, "%s has more than %s", name, size(&limit))
	}
	return content, nil
}

// readYAML reads a YAML or JSON file into v, which has JSON tags; fields that v does
// not have are refused.
func readYAML(name string, v any) error {
	content, err := readFile(name, 4<<20)
	if err != nil {
		return err
	}
	if err := decodeYAML(content, v); err != nil {
		return pedigree.Errorf(pedigree.CodeInvalid, "%s: %w", name, err)
	}
	return nil
}

func decodeYAML(content []byte, v any) error {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(content))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // an empty file says nothing
		}
		return err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("there is a second YAML document in it")
	}
	budget := 200_000
	tree, err := yamlTree(&doc, "", &budget)
	if err != nil {
		return err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	err = strict.Decode(v)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return wrongType(kind)
	}
	if err == nil {
		return nil
	}
	message := strings.TrimPrefix(err.Error(), "json: ")
	if name, found := strings.CutPrefix(message, "unknown field "); found {
		if n := pedigree.Misspelt(strings.Trim(name, `"`), jsonNames(reflect.TypeOf(v), nil), 4); n != "" {
			message += " (did you mean " + n + "?)"
		}
	}
	return errors.New(message)
}

// wrongType says in the words of YAML what stands where something else is wanted.
func wrongType(e *json.UnmarshalTypeError) error {
	want := map[reflect.Kind]string{
		reflect.Slice: "a list", reflect.Struct: "fields (KEY: VALUE)", reflect.Map: "fields (KEY: VALUE)", reflect.String: "a text",
		reflect.Bool: "true or false", reflect.Float64: "a number",
	}[e.Type.Kind()]
	if want == "" {
		want = "a whole number"
	}
	got := map[string]string{"object": "fields (KEY: VALUE)", "array": "a list", "string": "a text", "bool": "true or false"}[e.Value]
	if got == "" {
		got = e.Value // "number", or with its text
	}
	if e.Field == "" {
		return fmt.Errorf("it holds %s, and %s is wanted", got, want)
	}
	return fmt.Errorf("%s: there is %s, and %s is wanted", e.Field, got, want)
}

// jsonNames are the names of all fields of a type, and of what is in them.
func jsonNames(t reflect.Type, seen []reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(seen, t) {
		return nil
	}
	seen = append(seen, t)
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out = append(out, name)
		}
		if f.IsExported() {
			out = append(out, jsonNames(f.Type, seen)...)
		}
	}
	return out
}

// yamlTree turns a node into what json.Marshal takes; under is the key of the document
// that it stands below. The values of params and tags are
// texts, however they are written (C: 1.0 stays "1.0").
func yamlTree(n *yaml.Node, under string, budget *int) (any, error) {
	if *budget--; *budget < 0 {
		return nil, errors.New("the file holds too much")
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return yamlTree(n.Content[0], "", budget)
	case yaml.AliasNode:
		return yamlTree(n.Alias, under, budget)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			v, err := yamlTree(c, "…", budget)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if _, twice := m[key.Value]; twice || key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: the key %q is there twice, or is none", key.Line, key.Value)
			}
			below := "…"
			switch under {
			case "":
				below = key.Value
			case "params", "tags":
				below = under + "."
			}
			v, err := yamlTree(n.Content[i+1], below, budget)
			if err != nil {
				return nil, err
			}
			m[key.Value] = v
		}
		return m, nil
	default:
		return yamlScalar(n, under == "params." || under == "tags.")
	}
}

func yamlScalar(n *yaml.Node, asText bool) (any, error) {
	switch tag := n.ShortTag(); {
	case asText || tag == "!!str" || tag == "!!timestamp":
		return n.Value, nil
	case tag == "!!null":
		return nil, nil
	case tag == "!!float" && strings.Contains(strings.ToLower(n.Value), ".nan"):
		return "NaN", nil
	case tag == "!!float" && strings.Contains(strings.ToLower(n.Value), ".inf"):
		return strings.Replace(strings.TrimPrefix(strings.ToLower(n.Value), "+"), ".inf", "Infinity", 1), nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}

// secrets looks for what looks like a secret in all that was given or captured. already
// are the findings of the capture, whose attachments are not read again.
func (g *given) secrets(already []capture.Finding) (secrets, error) {
	var s secrets
	known := map[string]bool{}
	for _, f := range already {
		s.found = append(s.found, f.String())
		known[f.File] = true
	}
	for _, a := range g.attachments {
		if known[a.Evidence.Name] {
			s.captured = s.captured || a.Evidence.Kind != "environment" // --no-diff keeps a lock file
			continue
		}
		for _, f := range capture.FindSecrets(a.Evidence.Name, a.Content) {
			s.found = append(s.found, f.String())
		}
		s.text("evidence kind", a.Evidence.Kind)
	}
	s.text("description", g.description)
	tags := withTags(map[string]string{}, g.tags)
	for _, where := range sortedKeys(tags) {
		s.text(where, tags[where])
	}
	return s, s.record(g.record)
}
