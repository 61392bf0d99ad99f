package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/score"
)

// replayFlags choose the line and what is done with it.
type replayFlags struct {
	id        string
	run       bool
	tolerance float64
	python    string
	write     string
}

func newReplayCommand(a *app) *cobra.Command {
	f := &replayFlags{tolerance: 1e-9}
	cmd := &cobra.Command{
		Use:   "replay FILE|-",
		Short: "Trace a logged prediction to the version that made it, and score it again",
		Long: `Replay reads one logged prediction (docs/predictions.md), finds the deployment and the
version of that moment, reads the version's files again and checks every digest, and shows
who approved it under which policies, which code and data made it, and where the line and
the log do not agree.

With --run it scores the logged request again, as the version itself declares: by the
command in its scoring.json, by mlflow.pyfunc where it is an MLflow model, or here where it
is a model.json of the quickstart's form; and says identical, within tolerance, different,
or cannot, because … That runs code of the version on this machine with your rights: only
do it for versions that you would run anyway.

With --write it writes one file with the proofs, which pedigree verify checks without the
registry. The request and the prediction are not in it, only their digests.

Replay exits with 4 where the line and the log do not agree or the predictions differ, and
with 1 where the files are not whole or the request can't be scored.`,
		Example: `  pedigree replay prediction.json
  pedigree replay predictions.jsonl.gz --id r-4711 --run --write proof.json
  tail -1 predictions.jsonl | pedigree replay - --run --tolerance 1e-6`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !(f.tolerance >= 0) {
				return pedigree.Errorf(pedigree.CodeInvalid, "--tolerance %v: want 0 or more", f.tolerance)
			}
			return a.replay(cmd.Context(), f, args[0])
		},
	}
	cmd.Flags().StringVar(&f.id, "id", "", "the `ID` of the prediction, where the file holds more than one")
	cmd.Flags().BoolVar(&f.run, "run", false, "run the version's code to score the request again")
	cmd.Flags().Float64Var(&f.tolerance, "tolerance", f.tolerance, "the most that two numbers may differ, relatively to numbers above 1")
	cmd.Flags().StringVar(&f.python, "python", "", "the interpreter at `PATH` for --run (default: python3, or python)")
	cmd.Flags().StringVar(&f.write, "write", "", "write the facts and their proofs to `FILE`")
	return cmd
}

// replay is one replay under way.
type replay struct {
	*app
	c     *client.Client
	line  pedigree.Prediction
	known map[int64]bool // the events in out
	out   pedigree.Replay
}

func (a *app) replay(ctx context.Context, f *replayFlags, name string) error {
	line, err := a.readPrediction(ctx, name, f.id)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	r := &replay{app: a, c: c, line: line, known: map[int64]bool{}}
	r.out = pedigree.Replay{Schema: pedigree.ReplayV1, MadeAt: a.now().UTC(), Prediction: line.Replayed()}
	if r.out.Checkpoint, err = a.remember(ctx); err != nil {
		return err
	}
	if err := r.trace(ctx); err != nil {
		return err
	}
	if err := r.again(ctx, f); err != nil {
		return err
	}
	if f.write != "" {
		if err := writeReplay(f.write, &r.out); err != nil {
			return err
		}
	}
	shown := a.reference(r.out.Facts.Project, r.out.Facts.Model, r.out.Facts.Version)
	err = a.print(answer{value: r.out, names: []string{shown}, human: func(w io.Writer) {
		a.replayPage(w, &r.out)
		if f.write != "" {
			fmt.Fprintf(w, "\n→ %s; anybody who has the log's key can check it: pedigree verify %s\n", printable(f.write), shellWord(f.write))
		}
	}})
	if err != nil {
		return err
	}
	return r.verdict()
}

