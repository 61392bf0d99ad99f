package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func newShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show REF|MODEL",
		Short: "Show everything that is recorded of a version, or of a model",
		Long: `Show prints the whole record of a version: what it is, how it came about, how well it did,
what was amended and by whom, and how to get it back. With the name of a model alone it
shows the model and its newest versions.`,
		Example: `  pedigree show fraud
  pedigree show fraud@production
  pedigree show fraud@production --at 2026-10-01T03:00:00Z
  pedigree show fraud/7 -o json`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, at, err := a.question(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if ref.Version == 0 && ref.Alias == "" && ref.Digest == "" {
				return a.showModel(cmd.Context(), ref, at)
			}
			return a.showVersion(cmd.Context(), ref, at)
		},
	}
	a.atFlag(cmd)
	return cmd
}

func (a *app) showVersion(ctx context.Context, ref pedigree.Reference, at pedigree.At) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	v, err := c.Version(ctx, ref, at)
	if err != nil {
		return err
	}
	name := a.reference(v.Project, v.Model, v.Number)
	var running []pedigree.Deployment
	if a.people() {
		list, err := c.Where(ctx, pedigree.Reference{Project: v.Project, Model: v.Model, Version: v.Number}, at)
		if err != nil {
			return err
		}
		running = list.Items
	}
	asOf := a.asOf(ctx, at)
	return a.print(answer{value: v, names: []string{name}, human: func(w io.Writer) {
		a.versionPage(w, &v, asOf, running...)
	}})
}

// page writes a page for people: sections of labelled lines.
type page struct {
	w io.Writer
}

// title writes what the page is about.
func (p page) title(name, state string) {
	fmt.Fprintln(p.w, printable(words([]string{name, state})))
}

// line writes a label and a value, and nothing where the value is empty.
func (p page) line(label string, values ...string) {
	values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
	if len(values) > 0 {
		fmt.Fprintf(p.w, "%-14s%s\n", label, printable(strings.Join(values, "  ")))
	}
}

// list writes a label and a value on each line.
func (p page) list(label string, values []string) {
	for _, v := range values {
		p.line(label, v)
		label = ""
	}
}

// text writes a text of several lines, as it is but for control characters.
func (p page) text(label, s string) {
	p.list(label, strings.Split(strings.TrimSpace(s), "\n"))
}

// versionPage shows a version, and the deployments by which it stands somewhere.
func (a *app) versionPage(w io.Writer, v *pedigree.Version, asOf string, running ...pedigree.Deployment) {
	p := page{w}
	r := &v.Record
	name := a.reference(v.Project, v.Model, v.Number)
	state := ""
	switch {
	case v.Withdrawn != nil:
		state = "(WITHDRAWN)"
	case v.Archived:
		state = "(archived)"
	}
	p.title(name, state)
	p.line("as of", asOf)
	var aliases []string
	for _, alias := range v.Aliases {
		aliases = append(aliases, a.display(pedigree.Reference{Project: v.Project, Model: v.Model, Alias: alias}))
	}
	p.line("aliases", strings.Join(aliases, ", "))
	complete := completenessLines(v.Completeness)
	for i := range complete {
		complete[i] = strings.ReplaceAll(complete[i], "pedigree request VERSION", "pedigree request "+shellWord(name))
	}
	p.list("complete", complete)
	p.line("registered", a.since(v.CreatedAt), "by "+a.who(v.CreatedBy))
	a.approvalLines(p, v)
	for i := range running {
		d := &running[i]
		since := d.OpenedAt
		if d.ActiveAt != nil {
			since = *d.ActiveAt
		}
		label := ""
		if i == 0 {
			label = "runs at"
		}
		p.line(label, string(d.Target), string(d.Role)+", "+string(d.State), "since "+a.since(since))
		p.overridden(d)
	}
	p.line("imported", importedLine(v.Imported))
	p.text("description", v.Description)
	p.line("tags", pairs(v.Tags))
	p.line("artifact", artifactLine(r.Artifact, ""))
	a.recordLines(p, r)
	p.line("record", string(v.RecordDigest))
	p.line("erased", strings.Join(v.Erased, ", "))
	p.list("amended", a.amendmentLines(v.Amendments))
	if len(r.Artifact.Files) > 0 {
		fmt.Fprintln(w)
		a.fileTable(r.Artifact.Files).write(w, "")
	}
	if r.Artifact.Kind == pedigree.ArtifactStored {
		fmt.Fprintf(w, "\nget it back: pedigree pull %s\n", shellWord(name))
	}
}

