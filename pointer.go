package pedigree

import "time"

// PointerV1 is the value of [Pointer]'s Schema.
const PointerV1 = "pedigree.pointer/v1"

// Pointer is what a target or an alias stood for when somebody asked, with the events that
// say so and the proof that they are in the log: who has the log's key can check it without
// the registry. It proves that the registry decided this, and not that it has decided
// nothing since: ResolvedAt, and the size of the checkpoint, say how old it is.
type Pointer struct {
	// Schema is [PointerV1].
	Schema string `json:"schema"`
	// Source is what was asked about: "target:risk:prod/fraud-api", "risk/fraud@production";
	// it names the project.
	Source  string      `json:"source"`
	Project ProjectName `json:"project"`
	// Target, TargetID and Deployment are set where a target was asked about, Alias where an
	// alias was.
	Target     TargetName    `json:"target,omitempty"`
	TargetID   string        `json:"target_id,omitempty"`
	Deployment string        `json:"deployment,omitempty"`
	Alias      Alias         `json:"alias,omitempty"`
	Model      Name          `json:"model"`
	ModelID    string        `json:"model_id"`
	Version    VersionNumber `json:"version"`
	Digest     Digest        `json:"digest"`
	// Files are those of the artifact; Digest covers them.
	Files []File `json:"files,omitempty"`
	// ResolvedAt is when it was asked, by the clock of whoever did, AsOf the last event that
	// the answer takes into account.
	ResolvedAt time.Time `json:"resolved_at"`
	AsOf       int64     `json:"as_of"`

	// Checkpoint is the signed root that Events are proven under, oldest first.
	Checkpoint Checkpoint `json:"checkpoint,omitzero"`
	Events     []Proven   `json:"events,omitempty"`
}

// Same says whether two pointers stand for the same: the deployment, and the bytes.
func (p *Pointer) Same(other *Pointer) bool {
	return other != nil && p.Source == other.Source && p.Deployment == other.Deployment && p.ModelID == other.ModelID && p.Version == other.Version && p.Digest == other.Digest
}

// Reference names the version that p stands for.
func (p *Pointer) Reference() Reference {
	v := Version{Project: p.Project, Model: p.Model, Number: p.Version}
	return v.Reference()
}

// Queries are the questions to the log whose answers prove p. The project's id is learnt
// from the first answers, and "" before.
func (p *Pointer) Queries(projectID string) []EventQuery {
	one := func(subject string, types ...EventType) EventQuery {
		return EventQuery{Subject: subject, Types: types, After: -1}
	}
	queries := []EventQuery{one(p.ModelID, ModelCreated, ModelRenamed)}
	if p.Deployment != "" {
		queries = append(queries, one(p.Deployment, DeploymentOpened), one(p.TargetID, TargetCreated))
	} else {
		version := VersionSubject(p.ModelID, p.Version)
		queries = append(queries, one(version, VersionRegistered, VersionAmended), one(version, AliasMoved))
	}
	if projectID != "" {
		queries = append(queries, one(projectID, ProjectCreated))
	}
	return queries
}

// ProjectID is the id of the project that events give p's target or model to, "" where none
// does.
func (p *Pointer) ProjectID(events []Event) string {
	for i := range events {
		e := &events[i]
		if e.Type == TargetCreated && e.Subject == p.TargetID || p.TargetID == "" && e.Type == ModelCreated && e.Subject == p.ModelID {
			return e.String("project")
		}
	}
	return ""
}

// Check says whether p is what events say, of which somebody has made sure that they are in
// the log, and whether its files are those of its digest. It returns [CodeCorrupt].
func (p *Pointer) Check(events []Event) error {
	if err := p.CheckFiles(); err != nil {
		return err
	}
	project := p.ProjectID(events)
	var decided, placed, named bool
	var digest Digest
	for i := range events {
		switch e := &events[i]; {
		case e.Type == ProjectCreated && e.Subject == project:
			placed = e.String("name") == string(p.Project)
		case e.Type == TargetCreated && e.Subject == p.TargetID && e.String("name") != string(p.Target):
			return Errorf(CodeCorrupt, "the pointer names the target %s, and the log %s", p.Target, clip(e.String("name")))
		case e.Type == ModelCreated && e.Subject == p.ModelID:
			named = e.String("name") == string(p.Model)
		case e.Type == ModelRenamed && e.Subject == p.ModelID:
			named = e.String("to") == string(p.Model)
		case p.Deployment != "" && e.Type == DeploymentOpened && e.Subject == p.Deployment:
			decided = e.String("target") == p.TargetID && e.String("model") == p.ModelID && e.version() == p.Version && e.String("role") == string(RolePrimary)
			digest = Digest(e.String("digest"))
		case p.Deployment == "" && e.Type == AliasMoved && e.Subject == p.ModelID && e.String("alias") == string(p.Alias):
			decided = decided || e.version() == p.Version
		case p.Deployment == "" && (e.Type == VersionRegistered || e.Type == VersionAmended) && e.Subject == VersionSubject(p.ModelID, p.Version):
			var a Artifact
			if ok, err := e.Decode("artifact", &a); err != nil {
				return err
			} else if ok {
				digest = a.Digest
			}
		}
	}
	switch {
	case !decided:
		return Errorf(CodeCorrupt, "no event of the pointer says that %s stands for version %s of %s", p.Source, p.Version, p.Model)
	case digest != p.Digest:
		return Errorf(CodeCorrupt, "the log says that %s has the digest %s, and the pointer %s", p.Reference(), clip(string(digest)), p.Digest)
	case !placed:
		return Errorf(CodeCorrupt, "no event of the pointer says that it is of the project %s", p.Project)
	case !named:
		return Errorf(CodeCorrupt, "no event of the pointer says that the model is called %s", p.Model)
	}
	return nil
}

// CheckFiles says whether p's files are those of its digest. It returns [CodeCorrupt].
func (p *Pointer) CheckFiles() error {
	if p.Schema != PointerV1 {
		return Errorf(CodeCorrupt, "the pointer has the schema %q; this program knows %s", clip(p.Schema), PointerV1)
	}
	a, err := StoredArtifact(p.Files)
	if err != nil {
		return Errorf(CodeCorrupt, "the pointer's list of files is not one of an artifact: %w", err)
	}
	if a.Digest != p.Digest {
		return Errorf(CodeCorrupt, "the pointer's list of files has digest %s, not %s", a.Digest, p.Digest)
	}
	return nil
}