// readPrediction reads the line that is meant.
func (a *app) readPrediction(ctx context.Context, name, id string) (pedigree.Prediction, error) {
	var found pedigree.Prediction
	lines, matches := 0, 0
	var failure error
	err := a.readPredictions(ctx, name, func(n int, line []byte) error {
		lines++
		p, err := pedigree.ParsePrediction(line)
		if id != "" && p.ID != id {
			return nil // also where the line is bad: it is not the one that is meant
		}
		matches++
		if err != nil && failure == nil {
			e := *asError(err)
			e.Message = fmt.Sprintf("line %d: %s", n, e.Message)
			failure = &e
		}
		found = p
		return nil
	})
	switch {
	case err != nil:
		return found, err
	case id == "" && lines > 1:
		return found, pedigree.Errorf(pedigree.CodeInvalid, "%s holds %s", name, count(lines, "prediction")).WithFix("--id ID says which is meant")
	case matches > 1:
		return found, pedigree.Errorf(pedigree.CodeInvalid, "%s holds %s with the id %s", name, count(matches, "prediction"), cut(id, 60)).WithFix("give the one line that is meant on standard input")
	case matches == 0 && id != "":
		return found, pedigree.Errorf(pedigree.CodeNotFound, "none of the %s of %s has the id %s", count(lines, "line"), name, cut(id, 60))
	case matches == 0:
		return found, pedigree.Errorf(pedigree.CodeInvalid, "%s holds no prediction", name)
	}
	return found, failure
}

// loggedPrediction reads what names a logged prediction: the line itself, or a file that
// holds such lines; ok is false for anything else.
func (a *app) loggedPrediction(ctx context.Context, what, id string) (p pedigree.Prediction, ok bool, err error) {
	if strings.HasPrefix(what, "{") {
		p, err = pedigree.ParsePrediction([]byte(what))
		return p, true, err
	}
	if what != "-" && !holdsPredictions(what) {
		return p, false, nil
	}
	p, err = a.readPrediction(ctx, what, id)
	return p, true, err
}

// holdsPredictions says whether a file looks like a log of predictions: a file may have the
// name of a model by chance.
func holdsPredictions(name string) bool {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	begin := make([]byte, 64<<10)
	n, _ := io.ReadFull(f, begin)
	return bytes.Contains(begin[:n], []byte(`"pedigree.prediction/`)) || bytes.HasPrefix(begin, gzipMagic)
}

// namedBy is what a line is found by, the surest first. At a target it is the deployment
// that a replay would take: of what the line says that it was, a canary among them.
func (a *app) namedBy(ctx context.Context, c *client.Client, p *pedigree.Prediction, at pedigree.At) (string, error) {
	if p.Deployment != "" {
		return p.Deployment, nil
	}
	if p.Target != "" {
		var q pedigree.ReplayQuestion
		r := &replay{app: a, c: c, line: *p}
		found, err := r.findTarget(ctx, &q, cmp.Or(p.Project, a.projectName()), at)
		if err != nil || found {
			return q.Deployment, err
		}
	}
	switch {
	case p.Model != "" && p.Version != 0:
		return pedigree.Reference{Model: p.Model, Version: p.Version}.String(), nil
	case p.Digest != "":
		return string(p.Digest), nil
	}
	return string(p.Target), nil
}

// trace finds the version, gathers the events that its facts rest on, and makes the facts.
func (r *replay) trace(ctx context.Context) error {
	q, err := r.find(ctx)
	if err != nil {
		return err
	}
	if r.out.Keys, err = r.c.Keys(ctx); err != nil {
		return err
	}
	if err := r.gatherEvent(ctx, 0); err != nil { // which log it is
		return err
	}
	targetID, projectID := "", ""
	for round := range 2 { // the first says which project and target the second asks for
		for _, query := range q.ReplayQueries(projectID, targetID) {
			if err := r.gather(ctx, query); err != nil {
				return err
			}
		}
		if round == 0 {
			if projectID, targetID, err = r.owners(q); err != nil {
				return err
			}
		}
	}
	events, err := r.events()
	if err != nil {
		return err
	}
	facts, err := pedigree.FoldReplay(q, events)
	if err != nil {
		return err
	}
	if err := r.gatherNamed(ctx, q, &facts); err != nil {
		return err
	}
	r.mindClocks()
	r.out.Contradictions = append(r.out.Contradictions, r.out.Facts.Contradictions(&r.out.Prediction)...)
	return r.prove(ctx)
}