// importedLine is what the registry said of a version that it comes from.
func importedLine(m *pedigree.Imported) string {
	if m == nil {
		return ""
	}
	parts := []string{m.ID, "of", string(m.From)}
	if m.CreatedAt != nil {
		parts = append(parts, "registered there", stamp(*m.CreatedAt), "UTC")
	}
	if m.Author != "" {
		parts = append(parts, "by", m.Author)
	}
	return words(parts)
}

// recordLines are the lines of a record, but for its artifact.
func (a *app) recordLines(p page, r *pedigree.Record) {
	p.line("owner", r.Owner)
	p.line("target", r.Target)
	p.text("rollback", r.RollbackNote)
	a.codeLines(p, r)
	a.runtimeLines(p, r)
	p.list("data", dataLines(r.Data))
	p.list("metrics", metricLines(r.Metrics))
	p.line("params", pairs(r.Params))
	p.list("outputs", outputLines(r.Outputs))
	p.list("parents", parentLines(r.Parents))
	p.list("evidence", evidenceLines(r.Evidence))
	if s := r.Signature; s != nil {
		p.line("takes", columnLine(s.Inputs))
		p.line("gives", columnLine(s.Outputs))
	}
	p.list("loads as", flavorLines(r.Flavors))
}

func (a *app) codeLines(p page, r *pedigree.Record) {
	if c := r.Code; c != nil {
		dirty := ""
		if c.Dirty {
			dirty = "(with changes that were not committed)"
		}
		branch := ""
		if c.Branch != "" {
			branch = "branch " + c.Branch
		}
		p.line("code", string(c.Repository), c.Commit, branch, c.Path, dirty)
	}
	if run := r.Run; run != nil {
		times := ""
		if run.StartedAt != nil {
			times = "started " + stamp(*run.StartedAt) + " UTC"
		}
		by := ""
		if run.User != "" {
			by = "by " + run.User
		}
		p.line("run", run.System, cmp.Or(run.Name, run.ID), string(run.URI), by, times)
		for _, up := range run.Upstream {
			p.line("", "after "+cmp.Or(up.Name, up.ID), string(up.URI))
		}
	}
}

func (a *app) runtimeLines(p page, r *pedigree.Record) {
	rt := r.Runtime
	if rt == nil {
		return
	}
	p.line("image", rt.Image)
	if e := rt.Environment; e != nil {
		python := ""
		if e.Python != "" {
			python = "Python " + e.Python
		}
		packages := ""
		if len(e.Packages) > 0 {
			packages = count(len(e.Packages), "package")
		}
		p.line("environment", python, e.Manager, packages, e.File)
	}
	if m := rt.Compute; m != nil {
		cores, memory := "", ""
		if m.Cores > 0 {
			cores = count(m.Cores, "core")
		}
		if m.Memory > 0 {
			memory = humanize.IBytes(uint64(m.Memory))
		}
		p.line("compute", strings.Trim(m.OS+"/"+m.Arch, "/"), m.CPU, cores, memory, strings.Join(m.GPUs, ", "), m.InstanceType)
	}
	if rt.Seconds != nil {
		p.line("took", time.Duration(float64(*rt.Seconds)*float64(time.Second)).Round(time.Second).String())
	}
}

func dataLines(data []pedigree.DataReference) []string {
	var out []string
	for _, d := range data {
		parts := []string{d.Role + ":", string(d.Kind), string(d.URI), d.Query, d.Version, string(d.Digest)}
		if d.Size != nil {
			parts = append(parts, size(d.Size))
		}
		if d.Personal != nil && *d.Personal {
			parts = append(parts, "personal data", d.Subjects)
		}
		out = append(out, words(parts))
	}
	return out
}

func metricLines(metrics []pedigree.Metric) []string {
	out := make([]string, len(metrics))
	for i, m := range metrics {
		out[i] = metricName(m) + " = " + m.Value.String()
	}
	return out
}

// metricName is a metric with what it was measured on: "auc@test/holdout".
func metricName(m pedigree.Metric) string {
	name := m.Name
	if m.Dataset != "" || m.Split != "" {
		name += "@" + m.Dataset
	}
	if m.Split != "" {
		name += "/" + m.Split
	}
	return name
}

func outputLines(outputs []pedigree.Output) []string {
	var out []string
	for _, o := range outputs {
		parts := []string{o.Name, string(o.URI), string(o.Digest)}
		if o.Size != nil {
			parts = append(parts, size(o.Size))
		}
		out = append(out, words(parts))
	}
	return out
}

func parentLines(parents []pedigree.Parent) []string {
	var out []string
	for _, p := range parents {
		what := p.Reference
		if what == "" && p.ModelID != "" {
			what = pedigree.VersionSubject(p.ModelID, p.Version)
		}
		out = append(out, words([]string{strings.ReplaceAll(string(p.Relation), "_", "-"), what, string(p.URI), string(p.Digest)}))
	}
	return out
}

