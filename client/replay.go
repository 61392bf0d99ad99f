package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// Replay says which logged prediction is replayed, and how.
type Replay struct {
	// Prediction is the whole line. Required.
	Prediction pedigree.Prediction
	// Score scores the request again with the files of the version; nil leaves that out.
	Score Score
	// Tolerance is the most by which two numbers may differ, relatively to numbers above 1.
	// It is not negative; [pedigree.DefaultTolerance] is what the command line has.
	Tolerance float64
	// Checkpoint is what the proofs lead to, as [Client.Remember] returned it; a zero one
	// asks for the server's.
	Checkpoint pedigree.Checkpoint
	// Write is the file for what was found and its proofs; "" writes none.
	Write string
	// Progress is told how the files of the version come; nil is told nothing.
	Progress Progress
}

// Score runs a version on one request: its files are in dir, and are removed afterwards.
// entry says for people what was run, also where that failed. Of an error, the message of a
// [pedigree.Error] is taken into the answer, and nothing of its cause, which may hold the
// request; of any other error nothing is.
//
// Whatever it does, it does with the rights of this program.
type Score func(ctx context.Context, dir string, request json.RawMessage) (prediction json.RawMessage, entry string, err error)

// Replay traces a logged prediction to the version that made it: it finds the deployment
// and the version ([Client.WhichPrediction]), gathers the events that say so with the proof
// of each, reads the version's files again and checks every digest, and, where Score is
// given, scores the request and compares. Neither request nor prediction leave the program,
// nor are they in what is returned or written, but for their digests.
//
// What it found to be wrong is in the answer and no error; [pedigree.Replay.Err] makes one
// of it. It returns [pedigree.CodeNotFound] and [pedigree.CodeNotRecorded] for a line that
// leads nowhere, [pedigree.CodeCorrupt] where the registry's events or proofs are not what
// they claim, and [pedigree.CodeForbidden] for a caller who may not read the log.
func (c *Client) Replay(ctx context.Context, in Replay) (pedigree.Replay, error) {
	r := replay{c: c, Replay: in, known: map[int64]bool{}, now: time.Now().UTC()}
	r.out = pedigree.Replay{Schema: pedigree.ReplayV1, MadeAt: r.now, Prediction: in.Prediction.Replayed(), Checkpoint: in.Checkpoint}
	if !(in.Tolerance >= 0) {
		return r.out, pedigree.Errorf(pedigree.CodeInvalid, "the tolerance is %v: want 0 or more", in.Tolerance)
	}
	var err error
	if r.out.Checkpoint.Note == "" {
		if r.out.Checkpoint, err = c.Checkpoint(ctx); err != nil {
			return r.out, err
		}
	}
	if err := r.trace(ctx); err != nil {
		return r.out, err
	}
	if err := r.again(ctx); err != nil {
		return r.out, err
	}
	if in.Write != "" {
		err = WriteReplay(in.Write, &r.out)
	}
	return r.out, err
}

// replay is one replay under way.
type replay struct {
	Replay
	c     *Client
	now   time.Time
	known map[int64]bool // the events in out
	out   pedigree.Replay
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
	for _, c := range r.out.Facts.Contradictions(&r.out.Prediction) { // by what is proven, whatever the registry said
		if !slices.Contains(r.out.Contradictions, c) {
			r.out.Contradictions = append(r.out.Contradictions, c)
		}
	}
	return r.prove(ctx)
}