// gatherNamed adds the events that the facts name by their number, and makes the facts
// again with them: what ended the deployment, and the policies that it was decided by.
func (r *replay) gatherNamed(ctx context.Context, q pedigree.ReplayQuestion, facts *pedigree.ReplayFacts) error {
	if d := facts.Deployment; d != nil {
		for _, policy := range d.Decision.Policies {
			if err := r.gatherEvent(ctx, policy.Seq); err != nil {
				return err
			}
		}
		now, err := r.c.Deployment(ctx, d.ID, pedigree.At{})
		if err != nil {
			return err
		}
		if now.EndSeq != nil { // another deployment's event, mostly
			if err := r.gatherEvent(ctx, *now.EndSeq); err != nil {
				return err
			}
		}
	}
	events, err := r.events()
	if err != nil {
		return err
	}
	r.out.Facts, err = pedigree.FoldReplay(q, events)
	return err
}

// find says which version is meant, by what the line says: its deployment, its target, its
// version, its artifact.
func (r *replay) find(ctx context.Context) (pedigree.ReplayQuestion, error) {
	p := &r.line
	q := pedigree.ReplayQuestion{At: p.Time.UTC()}
	project := cmp.Or(p.Project, r.projectName())
	at := pedigree.At{Time: p.Time.UTC()}
	if p.Time.After(r.now()) {
		at = pedigree.At{}
	}
	switch {
	case p.Deployment != "":
		r.out.FoundBy = "deployment"
		return q, r.findDeployment(ctx, &q)
	case p.Target != "":
		r.out.FoundBy = "target"
		found, err := r.findTarget(ctx, &q, project, at)
		if err != nil || found {
			return q, err
		}
	}
	switch {
	case p.Model != "" && (p.Version != 0 || p.Digest != ""):
		ref := pedigree.Reference{Project: project, Model: p.Model, Version: p.Version}
		if r.out.FoundBy = "version"; p.Version == 0 {
			ref.Digest, r.out.FoundBy = p.Digest, "digest"
		}
		resolved, err := r.c.Resolve(ctx, ref, at)
		if code := pedigree.CodeOf(err); code == pedigree.CodeNotFound || code == pedigree.CodeNotRecorded {
			resolved, err = r.c.Resolve(ctx, ref, pedigree.At{}) // it may be of a wrong time
		}
		q.ModelID, q.Version = resolved.ModelID, resolved.Number
		return q, err
	}
	if p.Digest == "" {
		return q, pedigree.Errorf(pedigree.CodeNotFound, "nothing was active at %s on %s UTC", p.Target, stamp(p.Time)).WithFix("look with: pedigree timeline %s", p.Target)
	}
	r.out.FoundBy = "digest"
	list, err := r.c.Search(ctx, client.Query{Filter: "artifact.digest = '" + string(p.Digest) + "'", AllProjects: p.Project == "", Page: pedigree.Page{Limit: 1}, At: at})
	if err == nil && len(list.Items) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "no version that this registry had then holds %s", p.Digest)
	}
	if err != nil {
		return q, err
	}
	q.ModelID, q.Version = list.Items[0].ModelID, list.Items[0].Number
	return q, nil
}

// findTarget finds what was active at the target of the line at its time: the deployment of
// the version that the line names, else the primary one. It reports false where none was
// and the line says more by which to find the version.
func (r *replay) findTarget(ctx context.Context, q *pedigree.ReplayQuestion, project pedigree.ProjectName, at pedigree.At) (bool, error) {
	p := &r.line
	c := r.c.In(project)
	var active []pedigree.Deployment
	page := pedigree.Page{Limit: 200}
	for {
		list, err := c.Timeline(ctx, p.Target, page, at)
		if err != nil {
			return false, err
		}
		for _, d := range list.Items {
			if d.State == pedigree.DeploymentActive {
				active = append(active, d)
			}
		}
		primary := slices.ContainsFunc(active, func(d pedigree.Deployment) bool { return d.Role == pedigree.RolePrimary })
		if page.Cursor = list.Next; primary || page.Cursor == "" {
			break
		}
	}
	chosen := -1
	for i := range active {
		d := &active[i]
		same := (p.Model == "" || p.Model == d.Model) && (p.Version == 0 || p.Version == d.Version) && (p.Digest == "" || p.Digest == d.Digest)
		if same && (chosen < 0 || d.Role == pedigree.RolePrimary) {
			chosen = i
		}
	}
	if chosen < 0 {
		if len(active) > 0 && p.Digest == "" && (p.Model == "" || p.Version == 0) {
			chosen = 0
		} else {
			r.out.Contradictions = append(r.out.Contradictions, fmt.Sprintf("what the line names was not active at %s on %s UTC", p.Target, stamp(p.Time)))
			return false, nil
		}
	}
	d := &active[chosen]
	q.ModelID, q.Version, q.Deployment = d.ModelID, d.Version, d.ID
	for i := range active {
		if other := &active[i]; i != chosen && p.Version == 0 && p.Digest == "" {
			r.note("%s was active there too, as %s (%s): the line does not say which of them answered", r.reference(other.Project, other.Model, other.Version), other.Role, other.ID)
		}
	}
	return true, nil
}

