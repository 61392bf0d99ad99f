package pedigree

import (
	"slices"
	"strings"
	"time"
)

// Observation is what a serving process says that it runs. It names the version by what it
// knows: a deployment, a model and a version, or the digest of the artifact.
type Observation struct {
	// Instance names the process: a pod, a host, a device.
	Instance   string        `json:"instance"`
	Deployment string        `json:"deployment,omitempty"`
	Model      Name          `json:"model,omitempty"`
	Version    VersionNumber `json:"version,omitempty"`
	Digest     Digest        `json:"digest,omitempty"`
	// ObservedAt is the process's own time, for reports that come late; it is shown and
	// steers nothing.
	ObservedAt *time.Time `json:"observed_at,omitempty"`
}

// Normalize checks o. It returns [CodeInvalid].
func (o *Observation) Normalize() error {
	c := &checker{}
	c.check(o.Instance != "", "an observation needs the name of its instance")
	c.text("instance", o.Instance, MaxName)
	c.text("deployment", o.Deployment, MaxName)
	c.check(o.Deployment == "" || strings.HasPrefix(o.Deployment, "dep_"), "%q is not the id of a deployment: dep_…", clip(o.Deployment))
	c.check(o.Deployment != "" || o.Digest != "" || o.Model != "" && o.Version != 0, "an observation says what runs: a deployment, a digest, or a model and a version")
	return c.failed
}

// Instance is a serving process as it was last seen at its target.
type Instance struct {
	Instance   string        `json:"instance"`
	Deployment string        `json:"deployment,omitempty"`
	Model      Name          `json:"model,omitempty"`
	ModelID    string        `json:"model_id,omitempty"`
	Version    VersionNumber `json:"version,omitempty"`
	Digest     Digest        `json:"digest,omitempty"`
	// Since is when it began to run that, SeenAt when it last said so.
	Since  time.Time `json:"since"`
	SeenAt time.Time `json:"seen_at"`
	// Matches says that it runs what it should, Silent that it has said nothing for
	// longer than the target allows.
	Matches bool `json:"matches"`
	Silent  bool `json:"silent,omitempty"`
	// LagsSince is since when it runs something else than is desired: since that is
	// desired, or since it began to run what it runs, whichever is later; nil where it
	// matches.
	LagsSince *time.Time `json:"lags_since,omitempty"`
}

// TargetStatus is a target with what is desired there and what was seen.
type TargetStatus struct {
	Target    Target      `json:"target"`
	Protected bool        `json:"protected"`
	Current   *Deployment `json:"current,omitempty"`
	// Withdrawn says that the version of Current is barred, and still runs.
	Withdrawn bool        `json:"withdrawn,omitempty"`
	Pending   *Deployment `json:"pending,omitempty"`
	// Barred is why Pending can't become active any more: what was said of its version
	// since. "" where it can.
	Barred string       `json:"barred,omitempty"`
	Others []Deployment `json:"others,omitempty"` // canaries and shadows
	// Rollback says whether the way back is open; nil for a target that is not protected
	// or was not looked at yet.
	Rollback  *Readiness `json:"rollback,omitempty"`
	Instances []Instance `json:"instances,omitempty"`
	// Lagging and Silent count instances; none is counted twice.
	Lagging int `json:"lagging,omitempty"`
	Silent  int `json:"silent,omitempty"`
	// LaggingSince is since when the one that lags longest does, SilentSince when the one
	// that is silent longest was last heard.
	LaggingSince *time.Time `json:"lagging_since,omitempty"`
	SilentSince  *time.Time `json:"silent_since,omitempty"`
	AsOf         int64      `json:"as_of"`
	Named
}

// Desired is what instances of the target are to run: what waits to be seen there, else what
// is active; nil where nothing is. A deployment that somebody else puts there and reports is
// not for instances to fetch, nor is one that can't become active any more.
func (s *TargetStatus) Desired() *Deployment {
	if d := s.Pending; d != nil && d.Confirm == ConfirmObservation && s.Barred == "" {
		return d
	}
	return s.Current
}

// wanted says whether an instance runs something that it may: what is desired, what is being
// put there, or a canary or shadow.
func (s *TargetStatus) wanted(i *Instance) bool {
	return i.Runs(s.Desired()) || s.Barred == "" && i.Runs(s.Pending) || slices.ContainsFunc(s.Others, func(d Deployment) bool { return i.Runs(&d) })
}

