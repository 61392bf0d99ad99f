package pedigree

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// TargetName names a target within its project: "env/name", as in prod/fraud-api.
type TargetName string

var targetPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}/[A-Za-z0-9][A-Za-z0-9._-]{0,126}$`)

// ParseTarget checks the name of a target, "env/name", or returns [CodeInvalid].
func ParseTarget(s string) (TargetName, error) {
	if !targetPattern.MatchString(s) {
		return "", Errorf(CodeInvalid, "%q is not a target: write env/name, as in prod/fraud-api", clip(s))
	}
	return TargetName(s), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseTarget].
func (n *TargetName) UnmarshalText(b []byte) error {
	v, err := ParseTarget(string(b))
	*n = v
	return err
}

// Environment is the part of n before the slash: "prod".
func (n TargetName) Environment() string {
	env, _, _ := strings.Cut(string(n), "/")
	return env
}

// TargetKind says how a target runs models.
type TargetKind string

// The kinds.
const (
	TargetOnline  TargetKind = "online"  // a service that answers requests
	TargetBatch   TargetKind = "batch"   // a job that reads and writes data sets
	TargetManaged TargetKind = "managed" // an endpoint that somebody else's platform runs
	TargetEdge    TargetKind = "edge"    // devices that fetch their model
)

// Confirm says what makes a deployment of a target active.
type Confirm string

// The ways of confirming.
const (
	ConfirmNone        Confirm = "none"        // at once, as it is deployed
	ConfirmReport      Confirm = "report"      // whoever deploys reports it
	ConfirmObservation Confirm = "observation" // the first instance that runs it says so
)

// Target is a place that serves or runs models.
type Target struct {
	// ID is opaque: "tgt_…".
	ID      string      `json:"id"`
	Project ProjectName `json:"project"`
	Name    TargetName  `json:"name"`
	TargetSpec
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	// Deleted says that it was deleted since; only questions about the past show it.
	Deleted bool `json:"deleted,omitempty"`
	// Seq is the event that created it, Changed the last one that changed it or what is
	// deployed there; Changed is its ETag.
	Seq     int64 `json:"seq"`
	Changed int64 `json:"changed"`
}

// TargetSpec is what people say of a target.
type TargetSpec struct {
	Kind TargetKind `json:"kind,omitempty"`
	// Owner is a person or a group: "ann", "team:risk".
	Owner       string `json:"owner,omitempty"`
	Description string `json:"description,omitempty"`
	// Alias is tied to the target: of the model that is deployed here, it names the
	// active version, and only deployments move it.
	Alias Alias `json:"alias,omitempty"`
	// Protected targets are deployed to under the approval rule of every policy, whatever
	// its environments, and their way back is checked in the background.
	Protected bool `json:"protected,omitempty"`
	// Confirm says what makes a deployment active; "" is none.
	Confirm Confirm `json:"confirm,omitempty"`
	// SilentAfter is how long an instance may say nothing before it counts as silent; 0
	// is five minutes.
	SilentAfter Duration `json:"silent_after,omitempty"`
	// Dashboards, Runbook and OnCall are where to look and whom to ask.
	Dashboards []SafeURI `json:"dashboards,omitempty"`
	Runbook    SafeURI   `json:"runbook,omitempty"`
	OnCall     SafeURI   `json:"oncall,omitempty"`
	// LogSchema is a JSON Schema that every logged prediction here ([Prediction], the whole
	// line) must fit besides that of all predictions: it says what is in request,
	// prediction and response. A version whose signature can't fill it is not deployed.
	LogSchema json.RawMessage `json:"log_schema,omitempty"`
}

// MaxLogSchema is the most bytes of a target's schema.
const MaxLogSchema = 64 << 10

// defaultSilence is how long an instance may say nothing where the target says nothing.
const defaultSilence = 5 * time.Minute

// Silence is how long an instance may say nothing before it counts as silent.
func (s *TargetSpec) Silence() time.Duration {
	if s.SilentAfter == 0 {
		return defaultSilence
	}
	return time.Duration(s.SilentAfter)
}

// Forgotten is how long an instance may say nothing before it is taken for gone: a pod that
// was replaced, and not one that hangs. It is no part of the target's state any more then.
func (s *TargetSpec) Forgotten() time.Duration { return max(24*time.Hour, 20*s.Silence()) }

// Normalize checks s and completes what has a default. It returns [CodeInvalid].
func (s *TargetSpec) Normalize() error {
	c := &checker{}
	switch s.Kind {
	case TargetOnline, TargetBatch, TargetManaged, TargetEdge:
	default:
		c.err(Errorf(CodeInvalid, "target kind %q: want online, batch, managed or edge", clip(string(s.Kind))).WithFix("--kind online"))
	}
	switch s.Confirm {
	case "":
		s.Confirm = ConfirmNone
	case ConfirmNone, ConfirmReport, ConfirmObservation:
	default:
		c.check(false, "confirm %q: want none, report or observation", clip(string(s.Confirm)))
	}
	if s.Alias != "" {
		_, err := ParseAlias(string(s.Alias))
		c.err(err)
	}
	c.text("owner", s.Owner, MaxName)
	c.text("description", s.Description, MaxText)
	c.check(len(s.Dashboards) <= 100, "a target has at most 100 dashboards")
	for _, u := range s.Dashboards {
		c.address("dashboard", u)
	}
	c.address("runbook", s.Runbook)
	c.address("oncall", s.OnCall)
	c.check(s.SilentAfter >= 0, "silent_after is negative")
	if len(s.LogSchema) > 0 {
		c.err(CheckLogSchema(s.LogSchema))
	}
	return c.failed
}

var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[^\s]`)