// closeBy is how near to a change of deployments two clocks make a difference.
const closeBy = time.Minute

// mindClocks notes that a line that was found by its time alone is from about the time when
// another deployment took over.
func (r *replay) mindClocks() {
	d := r.out.Facts.Deployment
	if d == nil || r.out.FoundBy != "target" {
		return
	}
	for _, change := range []*time.Time{d.ActiveAt, d.EndedAt} {
		if change != nil && change.Sub(r.line.Time).Abs() < closeBy {
			r.note("the deployments changed on %s UTC, %s from the time of the line: the clocks of the service and the registry may differ by more", stamp(*change), change.Sub(r.line.Time).Abs().Round(time.Millisecond))
		}
	}
}

func (r *replay) note(format string, args ...any) {
	r.out.Notes = append(r.out.Notes, fmt.Sprintf(format, args...))
}

// findDeployment reads what was deployed from the event that opened the deployment.
func (r *replay) findDeployment(ctx context.Context, q *pedigree.ReplayQuestion) error {
	q.Deployment = r.line.Deployment
	opened := pedigree.EventQuery{Subject: q.Deployment, Types: []pedigree.EventType{pedigree.DeploymentOpened}, After: -1, Limit: 1}
	list, err := r.c.Events(ctx, opened)
	if err == nil && len(list.Items) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no deployment %s", q.Deployment).WithFix("is this the registry that the service is deployed from? --url, PEDIGREE_URL")
	}
	if err != nil {
		return err
	}
	e, err := ledger.CheckEntry(list.Items[0])
	if err != nil {
		return err
	}
	q.ModelID = e.String("model")
	_, err = e.Decode("version", &q.Version)
	return err
}

// owners are the ids of the project and the target, as the events so far have them.
func (r *replay) owners(q pedigree.ReplayQuestion) (project, target string, err error) {
	events, err := r.events()
	for i := range events {
		switch e := &events[i]; {
		case e.Type == pedigree.ModelCreated && e.Subject == q.ModelID:
			project = e.String("project")
		case e.Type == pedigree.DeploymentOpened && e.Subject == q.Deployment:
			target = e.String("target")
		}
	}
	return project, target, err
}

// gather adds all events that a question finds.
func (r *replay) gather(ctx context.Context, q pedigree.EventQuery) error {
	for {
		list, err := r.c.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, entry := range list.Items {
			r.add(entry)
		}
		if list.Next == "" {
			return nil
		}
		if _, err := fmt.Sscan(list.Next, &q.After); err != nil {
			return pedigree.Errorf(pedigree.CodeUnavailable, "the next page has no number: %w", err)
		}
	}
}

func (r *replay) gatherEvent(ctx context.Context, seq int64) error {
	if r.known[seq] {
		return nil
	}
	entry, err := r.c.Event(ctx, seq)
	if err == nil {
		r.add(entry)
	}
	return err
}

// add keeps an event that the checkpoint covers; what happened since is for another
// replay.
func (r *replay) add(entry pedigree.Entry) {
	if r.known[entry.Seq] || entry.Seq >= r.out.Checkpoint.Size {
		return
	}
	r.known[entry.Seq] = true
	r.out.Events = append(r.out.Events, pedigree.Proven{Entry: entry})
	slices.SortFunc(r.out.Events, func(a, b pedigree.Proven) int { return cmp.Compare(a.Entry.Seq, b.Entry.Seq) })
}

