package pedigree

import (
	"slices"
	"time"
)

// ReplayV1 is the value of [Replay]'s Schema.
const ReplayV1 = "pedigree.replay/v1"

// Replay is a logged prediction that was traced to the version that made it, with the
// proofs: a file that whoever has the log's key can check without the registry. It holds
// neither the request nor the prediction, but their digests: whoever has the line can
// show that it is meant.
type Replay struct {
	// Schema is [ReplayV1].
	Schema string    `json:"schema"`
	MadeAt time.Time `json:"made_at"`
	// Prediction is what the line says of itself.
	Prediction ReplayedPrediction `json:"prediction"`
	// FoundBy is the field of the line that led to the version, [FoundByDeployment] and so
	// on.
	FoundBy string `json:"found_by"`
	// Facts are what the events say: they can be made again from them by [FoldReplay].
	Facts ReplayFacts `json:"facts"`
	// Contradictions are where the line and the log do not agree.
	Contradictions []string `json:"contradictions,omitempty"`
	// Notes are what else to mind, such as another deployment that was active then.
	Notes []string `json:"notes,omitempty"`
	// Bytes is what came of reading the version's files again, Scoring how it was scored
	// and Comparison what came of that. These three, and the notes, are the word of whoever
	// made the file.
	Bytes      *ReplayedBytes `json:"bytes,omitempty"`
	Scoring    string         `json:"scoring,omitempty"`
	Comparison *Comparison    `json:"comparison,omitempty"`

	Checkpoint Checkpoint `json:"checkpoint"`
	// Keys are the public keys of the log, as the registry says.
	Keys []LogKey `json:"keys"`
	// Events are those that the facts rest on, oldest first.
	Events []Proven `json:"events"`
}

// Err is the error of a replay that found something wrong: [CodeCorrupt] where the files of
// the version are not whole, [CodeUnavailable] where the request could not be scored again,
// [CodeRefused] where the prediction is another one now, or the line and the log do not
// agree. Whatever was found is in r all the same.
func (r *Replay) Err() error {
	switch c := r.Comparison; {
	case r.Bytes != nil && r.Bytes.Problem != "" && r.Facts.Digest != "":
		return Errorf(CodeCorrupt, "the files of the version could not be read: %s", r.Bytes.Problem)
	case c != nil && c.Outcome == OutcomeCannot:
		return Errorf(CodeUnavailable, "the request can't be scored again: %s", c.Reason)
	case c != nil && c.Outcome == OutcomeDifferent:
		return Errorf(CodeRefused, "scored again, the prediction is another one")
	case len(r.Contradictions) > 0:
		return Errorf(CodeRefused, "the line and the log do not agree")
	}
	return nil
}

// ReplayedPrediction is a [Prediction] without what it is about.
type ReplayedPrediction struct {
	ID         string        `json:"id"`
	Time       time.Time     `json:"time"`
	Project    ProjectName   `json:"project,omitempty"`
	Target     TargetName    `json:"target,omitempty"`
	Deployment string        `json:"deployment,omitempty"`
	Model      Name          `json:"model,omitempty"`
	Version    VersionNumber `json:"version,omitempty"`
	Digest     Digest        `json:"digest,omitempty"`
	Instance   string        `json:"instance,omitempty"`
	// RequestDigest and PredictionDigest are those of their JSON texts in the line.
	RequestDigest    Digest `json:"request_digest"`
	PredictionDigest Digest `json:"prediction_digest"`
}

// Replayed returns p without request, prediction, response and what the team adds.
func (p *Prediction) Replayed() ReplayedPrediction {
	return ReplayedPrediction{
		ID: p.ID, Time: p.Time.UTC(), Project: p.Project, Target: p.Target, Deployment: p.Deployment, Model: p.Model, Version: p.Version,
		Digest: p.Digest, Instance: p.Instance, RequestDigest: p.RequestDigest(), PredictionDigest: p.PredictionDigest(),
	}
}

