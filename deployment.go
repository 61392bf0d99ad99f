package pedigree

import (
	"slices"
	"strings"
	"time"
)

// DeploymentRole is the part that a deployment plays on its target.
type DeploymentRole string

// The roles. A target has at most one active deployment of each.
const (
	RolePrimary DeploymentRole = "primary" // it answers
	RoleCanary  DeploymentRole = "canary"  // it answers a part
	RoleShadow  DeploymentRole = "shadow"  // it is asked and not listened to
)

// DeploymentState is where a deployment is in its life.
type DeploymentState string

// The states. Pending goes to active, failed, ended or superseded; active to superseded,
// rolled back or ended; the others are the end.
const (
	DeploymentPending    DeploymentState = "pending"
	DeploymentActive     DeploymentState = "active"
	DeploymentFailing    DeploymentState = "failed"
	DeploymentSuperseded DeploymentState = "superseded"
	DeploymentRolledBack DeploymentState = "rolled_back"
	DeploymentOver       DeploymentState = "ended"
)

// Deployment says that a version runs, or is to run, on a target: from then to then, by
// whom, with which image and configuration.
type Deployment struct {
	// ID is opaque: "dep_…".
	ID       string          `json:"id"`
	Project  ProjectName     `json:"project"`
	Target   TargetName      `json:"target"`
	TargetID string          `json:"target_id"`
	Model    Name            `json:"model"`
	ModelID  string          `json:"model_id"`
	Version  VersionNumber   `json:"version"`
	Digest   Digest          `json:"digest,omitempty"`
	Role     DeploymentRole  `json:"role"`
	State    DeploymentState `json:"state"`
	Image    string          `json:"image,omitempty"`
	// Config names the configuration: a URI, a digest or a commit.
	Config   string  `json:"config,omitempty"`
	Note     string  `json:"note,omitempty"`
	Incident SafeURI `json:"incident,omitempty"`
	// Confirm is what makes it active.
	Confirm Confirm `json:"confirm"`
	// Restores is the earlier deployment that a rollback restores.
	Restores string `json:"restores,omitempty"`
	// Decision is what was checked before.
	Decision Decision `json:"decision,omitzero"`
	// Bad says that it must not be restored by a rollback; BadReason why.
	Bad       bool   `json:"bad,omitempty"`
	BadReason string `json:"bad_reason,omitempty"`

	OpenedAt time.Time  `json:"opened_at"`
	OpenedBy string     `json:"opened_by"`
	ActiveAt *time.Time `json:"active_at,omitempty"`
	ActiveBy string     `json:"active_by,omitempty"`
	EndedAt  *time.Time `json:"ended_at,omitempty"`
	EndedBy  string     `json:"ended_by,omitempty"`
	// EndReason is what was said when it failed or was ended.
	EndReason string `json:"end_reason,omitempty"`
	// Seq is the event that opened it, ActiveSeq the one that made it active, EndSeq the
	// one that ended it.
	Seq       int64  `json:"seq"`
	ActiveSeq *int64 `json:"active_seq,omitempty"`
	EndSeq    *int64 `json:"end_seq,omitempty"`
	Named
}

// Deploy is what a caller asks for.
type Deploy struct {
	Role DeploymentRole `json:"role,omitempty"`
	// Image and Config are what runs it; Note, Incident and RollbackNote what is said.
	Image    string  `json:"image,omitempty"`
	Config   string  `json:"config,omitempty"`
	Note     string  `json:"note,omitempty"`
	Incident SafeURI `json:"incident,omitempty"`
	// RollbackNote says what to mind when going back from the version; it amends the
	// record.
	RollbackNote string `json:"rollback_note,omitempty"`
	// Overrides pass over failed checks by name.
	Overrides []Override `json:"overrides,omitempty"`
}

// DeploymentReport is what whoever deploys says of a deployment that waits.
type DeploymentReport struct {
	// State is active or failed.
	State    DeploymentState `json:"state"`
	Note     string          `json:"note,omitempty"`
	Incident SafeURI         `json:"incident,omitempty"`
}

// Normalize checks d and completes what has a default. It returns [CodeInvalid].
func (d *Deploy) Normalize() error {
	c := &checker{}
	switch d.Role {
	case "":
		d.Role = RolePrimary
	case RolePrimary, RoleCanary, RoleShadow:
	default:
		c.check(false, "deployment role %q: want primary, canary or shadow", clip(string(d.Role)))
	}
	if d.Image != "" {
		_, err := ParseImage(d.Image)
		c.err(err)
	}
	c.text("config", d.Config, MaxURI)
	c.text("note", d.Note, MaxText)
	c.text("rollback note", d.RollbackNote, MaxText)
	return c.failed
}