// address refuses what nobody can open in the night: it must say its scheme.
func (c *checker) address(field string, u SafeURI) {
	if u != "" && !schemePattern.MatchString(string(u)) {
		c.err(Errorf(CodeInvalid, "%s: %q is no URL", field, clip(string(u))).WithFix("write it whole, as in https://oncall.example.org/risk, tel:+15550100 or mailto:risk@example.org"))
	}
}

// payload holds every field of s that is set.
func (s *TargetSpec) payload() Payload {
	p := Payload{}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(marshal(s), &fields); err != nil {
		panic("pedigree: target fields: " + err.Error())
	}
	for key, value := range fields {
		p[key] = value
	}
	return p
}

// CreateTarget decides the creation of a target in a project, under a new id. The caller
// has made sure that the name is free. It returns [CodeInvalid].
func CreateTarget(project Project, id string, name TargetName, spec TargetSpec) ([]Draft, error) {
	if _, err := ParseTarget(string(name)); err != nil {
		return nil, err
	}
	if err := spec.Normalize(); err != nil {
		return nil, err
	}
	p := spec.payload()
	p["project"], p["name"] = project.ID, name
	return []Draft{{Type: TargetCreated, Subject: id, Refs: []string{project.ID}, Payload: p}}, nil
}

// Edit decides that spec takes the place of what is said of t; an event holds the fields
// that differ, null for those that are gone. Without any change it returns no event. It
// returns [CodeInvalid].
func (t *Target) Edit(project Project, spec TargetSpec) ([]Draft, error) {
	if err := spec.Normalize(); err != nil {
		return nil, err
	}
	before, after := t.payload(), spec.payload()
	p := Payload{}
	for key, value := range after {
		if string(value.(json.RawMessage)) != raw(before[key]) {
			p[key] = value
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			p[key] = nil
		}
	}
	if len(p) == 0 {
		return nil, nil
	}
	return []Draft{{Type: TargetEdited, Subject: t.ID, Refs: []string{project.ID}, Payload: p}}, nil
}

func raw(v any) string {
	text, _ := v.(json.RawMessage)
	return string(text)
}

// Delete decides that t is gone and its name free. It returns [CodeRefused] while
// something is deployed there.
func (t *Target) Delete(project Project, standing []Deployment, reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if len(standing) > 0 {
		d := &standing[0]
		return nil, Errorf(CodeRefused, "target %s is in use: %s is %s there", t.Name, d.Reference(), d.State).
			WithFix("pedigree deployment end %s --reason …", d.ID)
	}
	return []Draft{{
		Type: TargetDeleted, Subject: t.ID,
		Payload: Payload{"project": project.ID, "name": t.Name}.with("reason", reason),
	}}, nil
}

// FoldTarget fills what is said of t from the events that created and edited it, oldest
// first. It returns [CodeCorrupt].
func FoldTarget(t *Target, events []Event) error {
	fields := map[string]json.RawMessage{}
	for i := range events {
		for _, f := range events[i].Fields {
			switch {
			case f.Name == "project" || f.Name == "name" || f.Name == "reason":
			case f.Erased() || string(f.Value) == "null":
				delete(fields, f.Name)
			default:
				fields[f.Name] = f.Value
			}
		}
	}
	t.TargetSpec = TargetSpec{}
	if err := json.Unmarshal(marshal(fields), &t.TargetSpec); err != nil {
		return Errorf(CodeCorrupt, "target %s: %w", t.Name, err)
	}
	return nil
}

// TargetKey is the concurrency subject of a target's name within a project.
func TargetKey(projectID string, name TargetName) string {
	return "target:" + projectID + "/" + string(name)
}

// TiedKey is the concurrency subject of the alias ties of a project's targets: a decision
// about an alias rests on which targets tie it.
func TiedKey(projectID string) string { return "tied:" + projectID }

// ParseTargetReference reads "target:prod/fraud-api" and "target:risk:prod/fraud-api", what is
// deployed there; ok is false for any other text. project is "" where none is named.
func ParseTargetReference(s string) (project ProjectName, name TargetName, ok bool) {
	rest, ok := strings.CutPrefix(s, "target:")
	if !ok {
		return "", "", false
	}
	if before, after, found := strings.Cut(rest, ":"); found {
		p, err := ParseProjectName(before)
		if err != nil {
			return "", "", false
		}
		project, rest = p, after
	}
	name, err := ParseTarget(rest)
	if err != nil {
		return "", "", false
	}
	return project, name, true
}
