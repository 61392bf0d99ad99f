package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
)

func newDiffCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two versions, field by field",
		Long: `Diff shows what differs between the records of two versions: code, environment, data,
parameters, metrics with their difference, files. What is equal is not shown.`,
		Example: `  pedigree diff fraud/6 fraud/7
  pedigree diff fraud@production fraud@candidate -o json`,
		Args:              args(2, 2),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.diff(cmd.Context(), args[0], args[1])
		},
	}
	a.atFlag(cmd)
	return cmd
}

// fact is one comparable thing that a version says.
type fact struct {
	field  string
	text   string
	number *float64
}

// Difference is one field in which two versions differ.
type difference struct {
	Field string `json:"field"`
	// A and B are the values as text; absent where the version has none.
	A *string `json:"a,omitempty"`
	B *string `json:"b,omitempty"`
	// Delta is B − A, for numbers.
	Delta *pedigree.Float `json:"delta,omitempty"`
}

// comparison is the answer of diff.
type comparison struct {
	A           pedigree.Reference `json:"-"`
	B           pedigree.Reference `json:"-"`
	NameA       string             `json:"a"`
	NameB       string             `json:"b"`
	Differences []difference       `json:"differences"`
}

func (a *app) diff(ctx context.Context, nameA, nameB string) error {
	refA, at, err := a.question(ctx, nameA)
	if err != nil {
		return err
	}
	refB, _, err := a.question(ctx, nameB)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	var v [2]pedigree.Version
	group, groupCtx := errgroup.WithContext(ctx)
	for i, ref := range []pedigree.Reference{refA, refB} {
		group.Go(func() (err error) {
			v[i], err = c.Version(groupCtx, ref, at)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	out := comparison{
		NameA:       a.reference(v[0].Project, v[0].Model, v[0].Number),
		NameB:       a.reference(v[1].Project, v[1].Model, v[1].Number),
		Differences: compare(facts(&v[0]), facts(&v[1])),
	}
	var names []string
	for _, d := range out.Differences {
		names = append(names, d.Field)
	}
	return a.print(answer{value: out, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		if len(out.Differences) == 0 {
			fmt.Fprintf(w, "%s and %s have the same record\n", out.NameA, out.NameB)
			return
		}
		t := a.newTable()
		t.row("", out.NameA, out.NameB, "")
		for _, d := range out.Differences {
			t.row(d.Field, side(d.A), side(d.B), deltaText(d.Delta))
		}
		t.write(w, "")
	}})
}

func side(s *string) string {
	if s == nil {
		return "-"
	}
	if d, err := pedigree.ParseDigest(*s); err == nil {
		return "sha256:" + d.Short() + "…"
	}
	return cut(*s, 72)
}

func deltaText(d *pedigree.Float) string {
	if d == nil {
		return ""
	}
	text := fmt.Sprintf("%.6g", float64(*d))
	if !strings.HasPrefix(text, "-") {
		text = "+" + text
	}
	return text
}

// compare lists the fields in which two versions differ, in the order of the record.
func compare(left, right []fact) []difference {
	out := []difference{}
	index := map[string]fact{}
	for _, f := range right {
		index[f.field] = f
	}
	seen := map[string]bool{}
	for _, l := range left {
		seen[l.field] = true
		r, both := index[l.field]
		switch {
		case !both:
			out = append(out, difference{Field: l.field, A: &l.text})
		case l.text != r.text:
			d := difference{Field: l.field, A: &l.text, B: &r.text}
			if l.number != nil && r.number != nil {
				delta := pedigree.Float(*r.number - *l.number)
				d.Delta = &delta
			}
			out = append(out, d)
		}
	}
	for _, r := range right {
		if !seen[r.field] {
			out = append(out, difference{Field: r.field, B: &r.text})
		}
	}
	group := func(d difference) int {
		first, _, _ := strings.Cut(d.Field, ".")
		return slices.Index(factGroups, first)
	}
	slices.SortStableFunc(out, func(a, b difference) int { return group(a) - group(b) })
	return out
}

// factGroups are the first words of the fields, in the order that people ask for.
var factGroups = []string{
	"metrics", "params", "data", "artifact", "code", "runtime", "package", "run", "signature", "flavors", "parents", "outputs", "evidence",
	"owner", "target", "rollback_note", "description", "tags", "archived", "file",
}

// factList gathers facts; empty texts are none.
type factList []fact

func (l *factList) add(field, text string) {
	if text != "" {
		*l = append(*l, fact{field: field, text: text})
	}
}

// facts takes a version apart. Things of a list have their key in the field, so that
// they are compared with their like.
func facts(v *pedigree.Version) []fact {
	var l factList
	r := &v.Record
	for _, m := range r.Metrics {
		value := float64(m.Value)
		l = append(l, fact{"metrics." + metricName(m), m.Value.String(), &value})
	}
	for _, k := range sortedKeys(r.Params) {
		l.add("params."+k, r.Params[k])
	}
	l.data(r.Data)
	l.add("artifact.kind", string(r.Artifact.Kind))
	l.add("artifact.digest", string(r.Artifact.Digest))
	l.add("artifact.uri", string(r.Artifact.URI))
	if r.Artifact.Size != nil {
		value := float64(*r.Artifact.Size)
		l = append(l, fact{"artifact.size", fmt.Sprint(*r.Artifact.Size), &value})
	}
	if c := r.Code; c != nil {
		l.add("code.repository", string(c.Repository))
		l.add("code.commit", c.Commit)
		l.add("code.branch", c.Branch)
		l.add("code.path", c.Path)
		l.add("code.dirty", fmt.Sprint(c.Dirty))
	}
	l.runtime(r.Runtime)
	if run := r.Run; run != nil {
		l.add("run.system", run.System)
		l.add("run.name", run.Name)
		l.add("run.id", run.ID)
		l.add("run.uri", string(run.URI))
		l.add("run.user", run.User)
	}
	l.lists(r)
	l.add("owner", r.Owner)
	l.add("target", r.Target)
	l.add("rollback_note", r.RollbackNote)
	l.add("description", v.Description)
	for _, k := range sortedKeys(v.Tags) {
		l.add("tags."+k, v.Tags[k])
	}
	l.add("archived", fmt.Sprint(v.Archived))
	for _, f := range r.Artifact.Files {
		l.add("file."+f.Path, fmt.Sprintf("%s, %s", f.Digest.Short(), size(&f.Size)))
	}
	return l
}

// data numbers the references of a role from the second on.
func (l *factList) data(data []pedigree.DataReference) {
	nth := map[string]int{}
	for _, d := range data {
		nth[d.Role]++
		at := "data." + d.Role
		if n := nth[d.Role]; n > 1 {
			at += fmt.Sprintf("#%d", n)
		}
		l.add(at+".kind", string(d.Kind))
		l.add(at+".uri", string(d.URI))
		l.add(at+".query", d.Query)
		l.add(at+".version", d.Version)
		l.add(at+".digest", string(d.Digest))
		if d.Personal != nil {
			l.add(at+".personal", fmt.Sprint(*d.Personal))
		}
	}
}

func (l *factList) runtime(rt *pedigree.Runtime) {
	if rt == nil {
		return
	}
	l.add("runtime.image", rt.Image)
	if rt.Seconds != nil {
		value := float64(*rt.Seconds)
		*l = append(*l, fact{"runtime.seconds", rt.Seconds.String(), &value})
	}
	if m := rt.Compute; m != nil {
		l.add("runtime.os", strings.Trim(m.OS+"/"+m.Arch, "/"))
		l.add("runtime.cpu", m.CPU)
		l.add("runtime.cores", fmt.Sprint(m.Cores))
		l.add("runtime.memory", fmt.Sprint(m.Memory))
		l.add("runtime.gpus", strings.Join(m.GPUs, ", "))
		l.add("runtime.instance_type", m.InstanceType)
	}
	if e := rt.Environment; e != nil {
		l.add("runtime.python", e.Python)
		l.add("runtime.environment", words([]string{e.Manager, e.File, string(e.Digest)}))
		for _, p := range e.Packages {
			name, version, found := strings.Cut(p, "==")
			if !found {
				name, version = p, "present"
			}
			l.add("package."+name, version)
		}
	}
}

func (l *factList) lists(r *pedigree.Record) {
	if s := r.Signature; s != nil {
		for _, part := range []struct {
			name    string
			columns []pedigree.Column
		}{{"inputs", s.Inputs}, {"outputs", s.Outputs}, {"params", s.Params}} {
			for i, c := range part.columns {
				name := c.Name
				if name == "" {
					name = fmt.Sprint(i)
				}
				text, _ := json.Marshal(c)
				l.add("signature."+part.name+"."+name, string(text))
			}
		}
	}
	for _, f := range r.Flavors {
		l.add("flavors."+f.Name, words([]string{f.Version, f.Loader, f.Python}))
	}
	for _, p := range r.Parents {
		what := words([]string{p.Reference, string(p.URI), string(p.Digest)})
		if p.ModelID != "" {
			what = words([]string{p.Reference, "(" + pedigree.VersionSubject(p.ModelID, p.Version) + ")"})
		}
		l.add("parents."+strings.ReplaceAll(string(p.Relation), "_", "-")+"."+what, "yes")
	}
	for _, o := range r.Outputs {
		key := o.Name
		if key == "" {
			key = string(o.URI)
		}
		l.add("outputs."+key, words([]string{string(o.URI), string(o.Digest)}))
	}
	for _, e := range r.Evidence {
		l.add("evidence."+e.Name, words([]string{e.Kind, string(e.URI), e.Digest.Short()}))
	}
}
