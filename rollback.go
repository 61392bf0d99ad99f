package pedigree

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// RollbackPlan is what a rollback would do, before anybody does it.
type RollbackPlan struct {
	Target  TargetName  `json:"target"`
	Project ProjectName `json:"project"`
	// From is what stands there, nil where nothing does; To what is restored.
	From *Deployment `json:"from,omitempty"`
	To   Deployment  `json:"to"`
	// Changes are the fields of the record that differ between the two versions.
	Changes []RecordChange `json:"changes,omitempty"`
	// Code, Image, Config and Artifact are what comes back.
	Code     *Code    `json:"code,omitempty"`
	Image    string   `json:"image,omitempty"`
	Config   string   `json:"config,omitempty"`
	Artifact Artifact `json:"artifact,omitzero"`
	// Alias is the tied alias that moves.
	Alias Alias `json:"alias,omitempty"`
	// Note is the rollback note of the version that is left.
	Note string `json:"note,omitempty"`
	// Executions are the batch runs made since the deployment that is left became active,
	// with what they wrote; Downstream are the versions made from its version.
	Executions []Execution `json:"executions,omitempty"`
	Downstream []string    `json:"downstream,omitempty"`
	Decision   Decision    `json:"decision"`
	AsOf       int64       `json:"as_of"`
	Named
}

// RecordChange is one field of a record that differs.
type RecordChange struct {
	// Field is the key of the field, with what in it: "owner", "params.depth", "code.commit".
	Field string `json:"field"`
	// From and To are the values, absent where there is none.
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"`
}