// Reference names the deployed version for people.
func (d *Deployment) Reference() Reference {
	v := Version{Project: d.Project, Model: d.Model, Number: d.Version}
	return v.Reference()
}

// CheckCurrent compares what runs at a target, current (nil for nothing), with what a caller
// believes: that it is version expected of the model, 0 for nothing; nil believes nothing.
// modelID "" stands for any model. It returns [CodeConflict] with what is there.
func CheckCurrent(target TargetName, current *Deployment, modelID string, expected *VersionNumber) error {
	if expected == nil {
		return nil
	}
	n, is := VersionNumber(0), "nothing is deployed at "+string(target)
	if current != nil {
		n, is = current.Version, string(target)+" runs "+current.Reference().String()
	}
	if n == *expected && (current == nil || modelID == "" || current.ModelID == modelID) {
		return nil
	}
	e := Errorf(CodeConflict, "%s, not what you expected", is).WithFix("look with: pedigree which %s", target)
	e.Current = is
	return e
}

// Live says that d is pending or active.
func (d *Deployment) Live() bool { return d.State == DeploymentPending || d.State == DeploymentActive }

// Place is what a decision about a target rests on: the target, and what stands there.
type Place struct {
	Target Target
	// Standing are the deployments that are pending or active.
	Standing []Deployment
}

// find is the standing deployment of a role that is in a state, nil without one.
func (p *Place) find(role DeploymentRole, state DeploymentState) *Deployment {
	for i := range p.Standing {
		if d := &p.Standing[i]; d.Role == role && d.State == state {
			return d
		}
	}
	return nil
}

// Current is the active primary deployment, nil without one.
func (p *Place) Current() *Deployment { return p.find(RolePrimary, DeploymentActive) }

// Pending is the primary deployment that is not active yet, nil without one.
func (p *Place) Pending() *Deployment { return p.find(RolePrimary, DeploymentPending) }

// Deploy decides that v is deployed at p's target, under a new id, as decision found that
// it may. Where the target asks for no confirmation it is active in the same append. The
// decision must have no failed check. It returns [CodeRefused] where it has, and
// [CodeInvalid].
//
// A primary deployment that waits there has been passed over by then: it is superseded
// without having been active. What is active stays until the new one is.
func (p *Place) Deploy(id string, v *Version, deploy Deploy, decision Decision, restores string) ([]Draft, error) {
	if err := deploy.Normalize(); err != nil {
		return nil, err
	}
	t := &p.Target
	what := "deploying " + v.Reference().String() + " to " + string(t.Name)
	if restores != "" {
		what = "rolling " + string(t.Name) + " back to " + v.Reference().String()
	}
	if err := decision.Err(what); err != nil {
		return nil, err
	}
	payload := Payload{
		"target": t.ID, "model": v.ModelID, "version": v.Number, "role": deploy.Role, "decision": decision, "confirm": t.Confirm,
	}.with("digest", string(v.Record.Artifact.Digest)).with("image", deploy.Image).with("config", deploy.Config).
		with("note", deploy.Note).with("incident", string(deploy.Incident)).with("restores", restores)
	refs := []string{t.ID, v.Subject()}
	drafts := []Draft{{Type: DeploymentOpened, Subject: id, Refs: refs, Payload: payload}}
	for _, c := range decision.Overridden() {
		drafts = append(drafts, Draft{
			Type: GateOverridden, Subject: id, Refs: refs,
			Payload: Payload{"check": c.Name, "message": c.Message, "reason": c.Reason},
		})
	}
	if t.Confirm == ConfirmNone || t.Confirm == "" {
		opened := Deployment{
			ID: id, Target: t.Name, TargetID: t.ID, Model: v.Model, ModelID: v.ModelID, Version: v.Number,
			Role: deploy.Role, State: DeploymentPending, Restores: restores,
		}
		drafts = append(drafts, p.activate(&opened, "at_once", "")...)
	}
	return drafts, nil
}

