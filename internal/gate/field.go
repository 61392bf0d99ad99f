package gate

import (
	"cmp"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/pedigree-ml/pedigree"
)

// kind is a type of object that expressions read: its fields, in the order of the
// documentation.
type kind struct {
	name   string
	fields []*field
	byName map[string]*field
	// label names one of several for people: the role of a data reference.
	label func(of any) string
	// weight is how many parts a comparison of two looks at; nil is one.
	weight func(of any) int
}

// field is one thing that an expression can read of a kind.
type field struct {
	name string
	kind *cel.Type
	doc  string
	// of is the kind of the field's value, or of its elements; nil for plain values.
	of *kind
	// fill is the flag that fills it where it is missing, "" where none does.
	fill string
	// get reads it; false says that it is not recorded.
	get func(o *object) (ref.Val, bool)
}

// typePrefix sets the kinds apart from the types of the language.
const typePrefix = "pedigree."

// fillBy names the flag that fills f.
func (f *field) fillBy(flag string) *field {
	f.fill = flag
	return f
}

func newKind(name string, fields ...*field) *kind {
	k := &kind{name: name, fields: fields, byName: map[string]*field{}}
	for _, f := range fields {
		k.byName[f.name] = f
	}
	return k
}

func (k *kind) labelled(label func(of any) string) *kind {
	k.label = label
	return k
}

func (k *kind) weighing(weight func(of any) int) *kind {
	k.weight = weight
	return k
}

func (k *kind) celType() *cel.Type { return cel.ObjectType(typePrefix + k.name) }

// part is the kind of the objects in a field, nil without.
func (k *kind) part(name string) *kind {
	if f := k.byName[name]; f != nil && f.kind.Kind() == types.StructKind {
		return f.of
	}
	return nil
}

// The kinds of fields. An absent text or list is empty and an absent object has only
// absent fields, as people write owner != ""; an absent number, truth or time is not
// recorded, and reading it is an error.

func text[T any, S ~string](name, doc string, get func(T) S) *field {
	return &field{name: name, kind: cel.StringType, doc: doc, get: func(o *object) (ref.Val, bool) {
		return types.String(get(o.of.(T))), true
	}}
}

func texts[T any](name, doc string, get func(T) []string) *field {
	return &field{name: name, kind: cel.ListType(cel.StringType), doc: doc, get: func(o *object) (ref.Val, bool) {
		return types.NewStringList(types.DefaultTypeAdapter, get(o.of.(T))), true
	}}
}

// whole reads a number; nil is one that is not recorded.
func whole[T any](name, doc string, get func(T) *int64) *field {
	return &field{name: name, kind: cel.IntType, doc: doc, get: func(o *object) (ref.Val, bool) {
		n := get(o.of.(T))
		if n == nil {
			return nil, false
		}
		return types.Int(*n), true
	}}
}

// truth reads yes or no; nil is what nobody said.
func truth[T any](name, doc string, get func(T) *bool) *field {
	return &field{name: name, kind: cel.BoolType, doc: doc, get: func(o *object) (ref.Val, bool) {
		b := get(o.of.(T))
		if b == nil {
			return nil, false
		}
		return types.Bool(*b), true
	}}
}

// moment reads a time; nil and zero are not recorded.
func moment[T any](name, doc string, get func(T) *time.Time) *field {
	return &field{name: name, kind: cel.TimestampType, doc: doc, get: func(o *object) (ref.Val, bool) {
		t := get(o.of.(T))
		if t == nil || t.IsZero() {
			return nil, false
		}
		return types.Timestamp{Time: t.UTC()}, true
	}}
}

// part reads an object.
func part[T, U any](name, doc string, of *kind, get func(T) U) *field {
	return &field{name: name, kind: of.celType(), doc: doc, of: of, get: func(o *object) (ref.Val, bool) {
		return o.part(name, of, get(o.of.(T))), true
	}}
}