func evidenceLines(evidence []pedigree.Evidence) []string {
	var out []string
	for _, e := range evidence {
		parts := []string{e.Kind + ":", e.Name, string(e.URI)}
		if e.Size > 0 {
			parts = append(parts, size(&e.Size))
		}
		out = append(out, words(append(parts, e.Note)))
	}
	return out
}

func flavorLines(flavors []pedigree.Flavor) []string {
	var out []string
	for _, f := range flavors {
		parts := []string{f.Name, f.Version}
		if f.Loader != "" {
			parts = append(parts, "by "+f.Loader)
		}
		if f.Python != "" {
			parts = append(parts, "on Python "+f.Python)
		}
		out = append(out, words(parts))
	}
	return out
}

func columnLine(columns []pedigree.Column) string {
	var out []string
	for _, c := range columns {
		text := strings.TrimPrefix(c.Name+": "+c.Type, ": ")
		if c.Optional {
			text += "?"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func (a *app) amendmentLines(amendments []pedigree.Amendment) []string {
	var out []string
	for _, m := range amendments {
		line := fmt.Sprintf("%s by %s: %s", a.since(m.Time), a.who(m.Actor), strings.Join(sortedKeys(m.Fields), ", "))
		if m.Reason != "" {
			line += " (" + m.Reason + ")"
		}
		out = append(out, line)
	}
	return out
}

// words joins the parts that are not empty.
func words(parts []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(parts), func(s string) bool { return s == "" }), " ")
}

// pairs is a map in a line, by key.
func pairs(m map[string]string) string {
	var out []string
	for _, k := range sortedKeys(m) {
		out = append(out, k+"="+cut(m[k], 80))
	}
	return strings.Join(out, ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// shellWord quotes s for a shell where it needs that.
func shellWord(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./@:=+,", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !safe(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// modelPageVersions is how many versions the page of a model shows.
const modelPageVersions = 10

func (a *app) showModel(ctx context.Context, ref pedigree.Reference, at pedigree.At) error {
	if err := a.enter(ref.Project); err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	m, err := c.Model(ctx, ref.Model, at)
	if err != nil {
		return err
	}
	var versions []pedigree.Summary
	var running map[pedigree.VersionNumber][]string
	empty := ""
	if a.people() {
		if running, err = a.runningVersions(ctx, c, m.Name, at); err != nil {
			return err
		}
		list, err := c.Search(ctx, client.Query{Filter: modelFilter(m.Name), At: at, Page: pedigree.Page{Limit: modelPageVersions}})
		if err != nil {
			return err
		}
		if versions = list.Items; len(versions) == 0 {
			if empty, err = a.noVersions(ctx, c, m.Name, at); err != nil {
				return err
			}
		}
	}
	asOf := a.asOf(ctx, at)
	return a.print(answer{value: m, names: []string{a.reference(m.Project, m.Name, 0)}, human: func(w io.Writer) {
		a.modelPage(w, &m, versions, running, empty, asOf)
	}})
}

func (a *app) modelPage(w io.Writer, m *pedigree.Model, versions []pedigree.Summary, running map[pedigree.VersionNumber][]string, empty, asOf string) {
	p := page{w}
	p.title(a.reference(m.Project, m.Name, 0), "")
	p.line("as of", asOf)
	p.line("owner", m.Owner)
	p.text("purpose", m.Purpose)
	p.text("permitted use", m.PermittedUse)
	p.text("restrictions", m.Restrictions)
	p.line("risk tier", string(m.Tier))
	p.line("state", strings.ReplaceAll(string(m.State), "_", " "))
	p.text("description", m.Description)
	p.line("tags", pairs(m.Tags))
	p.line("created", a.since(m.CreatedAt), "by "+a.who(m.CreatedBy))
	p.line("id", m.ID)
	if len(m.Former) > 0 {
		p.line("before", "this name had another model before: "+strings.Join(m.Former, ", "))
	}
	p.line("erased", strings.Join(m.Erased, ", "))
	var aliases []string
	for alias, n := range m.Aliases {
		aliases = append(aliases, fmt.Sprintf("%s → %d", alias, n))
	}
	slices.Sort(aliases)
	p.line("aliases", strings.Join(aliases, ", "))
	fmt.Fprintln(w)
	if len(versions) == 0 {
		fmt.Fprintln(w, empty)
		return
	}
	a.versionTable(versions, false, running).write(w, "")
	if len(versions) == modelPageVersions {
		fmt.Fprintf(w, "all of them: pedigree ls %s\n", shellWord(string(m.Name)))
	}
}

// rawText is a JSON value for people: a text without its quotes.
func rawText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