// events are those gathered so far, each checked by itself.
func (r *replay) events() ([]pedigree.Event, error) {
	var out []pedigree.Event
	for _, p := range r.out.Events {
		e, err := ledger.CheckEntry(p.Entry)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// prove adds the proof of every event, and checks them as verify will.
func (r *replay) prove(ctx context.Context) error {
	for i := range r.out.Events {
		p := &r.out.Events[i]
		var err error
		if p.Inclusion, err = r.c.InclusionProof(ctx, p.Entry.Seq, r.out.Checkpoint.Size); err != nil {
			return err
		}
	}
	_, err := checkReplay(&r.out, nil)
	return err
}

// again reads the version's files again, and scores the request where that is asked for.
func (r *replay) again(ctx context.Context, f *replayFlags) error {
	facts := &r.out.Facts
	dir, err := os.MkdirTemp("", "pedigree-replay-")
	if err != nil {
		return fileError(err)
	}
	defer os.RemoveAll(dir)
	at := pedigree.At{Time: r.line.Time.UTC()}
	switch {
	case r.line.Time.Before(facts.RegisteredAt):
		at.Time = facts.RegisteredAt
	case r.line.Time.After(r.now()):
		at = pedigree.At{}
	}
	bar := r.newProgress()
	pulled, err := r.c.Pull(ctx, client.Pull{
		Reference: pedigree.Reference{Project: facts.Project, Model: facts.Model, Version: facts.Version}, At: at,
		Dest: filepath.Join(dir, "version"), Progress: bar.event,
	})
	bar.stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.out.Bytes = &pedigree.ReplayedBytes{Digest: pulled.Digest, Files: pulled.Files, Bytes: pulled.Bytes}
	switch {
	case err != nil:
		r.out.Bytes.Problem = asError(err).Message
	case pulled.Digest != facts.Digest:
		r.out.Bytes.Problem = fmt.Sprintf("the registry gives the files of %s, the log says %s", pulled.Digest, facts.Digest)
	}
	if !f.run {
		return nil
	}
	result, scoring := r.score(ctx, f, pulled.Path)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.out.Scoring, r.out.Comparison = scoring, &result
	return nil
}

// score scores the logged request with the files in dir and compares. Whatever keeps it
// from that is part of the answer.
func (r *replay) score(ctx context.Context, f *replayFlags, dir string) (result pedigree.Comparison, scoring string) {
	if problem := r.out.Bytes.Problem; problem != "" {
		return pedigree.CannotCompare("the files are not there: " + problem), ""
	}
	entry, err := score.Find(dir, score.Options{Python: f.python, Env: r.env})
	if err != nil {
		return r.cannot(err), ""
	}
	r.hint("scoring the request again: %s", entry.String())
	got, err := entry.Score(ctx, r.line.Request)
	if err != nil {
		return r.cannot(err), entry.String()
	}
	return pedigree.ComparePredictions(r.line.Prediction, got, f.tolerance), entry.String()
}

// cannot is the comparison where scoring failed. What the program said about it is for
// the person here and never in the file: it may hold the request.
func (r *replay) cannot(err error) pedigree.Comparison {
	e := asError(err)
	var own *pedigree.Error
	if errors.As(err, &own) && own.Err != nil && own.Code != pedigree.CodeInternal {
		for line := range strings.Lines(own.Err.Error()) {
			r.hint("  %s", strings.TrimRight(line, "\r\n"))
		}
	}
	if e.Fix != "" {
		r.hint("  → %s", e.Fix)
	}
	return pedigree.CannotCompare(e.Message)
}

// verdict is the error of a replay that found something wrong.
func (r *replay) verdict() error {
	out := &r.out
	switch {
	case out.Bytes.Problem != "" && out.Facts.Digest != "":
		return pedigree.Errorf(pedigree.CodeCorrupt, "the files of the version could not be read: %s", out.Bytes.Problem)
	case out.Comparison != nil && out.Comparison.Outcome == pedigree.OutcomeCannot:
		return pedigree.Errorf(pedigree.CodeUnavailable, "the request can't be scored again: %s", out.Comparison.Reason)
	case out.Comparison != nil && out.Comparison.Outcome == pedigree.OutcomeDifferent:
		return pedigree.Errorf(pedigree.CodeRefused, "scored again, the prediction is another one")
	case len(out.Contradictions) > 0:
		return pedigree.Errorf(pedigree.CodeRefused, "the line and the log do not agree")
	}
	return nil
}

// replayPage shows a replay.
func (a *app) replayPage(w io.Writer, out *pedigree.Replay) {
	page := page{w}
	p, f := &out.Prediction, &out.Facts
	version := a.reference(f.Project, f.Model, f.Version)
	instance := ""
	if p.Instance != "" {
		instance = "by " + p.Instance
	}
	page.line("prediction", p.ID, stamp(p.Time)+" UTC", instance)
	page.line("version", version, "found by the "+out.FoundBy+" of the line")
	page.line("registered", stamp(f.RegisteredAt)+" UTC", "by "+a.who(f.RegisteredBy))
	if d := f.Deployment; d != nil {
		page.line("deployment", d.ID, string(d.Role)+" at "+string(d.Target))
		page.line("", a.replayInterval(d))
		var policies []string
		for _, ref := range d.Decision.Policies {
			policies = append(policies, fmt.Sprintf("%s (event %d)", ref.Scope, ref.Seq))
		}
		page.line("policies", strings.Join(policies, ", "))
		for _, c := range d.Decision.Overridden() {
			page.line("overridden", c.Name, c.Message, "because "+c.Reason)
		}
	}
	for _, o := range f.Opinions {
		note := ""
		if o.Past || o.Stale {
			note = "(counted no more)"
		}
		page.line(string(o.Verdict), stamp(o.At)+" UTC", "by "+a.who(o.By), o.Comment, note)
	}
	a.codeLines(page, &pedigree.Record{Code: f.Code})
	page.line("image", f.Image)
	page.list("data", dataLines(f.Data))
	page.line("owner", f.Owner)
	if b := out.Bytes; b.Problem == "" {
		page.line("files", string(b.Digest), count(b.Files, "file")+", "+size(&b.Bytes), "read again and whole")
	} else {
		page.line("files", "not read: "+b.Problem)
	}
	for _, c := range out.Contradictions {
		page.line("DISAGREES", c)
	}
	for _, n := range out.Notes {
		page.line("mind", n)
	}
	if c := out.Comparison; c != nil {
		page.line("scored again", comparisonLine(c), out.Scoring)
	}
	page.line("proof", count(len(out.Events), "event")+" of a log of "+fmt.Sprint(out.Checkpoint.Size))
}

// replayInterval is when a deployment was active.
func (a *app) replayInterval(d *pedigree.Deployment) string {
	if d.ActiveAt == nil {
		return "never active"
	}
	out := "active from " + stamp(*d.ActiveAt) + " UTC"
	if d.EndedAt != nil {
		out += " to " + stamp(*d.EndedAt) + " UTC, then " + strings.ReplaceAll(string(d.State), "_", " ")
	}
	return out + ", opened by " + a.who(d.OpenedBy)
}

// comparisonLine is a comparison in a sentence.
func comparisonLine(c *pedigree.Comparison) string {
	where := ""
	if c.At != "" {
		where = " at " + c.At
	}
	switch c.Outcome {
	case pedigree.OutcomeIdentical:
		return "identical"
	case pedigree.OutcomeWithin:
		if c.Difference == nil {
			return "within tolerance"
		}
		return fmt.Sprintf("within tolerance: off by at most %.3g%s", float64(*c.Difference), where)
	case pedigree.OutcomeCannot:
		return "cannot, because " + c.Reason
	}
	if c.Reason != "" {
		return "different: " + c.Reason
	}
	if c.Difference == nil { // a file that somebody made
		return "different"
	}
	return fmt.Sprintf("different: by up to %.3g%s", float64(*c.Difference), where)
}

// writeReplay writes the file of a replay.
func writeReplay(name string, out *pedigree.Replay) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // in one line: the values of events are hashed as they are
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		return err
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		return fileError(err)
	}
	return nil
}