// list reads a list of objects.
func list[T, U any](name, doc string, of *kind, get func(T) []U) *field {
	return &field{name: name, kind: cel.ListType(of.celType()), doc: doc, of: of, get: func(o *object) (ref.Val, bool) {
		return listOf(o, name, of, get(o.of.(T))), true
	}}
}

func yes[T any](get func(T) bool) func(T) *bool {
	return func(of T) *bool {
		b := get(of)
		return &b
	}
}

// positive takes zero for what is not recorded.
func positive[T any, N ~int | ~int64](get func(T) N) func(T) *int64 {
	return func(of T) *int64 {
		if n := int64(get(of)); n > 0 {
			return &n
		}
		return nil
	}
}

// judged is what the kinds "version" and "input" read: one version in its place.
type judged struct {
	version    *pedigree.Version
	deployment *pedigree.Deployment
	in         *Input
}

func orEmpty[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

var (
	fileKind = newKind(
		"file",
		text("path", "path inside the artifact", func(f *pedigree.File) string { return f.Path }),
		whole("size", "bytes", func(f *pedigree.File) *int64 { return &f.Size }),
		text("digest", "sha256:… of the content", func(f *pedigree.File) pedigree.Digest { return f.Digest }),
		truth("executable", "whether the file may be run", yes(func(f *pedigree.File) bool { return f.Executable })),
	).labelled(func(of any) string { return of.(*pedigree.File).Path })

	artifactKind = newKind(
		"artifact",
		text("kind", "stored, linked or none", func(a *pedigree.Artifact) pedigree.ArtifactKind { return a.Kind }),
		text("digest", "the artifact digest", func(a *pedigree.Artifact) pedigree.Digest { return a.Digest }),
		whole("size", "bytes of all files", func(a *pedigree.Artifact) *int64 { return a.Size }),
		text("uri", "where a linked artifact is", func(a *pedigree.Artifact) pedigree.SafeURI { return a.URI }),
		list("files", "the files of a stored artifact", fileKind, func(a *pedigree.Artifact) []pedigree.File { return a.Files }),
	).weighing(func(of any) int { return len(of.(*pedigree.Artifact).Files) })

	codeKind = newKind(
		"code",
		text("repository", "where the code is", func(c *pedigree.Code) pedigree.SafeURI { return c.Repository }).fillBy("--code REPO@COMMIT"),
		text("commit", "full commit id", func(c *pedigree.Code) string { return c.Commit }).fillBy("--code REPO@COMMIT"),
		text("branch", "", func(c *pedigree.Code) string { return c.Branch }),
		text("path", "script or notebook inside the repository", func(c *pedigree.Code) string { return c.Path }),
		truth("dirty", "the work tree differed from the commit", yes(func(c *pedigree.Code) bool { return c.Dirty })),
	)

	environmentKind = newKind(
		"environment",
		text("manager", "uv, poetry, pip, conda …", func(e *pedigree.Environment) string { return e.Manager }),
		text("python", "version of the interpreter", func(e *pedigree.Environment) string { return e.Python }),
		text("file", "name of the lock file", func(e *pedigree.Environment) string { return e.File }),
		text("digest", "sha256:… of the lock file", func(e *pedigree.Environment) pedigree.Digest { return e.Digest }),
		texts("packages", `requirement lines, "name==version"`, func(e *pedigree.Environment) []string { return e.Packages }),
	).weighing(func(of any) int { return len(of.(*pedigree.Environment).Packages) })

	computeKind = newKind(
		"compute",
		text("os", "", func(c *pedigree.Compute) string { return c.OS }),
		text("arch", "", func(c *pedigree.Compute) string { return c.Arch }),
		text("cpu", "", func(c *pedigree.Compute) string { return c.CPU }),
		whole("cores", "", positive(func(c *pedigree.Compute) int { return c.Cores })),
		whole("memory", "bytes", positive(func(c *pedigree.Compute) int64 { return c.Memory })),
		texts("gpus", "one entry a device", func(c *pedigree.Compute) []string { return c.GPUs }),
		text("instance_type", "", func(c *pedigree.Compute) string { return c.InstanceType }),
	).weighing(func(of any) int { return len(of.(*pedigree.Compute).GPUs) })

	runtimeKind = newKind(
		"runtime",
		text("image", "container image that ran the training", func(r *pedigree.Runtime) string { return r.Image }).fillBy("--image IMAGE"),
		&field{name: "seconds", kind: cel.DoubleType, doc: "how long the training ran", get: func(o *object) (ref.Val, bool) {
			s := o.of.(*pedigree.Runtime).Seconds
			if s == nil {
				return nil, false
			}
			return types.Double(*s), true
		}},
		part("environment", "packages of the training", environmentKind, func(r *pedigree.Runtime) *pedigree.Environment { return orEmpty(r.Environment) }),
		part("compute", "machine of the training", computeKind, func(r *pedigree.Runtime) *pedigree.Compute { return orEmpty(r.Compute) }),
	).weighing(func(of any) int { return len(orEmpty(of.(*pedigree.Runtime).Environment).Packages) })

	dataKind = newKind(
		"data",
		text("role", "train, validation, test, features …", func(d *pedigree.DataReference) string { return d.Role }),
		text("kind", "copy, snapshot, features, query or lineage", func(d *pedigree.DataReference) pedigree.DataKind { return d.Kind }),
		text("uri", "", func(d *pedigree.DataReference) pedigree.SafeURI { return d.URI }),
		text("query", "text of a query", func(d *pedigree.DataReference) string { return d.Query }),
		text("version", "", func(d *pedigree.DataReference) string { return d.Version }),
		text("digest", "sha256:… of the content", func(d *pedigree.DataReference) pedigree.Digest { return d.Digest }).fillBy("--data ROLE=URI@DIGEST"),
		whole("size", "bytes", func(d *pedigree.DataReference) *int64 { return d.Size }).fillBy("--data-file FILE"),
		truth("personal", "the data is about people; not recorded where nobody said", func(d *pedigree.DataReference) *bool { return d.Personal }).
			fillBy("--data-file FILE"),
		text("subjects", "whose data it is", func(d *pedigree.DataReference) string { return d.Subjects }).fillBy("--data-file FILE"),
		text("subject_key", "column that finds one person's rows", func(d *pedigree.DataReference) string { return d.SubjectKey }).fillBy("--data-file FILE"),
	).labelled(func(of any) string { return of.(*pedigree.DataReference).Role })

	columnKind = newKind(
		"column",
		text("name", "", func(c *pedigree.Column) string { return c.Name }),
		text("type", "", func(c *pedigree.Column) string { return c.Type }),
		&field{name: "shape", kind: cel.ListType(cel.IntType), doc: "of a tensor; -1 is any length", get: func(o *object) (ref.Val, bool) {
			return types.DefaultTypeAdapter.NativeToValue(slices.Clone(o.of.(*pedigree.Column).Shape)), true
		}},
		truth("optional", "", yes(func(c *pedigree.Column) bool { return c.Optional })),
	).labelled(func(of any) string { return of.(*pedigree.Column).Name }).weighing(func(of any) int { return len(of.(*pedigree.Column).Shape) })

	signatureKind = newKind(
		"signature",
		list("inputs", "columns that it takes", columnKind, func(s *pedigree.Signature) []pedigree.Column { return s.Inputs }).fillBy("--signature FILE"),
		list("outputs", "columns that it gives", columnKind, func(s *pedigree.Signature) []pedigree.Column { return s.Outputs }).fillBy("--signature FILE"),
		list("params", "parameters of a prediction", columnKind, func(s *pedigree.Signature) []pedigree.Column { return s.Params }),
	).weighing(func(of any) int {
		s := of.(*pedigree.Signature)
		n := 0
		for _, columns := range [][]pedigree.Column{s.Inputs, s.Outputs, s.Params} {
			for i := range columns {
				n += 1 + len(columns[i].Shape)
			}
		}
		return n
	})

	parentKind = newKind(
		"parent",
		text("relation", "fine_tuned_from, distilled_from, ensemble_of or derived_from", func(p *pedigree.Parent) pedigree.Relation { return p.Relation }),
		text("reference", "version of this registry, as fraud/6", func(p *pedigree.Parent) string { return p.Reference }),
		text("uri", "base model outside", func(p *pedigree.Parent) pedigree.SafeURI { return p.URI }),
		text("digest", "", func(p *pedigree.Parent) pedigree.Digest { return p.Digest }),
	)

	flavorKind = newKind(
		"flavor",
		text("name", "the library: sklearn, pytorch, onnx, python_function …", func(f *pedigree.Flavor) string { return f.Name }),
		text("version", "of the library that wrote it", func(f *pedigree.Flavor) string { return f.Version }),
		text("loader", "Python module that loads it", func(f *pedigree.Flavor) string { return f.Loader }),
		text("python", "version of the interpreter that wrote it", func(f *pedigree.Flavor) string { return f.Python }),
	).labelled(func(of any) string { return of.(*pedigree.Flavor).Name })

	evidenceKind = newKind(
		"evidence",
		text("name", "", func(e *pedigree.Evidence) string { return e.Name }),
		text("kind", "evaluation, fairness, explainability, scan, card …", func(e *pedigree.Evidence) string { return e.Kind }),
		text("media_type", "", func(e *pedigree.Evidence) string { return e.MediaType }),
		whole("size", "bytes; 0 for a link", func(e *pedigree.Evidence) *int64 { return &e.Size }),
		text("digest", "sha256:… of the content", func(e *pedigree.Evidence) pedigree.Digest { return e.Digest }),
		text("uri", "where it is, for a link", func(e *pedigree.Evidence) pedigree.SafeURI { return e.URI }),
	).labelled(func(of any) string { return of.(*pedigree.Evidence).Name })

	outputKind = newKind(
		"output",
		text("name", "", func(o *pedigree.Output) string { return o.Name }),
		text("uri", "", func(o *pedigree.Output) pedigree.SafeURI { return o.URI }),
		text("digest", "", func(o *pedigree.Output) pedigree.Digest { return o.Digest }),
		whole("size", "bytes", func(o *pedigree.Output) *int64 { return o.Size }),
	).labelled(func(of any) string { return of.(*pedigree.Output).Name })

	runKind = newKind(
		"run",
		text("id", "", func(r *pedigree.Run) string { return r.ID }),
		text("name", "", func(r *pedigree.Run) string { return r.Name }),
		text("system", "github, gitlab, jenkins, mlflow …", func(r *pedigree.Run) string { return r.System }),
		text("user", "who started it, as that system says", func(r *pedigree.Run) string { return r.User }),
		text("uri", "", func(r *pedigree.Run) pedigree.SafeURI { return r.URI }),
		moment("started_at", "", func(r *pedigree.Run) *time.Time { return r.StartedAt }),
		moment("ended_at", "", func(r *pedigree.Run) *time.Time { return r.EndedAt }),
	).weighing(func(of any) int { return len(of.(*pedigree.Run).Upstream) })

	stageKind = newKind(
		"stage",
		whole("have", "points of the minimum record that are filled", func(c *pedigree.Completeness) *int64 { n := int64(c.Have); return &n }),
		whole("want", "points that the stage asks for", func(c *pedigree.Completeness) *int64 { n := int64(c.Want); return &n }),
		texts("missing", "what is missing, in words", func(c *pedigree.Completeness) []string {
			out := make([]string, len(c.Missing))
			for i, g := range c.Missing {
				out[i] = g.Field
			}
			return out
		}),
	)

	completenessKind = newKind(
		"completeness",
		part("register", "to register", stageKind, stageOf(pedigree.StageRegister)),
		part("approve", "to approve", stageKind, stageOf(pedigree.StageApprove)),
		part("deploy", "to deploy", stageKind, stageOf(pedigree.StageDeploy)),
	)

	modelKind = newKind(
		"model",
		text("name", "", func(m *pedigree.Model) pedigree.Name { return m.Name }),
		text("owner", "person or team", func(m *pedigree.Model) string { return m.Owner }).fillBy("--owner NAME"),
		text("purpose", "", func(m *pedigree.Model) string { return m.Purpose }).fillBy("--purpose TEXT"),
		text("permitted_use", "", func(m *pedigree.Model) string { return m.PermittedUse }).fillBy("--permitted-use TEXT"),
		text("restrictions", "", func(m *pedigree.Model) string { return m.Restrictions }).fillBy("--restrictions TEXT"),
		text("tier", `low, medium, high, or "" where nobody said`, func(m *pedigree.Model) pedigree.Tier { return m.Tier }).fillBy("--tier TIER"),
		text("state", "development, in_use or retired", func(m *pedigree.Model) pedigree.LifeState { return m.State }).fillBy("--state in_use"),
	)

	targetKind = newKind(
		"target",
		text("name", "env/name", func(t *pedigree.Target) pedigree.TargetName { return t.Name }),
		text("env", "the part before the slash", func(t *pedigree.Target) string { return t.Name.Environment() }),
		text("kind", "online, batch, managed or edge", func(t *pedigree.Target) pedigree.TargetKind { return t.Kind }),
		text("owner", "person or team", func(t *pedigree.Target) string { return t.Owner }).fillBy("--owner NAME"),
		text("alias", "the alias that is tied to it", func(t *pedigree.Target) pedigree.Alias { return t.Alias }),
		truth("protected", "by itself; patterns of policies are not counted", yes(func(t *pedigree.Target) bool { return t.Protected })),
		text("runbook", "", func(t *pedigree.Target) pedigree.SafeURI { return t.Runbook }).fillBy("--runbook URL"),
		text("oncall", "", func(t *pedigree.Target) pedigree.SafeURI { return t.OnCall }).fillBy("--oncall URL"),
	).weighing(func(any) int { return 100 })

	deployKind = newKind(
		"deploy",
		text("role", "primary, canary or shadow", func(d *pedigree.Deploy) pedigree.DeploymentRole { return cmp.Or(d.Role, pedigree.RolePrimary) }),
		text("image", "container image that serves it", func(d *pedigree.Deploy) string { return d.Image }).fillBy("--image IMAGE"),
		text("config", "URI, digest or commit of its configuration", func(d *pedigree.Deploy) string { return d.Config }).fillBy("--config CONFIG"),
	)

	versionFields = []*field{
		whole("version", "number of the version", func(j *judged) *int64 { n := int64(j.version.Number); return &n }),
		moment("created_at", "when it was registered", func(j *judged) *time.Time { return &j.version.CreatedAt }),
		{
			name: "metrics", kind: cel.MapType(cel.StringType, cel.DoubleType), doc: "offline measurements by name", fill: "--metric NAME=VALUE",
			get: func(o *object) (ref.Val, bool) { return o.metrics(), true },
		},
		{
			name: "params", kind: cel.MapType(cel.StringType, cel.StringType), doc: "parameters of the training, as text", fill: "--param NAME=VALUE",
			get: func(o *object) (ref.Val, bool) { return o.params(), true },
		},
		list("data", "the data that fed the training", dataKind, func(j *judged) []pedigree.DataReference { return j.version.Record.Data }).fillBy("--data ROLE=URI"),
		part("code", "the training code", codeKind, func(j *judged) *pedigree.Code { return orEmpty(j.version.Record.Code) }),
		part("runtime", "what ran the training", runtimeKind, func(j *judged) *pedigree.Runtime { return orEmpty(j.version.Record.Runtime) }),
		part("run", "the job that trained it", runKind, func(j *judged) *pedigree.Run { return orEmpty(j.version.Record.Run) }),
		part("artifact", "the bytes", artifactKind, func(j *judged) *pedigree.Artifact { return &j.version.Record.Artifact }),
		part("signature", "what it takes and gives", signatureKind, func(j *judged) *pedigree.Signature { return orEmpty(j.version.Record.Signature) }),
		list("flavors", "how it loads", flavorKind, func(j *judged) []pedigree.Flavor { return j.version.Record.Flavors }),
		list("parents", "versions and base models that it came from", parentKind, func(j *judged) []pedigree.Parent { return j.version.Record.Parents }).
			fillBy("--parent RELATION=REF"),
		list("evidence", "attached documents and results", evidenceKind, func(j *judged) []pedigree.Evidence { return j.version.Record.Evidence }).
			fillBy("--evidence KIND=FILE"),
		list("outputs", "what the training wrote besides the model", outputKind, func(j *judged) []pedigree.Output { return j.version.Record.Outputs }).
			fillBy("--output URI"),
		text("owner", "person or team that answers for the version", func(j *judged) string { return j.version.Record.Owner }).fillBy("--owner NAME"),
		text("target_name", "the target that the record intends, env/name", func(j *judged) string { return j.version.Record.Target }).fillBy("--target ENV/NAME"),
		part("completeness", "the minimum record, by stage", completenessKind, func(j *judged) []pedigree.Completeness {
			if c := j.version.Completeness; len(c) > 0 {
				return c
			}
			return j.version.Record.Complete(true)
		}),
	}

	currentKind = newKind("current", slices.Concat(versionFields, []*field{
		part("deploy", "how it was deployed there", deployKind, func(j *judged) *pedigree.Deploy {
			d := orEmpty(j.deployment)
			return &pedigree.Deploy{Role: d.Role, Image: d.Image, Config: d.Config}
		}),
		moment("deployed_at", "since when it is active there", func(j *judged) *time.Time { return orEmpty(j.deployment).ActiveAt }),
	})...)

	// inputKind has the variables of an expression.
	inputKind = newKind("input", slices.Concat(versionFields, []*field{
		text("project", "", func(j *judged) pedigree.ProjectName { return j.version.Project }),
		part("model", "the model of the version", modelKind, func(j *judged) *pedigree.Model { return orEmpty(j.in.Model) }),
		part("target", "where it is to go; empty for an alias that is tied to none", targetKind, func(j *judged) *pedigree.Target { return orEmpty(j.in.Target) }),
		part("deploy", "the request", deployKind, func(j *judged) *pedigree.Deploy { return &j.in.Deploy }),
		{name: "current", kind: currentKind.celType(), doc: "the version that it would replace", of: currentKind, get: func(o *object) (ref.Val, bool) {
			in := o.of.(*judged).in
			if in.Current == nil {
				return types.NewUnknown(1, types.NewAttributeTrail("current")), true
			}
			return o.part("current", currentKind, &judged{version: in.Current, deployment: in.CurrentDeployment, in: in}), true
		}},
		moment("now", "the moment of the decision", func(j *judged) *time.Time { return &j.in.Now }),
	})...)

	kinds = []*kind{
		inputKind, currentKind, modelKind, targetKind, deployKind, dataKind, codeKind, runtimeKind, environmentKind, computeKind, runKind,
		artifactKind, fileKind, signatureKind, columnKind, flavorKind, parentKind, evidenceKind, outputKind, completenessKind, stageKind,
	}
	kindByType = func() map[string]*kind {
		out := map[string]*kind{}
		for _, k := range kinds {
			out[typePrefix+k.name] = k
		}
		return out
	}()
)

func stageOf(s pedigree.Stage) func([]pedigree.Completeness) *pedigree.Completeness {
	return func(all []pedigree.Completeness) *pedigree.Completeness {
		if i := slices.IndexFunc(all, func(c pedigree.Completeness) bool { return c.Stage == s }); i >= 0 {
			return &all[i]
		}
		return &pedigree.Completeness{Stage: s}
	}
}
