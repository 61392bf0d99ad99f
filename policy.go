package pedigree

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Policy is the set of rules of a project, or of the whole instance: gates, when approvals
// are needed and from whom, and what is protected. The instance's policy is a floor: both
// it and the project's must be satisfied, so that a project can only tighten.
type Policy struct {
	// Project is whose policy it is; "" is the instance's.
	Project     ProjectName `json:"project,omitempty"`
	Description string      `json:"description,omitempty"`
	Gates       []Gate      `json:"gates,omitempty"`
	// Approvals says when approvals are needed; nil asks for none.
	Approvals *ApprovalRule `json:"approvals,omitempty"`
	Protected Protected     `json:"protected,omitzero"`
	// Override is the role whose members may pass over a failed check by name, with a
	// reason (break-glass); "" allows nobody but an administrator.
	Override Role `json:"override,omitempty"`

	// Seq is the event that applied it: the policy's version. 0 for one that is not
	// applied yet.
	Seq       int64     `json:"seq,omitempty"`
	AppliedAt time.Time `json:"applied_at,omitzero"`
	AppliedBy string    `json:"applied_by,omitempty"`
}

// Gate is one condition of a policy.
type Gate struct {
	// Name is what people call it, unique in the policy: lower-case letters, digits, "_"
	// and "-".
	Name string `json:"name"`
	// Expr is a CEL expression that is true where the version may pass.
	Expr string `json:"expr"`
	// Message says to people what is wrong where it is false.
	Message string `json:"message,omitempty"`
	// Fix is what to do about it: mostly a command. The word REF in it stands for the
	// version that is judged.
	Fix string `json:"fix,omitempty"`
	// Environments are where it holds, as patterns of [path.Match]; none means
	// everywhere.
	Environments []string `json:"environments,omitempty"`
}

// ApprovalRule says how many people must approve, and for how long that holds.
type ApprovalRule struct {
	// Count is the least number of people; 0 is one.
	Count int `json:"count,omitempty"`
	// Role is the role that they must have in the project, beside that of deciding on
	// approvals; "" asks for none.
	Role Role `json:"role,omitempty"`
	// ValidFor is how long an approval holds; 0 is for ever.
	ValidFor Duration `json:"valid_for,omitempty"`
	// Environments are where approvals are needed, as patterns of [path.Match]; none
	// means everywhere. Protected targets and aliases need them in any case.
	Environments []string `json:"environments,omitempty"`
	// AllowAuthor lets authors of a version approve it. It is shown wherever it was used.
	AllowAuthor bool `json:"allow_author,omitempty"`
}

// Need is the least number of people who must approve.
func (r *ApprovalRule) Need() int { return max(r.Count, 1) }

// Protected says what may change only by a deployment or through the gates.
type Protected struct {
	// Aliases are names of aliases, as patterns of [path.Match].
	Aliases []string `json:"aliases,omitempty"`
	// Targets are names of targets, as patterns: "prod/*".
	Targets []string `json:"targets,omitempty"`
}

// Limits of a policy.
const (
	MaxGates = 100
	MaxExpr  = 4096 // a gate's expression, bytes
)

var gatePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Normalize checks p but for the expressions, which package gate compiles. It returns
// [CodeInvalid].
func (p *Policy) Normalize() error {
	c := &checker{}
	c.text("description", p.Description, MaxText)
	c.check(len(p.Gates) <= MaxGates, "a policy has at most %d gates", MaxGates)
	seen := map[string]bool{}
	for i := range p.Gates {
		g := &p.Gates[i]
		c.check(gatePattern.MatchString(g.Name), "gate name %q: use 1 to 63 lower-case letters, digits, '_' and '-'", clip(g.Name))
		c.check(!slices.Contains(builtinChecks, g.Name), "gate name %q is that of a check which the registry makes itself", g.Name)
		c.check(!seen[g.Name], "there are two gates %q", g.Name)
		seen[g.Name] = true
		c.check(strings.TrimSpace(g.Expr) != "", "gate %q has no expression", g.Name)
		c.check(len(g.Expr) <= MaxExpr, "gate %q: the expression has %d bytes, the limit is %d", g.Name, len(g.Expr), MaxExpr)
		c.text("gate expression", g.Expr, MaxExpr)
		c.texts("gate "+g.Name, MaxTagValue, g.Message, g.Fix)
		c.patterns("gate "+g.Name+" environments", g.Environments)
	}
	if r := p.Approvals; r != nil {
		c.check(r.Count >= 0 && r.Count <= 100, "approvals: count %d: want 1 to 100", r.Count)
		c.check(r.ValidFor >= 0, "approvals: valid_for is negative")
		c.role(r.Role)
		c.patterns("approvals environments", r.Environments)
	}
	c.role(p.Override)
	c.patterns("protected aliases", p.Protected.Aliases)
	c.patterns("protected targets", p.Protected.Targets)
	return c.failed
}

func (c *checker) role(r Role) {
	if r != "" {
		_, err := ParseRole(string(r))
		c.err(err)
	}
}