// maxReplay is the most bytes of a replay's file.
const maxReplay = 256 << 20

// readReplay reads the file of a replay; ok is false where name is no such file.
func readReplay(name string) (out pedigree.Replay, ok bool, err error) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxReplay {
		return out, false, nil
	}
	text, err := readFile(name, maxReplay)
	if err != nil {
		return out, true, err
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if json.Unmarshal(text, &head) != nil || !strings.HasPrefix(head.Schema, "pedigree.replay/") {
		return out, false, nil
	}
	if head.Schema != pedigree.ReplayV1 {
		return out, true, pedigree.Errorf(pedigree.CodeUnsupported, "%s is of the form %s; this program knows %s", name, cut(head.Schema, 60), pedigree.ReplayV1)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, true, pedigree.Errorf(pedigree.CodeCorrupt, "%s can't be read: %w", name, err)
	}
	for _, p := range out.Events { // what was indented since was compact when it was hashed
		for i := range p.Entry.Fields {
			var value bytes.Buffer
			if f := &p.Entry.Fields[i]; json.Compact(&value, f.Value) == nil {
				f.Value = value.Bytes()
			}
		}
	}
	return out, true, nil
}

// checkReplay checks the proofs of a replay and that its facts follow from its events.
// Without keys it trusts those that the file names, of which the last must have signed.
func checkReplay(r *pedigree.Replay, keys []string) ([]pedigree.Event, error) {
	if len(keys) == 0 {
		keys = keyTexts(r.Keys)
	}
	cp, err := ledger.OpenCheckpoint(r.Checkpoint.Note, keys...)
	if err != nil {
		return nil, err
	}
	events, err := ledger.CheckProven(r.Events, cp)
	if err != nil {
		return nil, err
	}
	q := pedigree.ReplayQuestion{ModelID: r.Facts.ModelID, Version: r.Facts.Version, At: r.Prediction.Time}
	if r.Facts.Deployment != nil {
		q.Deployment = r.Facts.Deployment.ID
	}
	facts, err := pedigree.FoldReplay(q, events)
	if err != nil {
		return nil, err
	}
	said, err := json.Marshal(r.Facts)
	if err != nil {
		return nil, err
	}
	proven, err := json.Marshal(facts)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(said, proven) {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the facts of the file are not those that its events prove")
	}
	disagree := facts.Contradictions(&r.Prediction)
	for _, c := range disagree {
		if !slices.Contains(r.Contradictions, c) {
			return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the file does not say that %s", c)
		}
	}
	return events, nil
}