// ReplayedBytes is what came of reading the files of a version again.
type ReplayedBytes struct {
	// Digest is the artifact's, Files and Bytes how much was read.
	Digest Digest `json:"digest,omitempty"`
	Files  int    `json:"files,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	// Problem says why they are not whole, or could not be read; "" where they are.
	Problem string `json:"problem,omitempty"`
}

// ReplayFacts are what the log says of the version that made a prediction, as of then.
type ReplayFacts struct {
	Project ProjectName   `json:"project"`
	Model   Name          `json:"model"`
	ModelID string        `json:"model_id"`
	Version VersionNumber `json:"version"`
	// Digest is the artifact's, RecordDigest that of the record at the moment of the
	// prediction.
	Digest       Digest    `json:"digest,omitempty"`
	RecordDigest Digest    `json:"record_digest"`
	RegisteredAt time.Time `json:"registered_at"`
	RegisteredBy string    `json:"registered_by"`
	// Code, Image and Data are what made it, Owner who answers for it.
	Code  *Code           `json:"code,omitempty"`
	Image string          `json:"image,omitempty"`
	Data  []DataReference `json:"data,omitempty"`
	Owner string          `json:"owner,omitempty"`
	// Opinions are what reviewers had said of it by then, newest first.
	Opinions []Opinion `json:"opinions,omitempty"`
	// Deployment is the one that it ran under, with its end where that is known by now;
	// nil where the line led to a version alone.
	Deployment *Deployment `json:"deployment,omitempty"`
}

// ReplayQuestion says what [FoldReplay] makes facts of.
type ReplayQuestion struct {
	ModelID string
	Version VersionNumber
	// Deployment is an id, or "".
	Deployment string
	// At is the moment of the prediction.
	At time.Time
}

// replayTypes are the types of events that a replay rests on, by what they are about.
var replayTypes = struct{ model, version, deployment []EventType }{
	model: []EventType{ModelCreated, ModelRenamed},
	version: []EventType{
		VersionRegistered, VersionAmended, ApprovalRequested, ApprovalGranted, ApprovalRejected, ApprovalRevoked, ApprovalConditionMet,
	},
	deployment: []EventType{DeploymentOpened, DeploymentActivated, DeploymentFailed, DeploymentEnded, DeploymentMarked},
}

// ReplayQueries are the questions to the log whose answers are the events that
// [FoldReplay] makes facts of, but for those that the facts name by their number: the end
// of the deployment, and the policies of its decision. targetID and projectID may be "".
func (q *ReplayQuestion) ReplayQueries(projectID, targetID string) []EventQuery {
	out := []EventQuery{
		{Subject: q.ModelID, Types: replayTypes.model},
		{Subject: VersionSubject(q.ModelID, q.Version), Types: replayTypes.version},
	}
	if projectID != "" {
		out = append(out, EventQuery{Subject: projectID, Types: []EventType{ProjectCreated}})
	}
	if q.Deployment != "" {
		out = append(out, EventQuery{Subject: q.Deployment, Types: replayTypes.deployment})
	}
	if targetID != "" {
		out = append(out, EventQuery{Subject: targetID, Types: []EventType{TargetCreated}})
	}
	for i := range out {
		out[i].After = -1
	}
	return out
}

// FoldReplay makes the facts of a replay out of events, oldest first; those that it does
// not need don't matter. A question about a moment before the version was registered is
// answered as of then. It returns [CodeCorrupt] where an event that it needs is not among
// them.
func FoldReplay(q ReplayQuestion, events []Event) (ReplayFacts, error) {
	f := ReplayFacts{ModelID: q.ModelID, Version: q.Version}
	subject := VersionSubject(q.ModelID, q.Version)
	registered := slices.IndexFunc(events, func(e Event) bool { return e.Type == VersionRegistered && e.Subject == subject })
	if registered < 0 {
		return f, Errorf(CodeCorrupt, "the event that registered version %d of model %s is not among the events", q.Version, q.ModelID)
	}
	at := q.At
	if first := events[registered].Time; at.Before(first) {
		at = first
	}
	v := Version{ModelID: q.ModelID, Number: q.Version}
	var record, approval []Event
	names := map[string]string{} // of projects and targets, by id
	projectID := ""
	for i := range events {
		e := &events[i]
		switch {
		case e.Type == ProjectCreated || e.Type == TargetCreated:
			names[e.Subject] = e.String("name")
		case e.Time.After(at):
		case e.Subject == q.ModelID && e.Type == ModelCreated:
			f.Model, projectID = Name(e.String("name")), e.String("project")
		case e.Subject == q.ModelID && e.Type == ModelRenamed:
			f.Model = Name(e.String("to"))
		case e.Subject != subject:
		case e.Type == VersionRegistered:
			record = append(record, *e)
		case e.Type == VersionAmended:
			record, approval = append(record, *e), append(approval, *e)
		default:
			approval = append(approval, *e)
		}
	}
	f.Project = ProjectName(names[projectID])
	if f.Model == "" || f.Project == "" {
		return f, Errorf(CodeCorrupt, "the events that made model %s and its project are not among the events", q.ModelID)
	}
	v.Project, v.Model = f.Project, f.Model
	if err := FoldRecord(&v, record); err != nil {
		return f, err
	}
	r := &v.Record
	f.Digest, f.RecordDigest, f.RegisteredAt, f.RegisteredBy = r.Artifact.Digest, v.RecordDigest, v.CreatedAt, v.CreatedBy
	f.Code, f.Data, f.Owner = r.Code, r.Data, r.Owner
	if r.Runtime != nil {
		f.Image = r.Runtime.Image
	}
	reviews, err := FoldApproval(approval, 1, at)
	if err != nil {
		return f, err
	}
	f.Opinions = reviews.Opinions
	if q.Deployment != "" {
		if f.Deployment, err = foldReplayedDeployment(q, events); err != nil {
			return f, err
		}
		d := f.Deployment
		d.Project, d.Model, d.Target = f.Project, f.Model, TargetName(names[d.TargetID])
		if d.Target == "" {
			return f, Errorf(CodeCorrupt, "the event that made target %s is not among the events", d.TargetID)
		}
	}
	return f, nil
}

// foldReplayedDeployment makes a deployment out of its events, and of the one that took
// its place.
func foldReplayedDeployment(q ReplayQuestion, events []Event) (*Deployment, error) {
	own := slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Subject != q.Deployment })
	d := &Deployment{}
	if err := FoldDeployment(d, own); err != nil {
		return nil, err
	}
	switch {
	case d.ID == "":
		return nil, Errorf(CodeCorrupt, "the event that opened deployment %s is not among the events", q.Deployment)
	case d.ModelID != q.ModelID || d.Version != q.Version:
		return nil, Errorf(CodeCorrupt, "deployment %s is of version %d of model %s, not of version %d of model %s", d.ID, d.Version, d.ModelID, q.Version, q.ModelID)
	}
	if d.EndedAt != nil {
		return d, nil
	}
	if d.ActiveSeq == nil {
		return d, nil
	}
	for i := range events {
		e := &events[i]
		if e.Type == DeploymentActivated && e.Seq > *d.ActiveSeq && e.String("target") == d.TargetID && DeploymentRole(e.String("role")) == d.Role {
			d.end(DeploymentState(e.String("ends_as")), e)
			d.EndReason = ""
			break
		}
	}
	return d, nil
}

// Contradictions says where a line and the facts do not agree, one sentence each.
func (f *ReplayFacts) Contradictions(p *ReplayedPrediction) []string {
	var out []string
	say := func(yes bool, format string, args ...any) {
		if yes {
			out = append(out, Errorf(CodeInvalid, format, args...).Message)
		}
	}
	version := Version{Project: f.Project, Model: f.Model, Number: f.Version}
	ref := version.Reference()
	say(p.Project != "" && p.Project != f.Project, "the line says project %s, and the log says %s", p.Project, f.Project)
	say(p.Model != "" && p.Model != f.Model, "the line says model %s, and the log says %s", p.Model, f.Model)
	say(p.Version != 0 && p.Version != f.Version, "the line says version %d, and the log says %d", p.Version, f.Version)
	say(p.Digest != "" && f.Digest != "" && p.Digest != f.Digest, "the line says the artifact %s, and that of %s is %s", p.Digest, ref, f.Digest)
	say(p.Time.Before(f.RegisteredAt), "the line is of %s, before %s was registered on %s", moment(p.Time), ref, moment(f.RegisteredAt))
	d := f.Deployment
	if d == nil {
		return out
	}
	say(p.Deployment != "" && p.Deployment != d.ID, "the line says deployment %s, and the log says %s", p.Deployment, d.ID)
	say(p.Target != "" && p.Target != d.Target, "the line says target %s, and the deployment is at %s", p.Target, d.Target)
	switch {
	case d.ActiveAt == nil:
		say(true, "deployment %s was never active", d.ID)
	case p.Time.Before(*d.ActiveAt):
		say(true, "the line is of %s, before the deployment became active on %s", moment(p.Time), moment(*d.ActiveAt))
	case d.EndedAt != nil && p.Time.After(*d.EndedAt):
		say(true, "the line is of %s, after the deployment ended on %s", moment(p.Time), moment(*d.EndedAt))
	}
	return out
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