func (c *checker) patterns(what string, patterns []string) {
	c.check(len(patterns) <= 1000, "%s: at most 1000 patterns", what)
	for _, p := range patterns {
		c.text(what, p, MaxName)
		_, err := path.Match(p, "")
		c.check(err == nil && p != "", "%s: %q is not a pattern", what, clip(p))
	}
}

// Apply decides that p is the policy of a scope from now on: subject is [PolicySubject] of
// it, before what holds now, nil for none. Without a change it returns no event.
func (p *Policy) Apply(subject string, before *Policy) ([]Draft, error) {
	if err := p.Normalize(); err != nil {
		return nil, err
	}
	next := p.payload()
	if before != nil && string(marshal(before.payload())) == string(marshal(next)) {
		return nil, nil
	}
	return []Draft{{Type: PolicyApplied, Subject: subject, Payload: next}}, nil
}

// Remove decides that a scope has no policy any more.
func (p *Policy) Remove(subject, reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	return []Draft{{Type: PolicyRemoved, Subject: subject, Payload: Payload{}.with("reason", reason)}}, nil
}

func (p *Policy) payload() Payload {
	out := Payload{}.with("description", p.Description).with("override", string(p.Override))
	if len(p.Gates) > 0 {
		out["gates"] = p.Gates
	}
	if p.Approvals != nil {
		out["approvals"] = p.Approvals
	}
	if len(p.Protected.Aliases)+len(p.Protected.Targets) > 0 {
		out["protected"] = p.Protected
	}
	return out
}

// FoldPolicy fills p from the event that applied it. It returns [CodeCorrupt].
func FoldPolicy(p *Policy, e *Event) error {
	fields := map[string]json.RawMessage{}
	for _, f := range e.Fields {
		if !f.Erased() {
			fields[f.Name] = f.Value
		}
	}
	if err := json.Unmarshal(marshal(fields), p); err != nil {
		return Errorf(CodeCorrupt, "event %d: policy: %w", e.Seq, err)
	}
	p.Seq, p.AppliedAt, p.AppliedBy = e.Seq, e.Time, e.Actor
	return nil
}

// InstanceScope is the scope of the instance's policy and of what else belongs to no
// project.
const InstanceScope = "instance"

// PolicySubject is the subject of a policy's events: of the project with this id, or of
// the instance for "".
func PolicySubject(projectID string) string {
	if projectID == "" {
		return "policy:" + InstanceScope
	}
	return "policy:" + projectID
}

// Scope names whose policy it is, for people: the project's name, or "instance".
func (p *Policy) Scope() string {
	if p.Project == "" {
		return InstanceScope
	}
	return string(p.Project)
}

// In returns the gates that hold in an environment; "" asks for those of every
// environment alone.
func (p *Policy) In(environment string) []Gate {
	var out []Gate
	for _, g := range p.Gates {
		if len(g.Environments) == 0 || environment != "" && matches(g.Environments, environment) {
			out = append(out, g)
		}
	}
	return out
}

// Policies are those that hold for a project: the instance's first, then its own; each
// where there is one.
type Policies []Policy

// Protects says whether a target is protected, by itself or by a policy.
func (ps Policies) Protects(t *Target) bool {
	return t.Protected || slices.ContainsFunc(ps, func(p Policy) bool { return matches(p.Protected.Targets, string(t.Name)) })
}

// ProtectsAlias says whether an alias is protected.
func (ps Policies) ProtectsAlias(a Alias) bool {
	return slices.ContainsFunc(ps, func(p Policy) bool { return matches(p.Protected.Aliases, string(a)) })
}

// ProtectsStage says whether a stage of MLflow's by which versions are handed out is
// protected: as an alias of its name, however that and the pattern are spelled.
func (ps Policies) ProtectsStage(stage string) bool {
	stage = strings.ToLower(stage)
	return slices.ContainsFunc(ps, func(p Policy) bool {
		return slices.ContainsFunc(p.Protected.Aliases, func(pattern string) bool { return matches([]string{strings.ToLower(pattern)}, stage) })
	})
}

// Rules are the approval rules that hold in an environment; protected says that the place
// needs them whatever the environment is.
func (ps Policies) Rules(environment string, protected bool) []ApprovalRule {
	var out []ApprovalRule
	for _, p := range ps {
		if r := p.Approvals; r != nil && (protected || len(r.Environments) == 0 || matches(r.Environments, environment)) {
			out = append(out, *r)
		}
	}
	return out
}

// AllRules are the approval rules of every environment.
func (ps Policies) AllRules() []ApprovalRule { return ps.Rules("", true) }

// Satisfied says whether an approval is decided, or none is needed.
func (ps Policies) Satisfied(a *Approval) bool {
	return len(ps.AllRules()) == 0 || a != nil && a.State == ApprovalApproved
}

// Refs names the policies by scope and version, as decisions record them.
func (ps Policies) Refs() []PolicyRef {
	var out []PolicyRef
	for _, p := range ps {
		out = append(out, PolicyRef{Scope: p.Scope(), Seq: p.Seq})
	}
	return out
}

// PolicyRef names one version of a policy.
type PolicyRef struct {
	// Scope is a project's name, or "instance".
	Scope string `json:"scope"`
	// Seq is the event that applied it.
	Seq int64 `json:"seq"`
}

func matches(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, s)
		return err == nil && ok
	})
}