// verifyReplay checks the file of a replay, with nothing but what the user has.
func (a *app) verifyReplay(f *verifyFlags, name string, r *pedigree.Replay) error {
	events, err := checkReplay(r, f.keys)
	if err != nil {
		return err
	}
	version := a.reference(r.Facts.Project, r.Facts.Model, r.Facts.Version)
	return a.print(answer{value: r, names: []string{version}, human: func(w io.Writer) {
		fmt.Fprintf(w, "ok  %s of the log %s prove what %s says of %s\n", count(len(events), "event"), printable(r.Checkpoint.Origin), printable(name), version)
		trust := "by a key that the file itself names; --key pins one that you have from elsewhere"
		if len(f.keys) > 0 {
			trust = "by the key that you trust"
		}
		fmt.Fprintf(w, "    the checkpoint of %s is signed %s\n", count(int(r.Checkpoint.Size), "event"), trust)
		fmt.Fprintf(w, "    request %s, prediction %s: whoever has the line can compare\n\n", r.Prediction.RequestDigest, r.Prediction.PredictionDigest)
		if r.Bytes == nil {
			r.Bytes = &pedigree.ReplayedBytes{Problem: "the file does not say"}
		}
		a.replayPage(w, r)
		fmt.Fprintf(w, "\nproven: the version, its record, reviews and deployment. That the files were whole, and what\ncame of scoring again, is the word of who made the file, on %s UTC.\n", stamp(r.MadeAt.In(time.UTC)))
	}})
}