// activate drafts that d is active: what was, ends, and the tied alias moves.
func (p *Place) activate(d *Deployment, how, note string) []Draft {
	endsAs := DeploymentSuperseded
	if d.Restores != "" {
		endsAs = DeploymentRolledBack
	}
	version := VersionSubject(d.ModelID, d.Version)
	drafts := []Draft{{
		Type: DeploymentActivated, Subject: d.ID, Refs: []string{d.TargetID, version},
		Payload: Payload{
			"target": d.TargetID, "model": d.ModelID, "version": d.Version, "role": d.Role, "how": how, "ends_as": endsAs,
		}.with("note", note),
	}}
	if d.Role == RolePrimary && p.Target.Alias != "" {
		drafts = append(drafts, Draft{
			Type: AliasMoved, Subject: d.ModelID, Refs: []string{version, d.ID},
			Payload: Payload{"alias": p.Target.Alias, "version": d.Version},
		})
	}
	return drafts
}

// Barred says why d, which waits, must not become active, "" for nothing: what was said of
// its version v since d was opened, or that v is not what was approved then. What was said
// before was judged then, and either stopped nothing or was passed over.
func (d *Deployment) Barred(v *Version) string {
	if w := v.Withdrawn; w != nil && w.Seq > d.Seq {
		return "was withdrawn: " + w.Reason
	}
	if a := v.Approval; a != nil && a.Refused != nil && a.Refused.Seq > d.Seq {
		if a.Refused.Verdict == VerdictRevoke {
			return "has lost its approval: it was " + a.Refused.why()
		}
		return "was " + a.Refused.why()
	}
	if d.outdated(v) {
		return outdated
	}
	return ""
}

// outdated is what [Deployment.Barred] says where [Deployment.outdated] is true.
const outdated = "was amended, and not approved again"

// outdated says that d was opened because as many as must approved v, and that v was amended
// since and not approved again. A rollback does not rest on that; see [RollbackChecks].
func (d *Deployment) outdated(v *Version) bool {
	return v.Approval != nil && v.Approval.amended > d.Seq && d.Restores == "" && slices.ContainsFunc(d.Decision.Checks, func(c Check) bool {
		return c.Name == CheckApproval && c.State == CheckPassed
	})
}

// Activate decides that d, which is pending at p's target, is active now, as somebody
// reports. v is the version of d; nil will do where d is not pending. It returns no event
// where d is active already, and [CodeRefused] where it is over or v was withdrawn, rejected,
// revoked, or amended and not approved again since d was opened.
func (p *Place) Activate(d *Deployment, v *Version, note string) ([]Draft, error) {
	if err := checkText("note", note, MaxText); err != nil {
		return nil, err
	}
	switch d.State {
	case DeploymentPending:
		if why := d.Barred(v); why != "" {
			e := Errorf(CodeRefused, "deployment %s can't become active: since it was opened, %s %s", d.ID, d.Reference(), why)
			if why == outdated {
				return nil, e.WithFix("pedigree request %s, and report it again once it is approved; or: pedigree deployment report %s --failed --note WHY", d.Reference(), d.ID)
			}
			return nil, e.WithFix("pedigree deployment report %s --failed --note WHY, then deploy another version to %s", d.ID, d.Target)
		}
		return p.activate(d, "report", note), nil
	case DeploymentActive:
		return nil, nil
	}
	return nil, Errorf(CodeRefused, "deployment %s is %s and can't become active", d.ID, strings.ReplaceAll(string(d.State), "_", " ")).
		WithFix("pedigree deploy %s --to %s", d.Reference(), d.Target)
}

// Fail decides that d failed, and why: whoever looks at it later has nothing else. An active
// deployment is not failed but marked bad and rolled back. It returns no event where it
// failed already for that reason, [CodeInvalid] without one, and [CodeRefused].
func (d *Deployment) Fail(reason string, incident SafeURI) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	switch d.State {
	case DeploymentPending:
		if reason == "" {
			return nil, Errorf(CodeInvalid, "why did deployment %s fail?", d.ID).
				WithFix("pedigree deployment report %s --failed --note WHY", d.ID)
		}
		return []Draft{{
			Type: DeploymentFailed, Subject: d.ID, Refs: d.refs(),
			Payload: Payload{}.with("reason", reason).with("incident", string(incident)),
		}}, nil
	case DeploymentFailing:
		if reason != "" && reason != d.EndReason {
			return nil, Errorf(CodeRefused, "deployment %s failed already, because: %s; what was reported stays", d.ID, clip(d.EndReason)).
				WithFix("pedigree deployment mark %s --bad --reason WHY keeps what else there is to say", d.ID)
		}
		return nil, nil
	case DeploymentActive:
		return nil, Errorf(CodeRefused, "deployment %s is active: it did not fail to start", d.ID).
			WithFix("pedigree rollback %s --reason …", d.Target)
	}
	return nil, Errorf(CodeRefused, "deployment %s is %s already", d.ID, d.State)
}