// find asks the registry which version is meant.
func (r *replay) find(ctx context.Context) (pedigree.ReplayQuestion, error) {
	q := pedigree.ReplayQuestion{At: r.Prediction.Time.UTC()}
	list, err := r.c.WhichPrediction(ctx, r.Prediction, pedigree.At{})
	if err != nil {
		return q, err
	}
	if len(list.Items) == 0 {
		return q, pedigree.Errorf(pedigree.CodeUnavailable, "%s does not say what it found", r.c.shown)
	}
	f := &list.Items[0]
	q.ModelID, q.Version = f.Version.ModelID, f.Version.Number
	if d := f.Deployment; d != nil {
		q.ModelID, q.Version = d.ModelID, d.Version // also where the version was deleted since
		if f.Kind == pedigree.FoundByDeployment || f.Kind == pedigree.FoundByTarget {
			q.Deployment = d.ID
		}
	}
	r.out.FoundBy, r.out.Contradictions, r.out.Notes = f.Kind, f.Contradictions, f.Notes
	return q, nil
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

// prove adds the proof of every event, and checks them as whoever gets the file will.
func (r *replay) prove(ctx context.Context) error {
	for i := range r.out.Events {
		p := &r.out.Events[i]
		var err error
		if p.Inclusion, err = r.c.InclusionProof(ctx, p.Entry.Seq, r.out.Checkpoint.Size); err != nil {
			return err
		}
	}
	_, err := CheckReplay(&r.out)
	return err
}

// again reads the version's files again, and scores the request where that is asked for.
func (r *replay) again(ctx context.Context) error {
	facts := &r.out.Facts
	dir, err := os.MkdirTemp("", "pedigree-replay-")
	if err != nil {
		return localError("make a folder for the files of the version", err)
	}
	defer os.RemoveAll(dir)
	at := pedigree.At{Time: r.Prediction.Time.UTC()}
	switch {
	case r.Prediction.Time.Before(facts.RegisteredAt):
		at.Time = facts.RegisteredAt
	case r.Prediction.Time.After(r.now):
		at = pedigree.At{}
	}
	pulled, err := r.c.Pull(ctx, Pull{
		Reference: pedigree.Reference{Project: facts.Project, Model: facts.Model, Version: facts.Version}, At: at,
		Dest: filepath.Join(dir, "version"), Progress: r.Progress,
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.out.Bytes = &pedigree.ReplayedBytes{Digest: pulled.Digest, Files: pulled.Files, Bytes: pulled.Bytes}
	switch {
	case err != nil:
		r.out.Bytes.Problem = withoutFix(err)
	case pulled.Digest != facts.Digest:
		r.out.Bytes.Problem = fmt.Sprintf("the registry gives the files of %s, the log says %s", pulled.Digest, facts.Digest)
	}
	if r.Score == nil {
		return nil
	}
	result, entry := r.score(ctx, pulled.Path)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.out.Scoring, r.out.Comparison = entry, &result
	return nil
}

// score scores the logged request with the files in dir and compares. Whatever keeps it
// from that is part of the answer.
func (r *replay) score(ctx context.Context, dir string) (result pedigree.Comparison, entry string) {
	if problem := r.out.Bytes.Problem; problem != "" {
		return pedigree.CannotCompare("the files are not there: " + problem), ""
	}
	got, entry, err := r.Score(ctx, dir, r.Prediction.Request)
	var own *pedigree.Error
	switch {
	case errors.As(err, &own):
		return pedigree.CannotCompare(own.Message), entry
	case err != nil:
		return pedigree.CannotCompare("scoring it failed"), entry
	}
	return pedigree.ComparePredictions(r.Prediction.Prediction, got, r.Tolerance), entry
}

// withoutFix is the text of an error without what to do about it.
func withoutFix(err error) string {
	var own *pedigree.Error
	if !errors.As(err, &own) || own.Fix == "" {
		return err.Error()
	}
	return strings.TrimSuffix(err.Error(), "; "+own.Fix)
}

// WriteReplay writes the file of a replay, which [ReadReplay] reads and anybody who has the
// log's key can check.
func WriteReplay(name string, r *pedigree.Replay) error {
	text, err := encode(r) // in one line: the values of events are hashed as they are
	if err != nil {
		return err
	}
	return localError("write the proofs", os.WriteFile(name, text, 0o644))
}

// maxReplay is the most bytes of a replay's file.
const maxReplay = 256 << 20

// ReadReplay reads the file of a replay, and checks nothing: see [CheckReplay]. It returns
// [pedigree.CodeNotFound] for no file, [pedigree.CodeInvalid] for a file that is something
// else, [pedigree.CodeUnsupported] for a form that this package does not know, and
// [pedigree.CodeCorrupt] for a file that is broken.
func ReadReplay(name string) (pedigree.Replay, error) {
	var out pedigree.Replay
	other := pedigree.Errorf(pedigree.CodeInvalid, "%s is not the file of a replay", name)
	info, err := os.Stat(name)
	if err != nil {
		return out, localError("read the proofs", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxReplay {
		return out, other
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return out, localError("read the proofs", err)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if json.Unmarshal(text, &head) != nil || !strings.HasPrefix(head.Schema, "pedigree.replay/") {
		return out, other
	}
	if head.Schema != pedigree.ReplayV1 {
		return out, pedigree.Errorf(pedigree.CodeUnsupported, "%s is of the form %.60s; this program knows %s", name, head.Schema, pedigree.ReplayV1)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, pedigree.Errorf(pedigree.CodeCorrupt, "%s can't be read: %w", name, err)
	}
	for _, p := range out.Events { // what was indented since was compact when it was hashed
		for i := range p.Entry.Fields {
			var value bytes.Buffer
			if f := &p.Entry.Fields[i]; json.Compact(&value, f.Value) == nil {
				f.Value = value.Bytes()
			}
		}
	}
	return out, nil
}

// CheckReplay checks the proofs of a replay, that its facts follow from its events, and
// that it tells where these and the line do not agree; it needs no registry. keys are the
// public keys of the log that are trusted; without any, those that the replay names are,
// of which the last must have signed. It returns the events, and [pedigree.CodeCorrupt].
func CheckReplay(r *pedigree.Replay, keys ...string) ([]pedigree.Event, error) {
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
	for _, c := range facts.Contradictions(&r.Prediction) {
		if !slices.Contains(r.Contradictions, c) {
			return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the file does not say that %s", c)
		}
	}
	return events, nil
}