// Rollback is what a caller asks for.
type Rollback struct {
	// To names what to restore: a version ("fraud/6") or a deployment ("dep_…"); "" is
	// the candidate.
	To        string     `json:"to,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Incident  SafeURI    `json:"incident,omitempty"`
	Overrides []Override `json:"overrides,omitempty"`
	// IfCurrent, where not "", is the deployment that must be active now.
	IfCurrent string `json:"if_current,omitempty"`
}

// RollbackChecks looks at what could speak against restoring v: what was decided about it,
// and whether it is still whole. rules are the approval rules that hold at the target; bytes
// and schema are the findings about the stored bytes and the target's schema.
//
// What is rejected, revoked, withdrawn, erased or damaged stops a rollback; what is expired,
// stale or was never approved is told, since going back to it may still be the least evil at
// night.
func RollbackChecks(v *Version, to *Deployment, rules []ApprovalRule, bytes, schema Check) []Check {
	ref := v.Reference()
	var out []Check
	add := func(bad bool, c Check) {
		if bad {
			out = append(out, c)
		}
	}
	if w := v.Withdrawn; w != nil {
		out = append(out, failed(CheckWithdrawn, "pedigree rollback "+string(to.Target)+" --to another version", "%s was withdrawn: %s", ref, w.Reason))
	}
	out = append(out, v.approvalStands(rules)...)
	add(slices.Contains(v.Erased, "artifact"), failed(CheckErased, "", "the artifact of %s was erased", ref))
	add(v.Archived, warned(CheckArchived, "%s is archived", ref))
	add(bytes.Name != "", bytes)
	add(schema.Name != "", schema)
	image := to.Image
	if image == "" && v.Record.Runtime != nil {
		image = v.Record.Runtime.Image
	}
	if image == "" {
		out = append(out, warned(CheckImage, "no image is recorded for %s: the platform must know which one runs it", ref))
	} else {
		out = append(out, passed(CheckImage, "%s", image))
	}
	return out
}

// approvalStands looks at what was decided about v since it ran: what was found wrong with it
// stops a rollback until it is approved again, whatever was asked or amended meanwhile.
func (v *Version) approvalStands(rules []ApprovalRule) []Check {
	ref, a := v.Reference(), v.Approval
	if a == nil {
		a = &Approval{State: ApprovalNone}
	}
	switch o := a.Refused; {
	case o != nil && o.Verdict == VerdictReject:
		return []Check{failed(CheckRejected, "", "%s was %s", ref, o.why())}
	case o != nil:
		return []Check{failed(CheckRevoked, "", "the approval of %s was %s", ref, o.why())}
	case a.State == ApprovalExpired:
		return []Check{warned(CheckExpired, "the approval of %s has expired", ref)}
	case a.State == ApprovalOutOfDate:
		return []Check{warned(CheckStale, "the record of %s was amended after it was approved", ref)}
	case a.State == ApprovalApproved:
		return []Check{passed(CheckApproval, "%s is approved", ref)}
	}
	if c, ok := v.approvalCheck(rules); ok && c.State == CheckFailed {
		return []Check{warned(CheckApproval, "%s", c.Message)}
	}
	return nil
}

// SchemaCheck says whether the signature of v fills what t logs; a check without a name
// where t has no schema.
func SchemaCheck(v *Version, t *Target) Check {
	if len(t.LogSchema) == 0 {
		return Check{}
	}
	if problems := SignatureFills(v.Record.Signature, t.LogSchema); len(problems) > 0 {
		return failed(CheckSchema, "pedigree amend "+v.Reference().String()+" with a signature that fits, or another log schema of the target", "%s can't fill the log schema of %s: %s", v.Reference(), t.Name, strings.Join(problems, "; "))
	}
	return passed(CheckSchema, "the signature fills the log schema of %s", t.Name)
}

// Judge gathers what speaks for and against deploying v at a place; gates are the findings
// about the policies' gates and about conditions of the approval that are expressions.
// unknown names an author of v who can't be traced to a person, "" for none. schema is the
// finding about the target's schema. t is nil for an alias that is tied to no target;
// protected says whether the place is.
func Judge(v *Version, t *Target, policies Policies, protected bool, gates []Check, schema Check, unknown string) Decision {
	ref := v.Reference()
	d := Decision{Policies: policies.Refs(), RecordDigest: v.RecordDigest}
	add := func(c Check) { d.Checks = append(d.Checks, c) }
	if w := v.Withdrawn; w != nil {
		add(failed(CheckWithdrawn, "take another version", "%s is withdrawn: %s", ref, w.Reason))
	}
	if v.Archived {
		add(failed(CheckArchived, "pedigree restore "+ref.String(), "%s is archived", ref))
	}
	if slices.Contains(v.Erased, "artifact") {
		add(failed(CheckErased, "take another version", "the artifact of %s was erased", ref))
	}
	environment := ""
	if t != nil {
		environment = t.Name.Environment()
	}
	if c, ok := v.approvalCheck(policies.Rules(environment, protected)); ok {
		add(c)
		if protected && unknown != "" {
			add(failed(CheckAuthor, "pedigree account edit "+unknown+" --acts-for PERSON", "%s was made by the service account %s, and nobody knows for whom: whether its approver is its author can't be told", ref, unknown))
		}
	}
	if schema.Name != "" {
		add(schema)
	}
	d.Checks = append(d.Checks, gates...)
	return d
}

// Difference lists what differs between two records, field by field, and within a field that
// has keys key by key; an artifact is one thing.
func Difference(from, to *Record) []RecordChange {
	a, b := from.flat(), to.flat()
	keys := sortedKeys(a)
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var out []RecordChange
	for _, key := range keys {
		if string(a[key]) != string(b[key]) {
			out = append(out, RecordChange{Field: key, From: a[key], To: b[key]})
		}
	}
	return out
}

// flat is the record by field and key, without the list of files.
func (r *Record) flat() map[string]json.RawMessage {
	short := *r
	short.Artifact.Files = nil
	short.Params, short.Metrics = nil, nil
	out := map[string]json.RawMessage{}
	for field, text := range short.Fields() {
		var keys map[string]json.RawMessage
		if field == "artifact" || json.Unmarshal(text, &keys) != nil {
			out[field] = text
			continue
		}
		for key, value := range keys {
			out[field+"."+key] = value
		}
	}
	for key, value := range r.Params {
		out["params."+key] = marshal(value)
	}
	for _, m := range r.Metrics {
		key := "metrics." + m.Name
		if where := strings.Trim(m.Dataset+"/"+m.Split, "/"); where != "" {
			key += " (" + where + ")"
		}
		out[key] = marshal(m.Value)
	}
	return out
}

// Readiness says whether a protected target could go back now, as the registry found when
// it last looked.
type Readiness struct {
	// Deployment is what would be restored; "" where there is nothing.
	Deployment string `json:"deployment,omitempty"`
	// Version names its version: "fraud/6".
	Version   string    `json:"version,omitempty"`
	Ready     bool      `json:"ready"`
	CheckedAt time.Time `json:"checked_at"`
	Checks    []Check   `json:"checks,omitempty"`
}

// Same says whether two looks at the way back found the same.
func (r *Readiness) Same(other *Readiness) bool {
	return other != nil && r.Deployment == other.Deployment && r.Ready == other.Ready && slices.EqualFunc(r.Checks, other.Checks, func(a, b Check) bool {
		return a.Name == b.Name && a.State == b.State && a.Message == b.Message
	})
}

// Ready decides that a target's way back was found open or shut: an event only where that
// changed, or the first time that it is shut. before is nil where it was never looked at.
func (t *Target) Ready(before *Readiness, now Readiness) []Draft {
	if before == nil && now.Ready || before != nil && before.Ready == now.Ready {
		return nil
	}
	p := Payload{"ready": now.Ready}.with("deployment", now.Deployment)
	if len(now.Checks) > 0 {
		p["checks"] = now.Checks
	}
	return []Draft{{Type: TargetReadiness, Subject: t.ID, Payload: p}}
}