// End decides that d stands on its target no more, and nothing in its place. It returns no
// event where it is over already.
func (d *Deployment) End(reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if !d.Live() {
		return nil, nil
	}
	return []Draft{{Type: DeploymentEnded, Subject: d.ID, Refs: d.refs(), Payload: Payload{}.with("reason", reason)}}, nil
}

// Mark decides whether d is bad: no rollback goes to it by itself. It returns no event
// where it is so already, and [CodeInvalid] without a reason.
func (d *Deployment) Mark(bad bool, reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if bad && strings.TrimSpace(reason) == "" {
		return nil, Errorf(CodeInvalid, "say why the deployment is bad").WithFix("--reason TEXT")
	}
	if d.Bad == bad {
		return nil, nil
	}
	return []Draft{{Type: DeploymentMarked, Subject: d.ID, Refs: d.refs(), Payload: Payload{"bad": bad}.with("reason", reason)}}, nil
}

func (d *Deployment) refs() []string {
	return []string{d.TargetID, VersionSubject(d.ModelID, d.Version)}
}

// FoldDeployment fills d from the events about it, oldest first. States that come from other deployments
// (superseded, rolled back) are the store's to say. It returns [CodeCorrupt].
func FoldDeployment(d *Deployment, events []Event) error {
	for i := range events {
		e := &events[i]
		var failure error
		read := func(name string, to any) {
			if _, err := e.Decode(name, to); err != nil && failure == nil {
				failure = err
			}
		}
		switch e.Type {
		case DeploymentOpened:
			d.ID, d.Seq, d.OpenedAt, d.OpenedBy = e.Subject, e.Seq, e.Time, e.Actor
			d.TargetID, d.ModelID = e.String("target"), e.String("model")
			d.Image, d.Config, d.Note, d.Restores = e.String("image"), e.String("config"), e.String("note"), e.String("restores")
			d.Digest, d.Incident, d.Confirm = Digest(e.String("digest")), SafeURI(e.String("incident")), Confirm(e.String("confirm"))
			d.Role, d.State = DeploymentRole(e.String("role")), DeploymentPending
			read("version", &d.Version)
			read("decision", &d.Decision)
		case DeploymentActivated:
			d.State, d.ActiveAt, d.ActiveBy, d.ActiveSeq = DeploymentActive, &e.Time, e.Actor, &e.Seq
		case DeploymentFailed:
			d.end(DeploymentFailing, e)
			if uri := e.String("incident"); uri != "" {
				d.Incident = SafeURI(uri)
			}
		case DeploymentEnded:
			d.end(DeploymentOver, e)
		case DeploymentMarked:
			d.Bad, d.BadReason = false, ""
			read("bad", &d.Bad)
			if d.Bad {
				d.BadReason = e.String("reason")
			}
		}
		if failure != nil {
			return failure
		}
	}
	return nil
}

func (d *Deployment) end(state DeploymentState, e *Event) {
	d.State, d.EndedAt, d.EndedBy, d.EndSeq, d.EndReason = state, &e.Time, e.Actor, &e.Seq, e.String("reason")
}

// WayBack looks, among the deployments of a target, for the one that a rollback restores:
// the latest earlier primary that was active, with another version or another image or
// configuration than what stands there, and is not bad. What was marked so, or rolled back,
// was bad, and with it every earlier deployment of the same: going back twice never leads
// to where the first time led away from.
type WayBack struct {
	// Current is what stands there, nil for nothing.
	Current *Deployment
	judged  map[string]bool
}

// Fits says whether d is the one. It is to be asked of each deployment, newest first, until
// one fits.
func (w *WayBack) Fits(d *Deployment) bool {
	if d.Role != RolePrimary || d.ActiveSeq == nil || w.judged[d.what()] || w.Current != nil && d.Seq > w.Current.Seq {
		return false
	}
	if w.judged == nil {
		w.judged = map[string]bool{}
	}
	w.judged[d.what()] = true
	return !d.Bad && d.State != DeploymentRolledBack && !d.Runs(w.Current)
}

// Runs says whether d runs what other does: the version, with the image and configuration.
func (d *Deployment) Runs(other *Deployment) bool { return other != nil && d.what() == other.what() }

// what identifies what a deployment runs.
func (d *Deployment) what() string {
	return strings.Join([]string{VersionSubject(d.ModelID, d.Version), d.Image, d.Config}, "\x00")
}