// Runs says whether an instance runs what d deploys. Other bytes are something else,
// whatever the instance calls them.
func (i *Instance) Runs(d *Deployment) bool {
	switch {
	case d == nil || i.Digest != "" && d.Digest != "" && i.Digest != d.Digest:
		return false
	case i.Deployment != "":
		return i.Deployment == d.ID || i.ModelID == d.ModelID && i.Version == d.Version
	case i.ModelID != "" && i.Version != 0:
		return i.ModelID == d.ModelID && i.Version == d.Version
	}
	return i.Digest != "" && d.Digest != ""
}

// Confirms is the deployment that waits at p's target for an observation and is what i runs;
// nil without one.
func (p *Place) Confirms(i *Instance) *Deployment {
	for k := range p.Standing {
		d := &p.Standing[k]
		if d.State == DeploymentPending && d.Confirm == ConfirmObservation && i.Runs(d) && !p.other(i, d) {
			return d
		}
	}
	return nil
}

// Observe decides what follows from i, seen at p's target: an event where what it runs has
// changed (before is how it was last seen, nil for never), and the activation of what it
// [Place.Confirms], whose version is v. Where v was withdrawn, rejected or revoked
// meanwhile, i is seen all the same and makes nothing active.
func (p *Place) Observe(before *Instance, i Instance, v *Version) []Draft {
	var drafts []Draft
	if before == nil || before.Deployment != i.Deployment || before.ModelID != i.ModelID || before.Version != i.Version || before.Digest != i.Digest {
		payload := Payload{"instance": i.Instance}.with("model", i.ModelID).with("digest", string(i.Digest)).with("deployment", i.Deployment)
		if i.Version != 0 {
			payload["version"] = i.Version
		}
		drafts = append(drafts, Draft{Type: InstanceChanged, Subject: p.Target.ID, Payload: payload})
	}
	if d := p.Confirms(&i); d != nil && d.Barred(v) == "" {
		drafts = append(drafts, p.activate(d, "observation", "")...)
	}
	return drafts
}

// other says that an instance names a deployment that stands at p and is not d: the same
// version, but not with the image and the configuration of d.
func (p *Place) other(i *Instance, d *Deployment) bool {
	return i.Deployment != d.ID && slices.ContainsFunc(p.Standing, func(s Deployment) bool { return s.ID == i.Deployment })
}

// Finding is the answer to "which version is that?": of a target, a deployment, a digest,
// an instance or whatever else leads to a deployment.
type Finding struct {
	// Kind is what the question named: target, deployment, model, artifact, image,
	// instance, uri; of a logged prediction, the field that led here: deployment, target,
	// version, digest.
	Kind string `json:"kind"`
	// Deployment is where it runs or ran; nil for a version that is deployed nowhere.
	Deployment *Deployment `json:"deployment,omitempty"`
	Version    Version     `json:"version"`
	Target     *Target     `json:"target,omitempty"`
	// Rollback is the command that goes back.
	Rollback string `json:"rollback,omitempty"`
	// Contradictions are where the line of a logged prediction and the registry do not
	// agree, Notes what else to mind, such as another deployment that was active then.
	Contradictions []string `json:"contradictions,omitempty"`
	Notes          []string `json:"notes,omitempty"`
}

// desiredSince is since when instances are to run what is desired; the zero time where
// nothing is.
func (s *TargetStatus) desiredSince() time.Time {
	switch d := s.Desired(); {
	case d == nil:
		return time.Time{}
	case d.ActiveAt != nil:
		return *d.ActiveAt
	default:
		return d.OpenedAt
	}
}

// Compare says of each instance whether it runs what it should, since when not, and whether
// it has been silent for too long, and counts them.
func (s *TargetStatus) Compare(now time.Time) {
	s.Lagging, s.Silent, s.LaggingSince, s.SilentSince = 0, 0, nil, nil
	desired := s.desiredSince()
	earlier := func(since **time.Time, t time.Time) {
		if *since == nil || t.Before(**since) {
			*since = &t
		}
	}
	for k := range s.Instances {
		i := &s.Instances[k]
		i.Matches, i.Silent = s.wanted(i), now.Sub(i.SeenAt) > s.Target.Silence()
		if i.LagsSince = nil; !i.Matches {
			since := i.Since
			if since.Before(desired) {
				since = desired
			}
			i.LagsSince = &since
		}
		switch {
		case i.Silent:
			s.Silent++
			earlier(&s.SilentSince, i.SeenAt)
		case !i.Matches:
			s.Lagging++
			earlier(&s.LaggingSince, *i.LagsSince)
		}
	}
}
