package pedigree

import (
	"encoding/json"
	"slices"
	"strings"
)

// CheckState is what came out of a check.
type CheckState string

// The states of a check.
const (
	CheckPassed     CheckState = "passed"
	CheckWarned     CheckState = "warned"     // to be known; it stops nothing
	CheckFailed     CheckState = "failed"     // it stops, unless it is overridden by name
	CheckOverridden CheckState = "overridden" // it failed, and somebody passed over it
)

// The checks that the registry makes itself; gates can't have these names.
const (
	CheckApproval  = "approval"  // the approval rule of the policies
	CheckCondition = "condition" // a condition of an approval that is an expression
	CheckAuthor    = "author"    // who made it is known, on protected targets
	CheckWithdrawn = "withdrawn"
	CheckRejected  = "rejected"
	CheckRevoked   = "revoked"
	CheckExpired   = "expired"
	CheckStale     = "stale"
	CheckErased    = "erased"
	CheckArchived  = "archived"
	CheckBytes     = "bytes"  // the stored bytes are there and whole
	CheckImage     = "image"  // the image of the deployment is named
	CheckSchema    = "schema" // the signature fills the target's schema
)

var builtinChecks = []string{
	CheckApproval, CheckCondition, CheckAuthor, CheckWithdrawn, CheckRejected, CheckRevoked, CheckExpired, CheckStale,
	CheckErased, CheckArchived, CheckBytes, CheckImage, CheckSchema,
}

// Check is one thing that was looked at before a decision, and what came out.
type Check struct {
	// Name is what an override names: that of a gate ("auc", of the instance's policy
	// "instance/auc"), or one of the checks that the registry makes itself.
	Name  string     `json:"name"`
	State CheckState `json:"state"`
	// Message says what is wrong, or what is right.
	Message string `json:"message,omitempty"`
	// Fix is what to do about it: mostly a command.
	Fix string `json:"fix,omitempty"`
	// Expr is the expression of a gate, Values what it read, in the order of reading.
	Expr   string     `json:"expr,omitempty"`
	Values []Observed `json:"values,omitempty"`
	// Reason is why somebody passed over it.
	Reason string `json:"reason,omitempty"`
}

// Observed is one value that a gate read.
type Observed struct {
	// Path is where, as the expression has it: "metrics.auc".
	Path string `json:"path"`
	// Value is what was there; null where nothing was.
	Value json.RawMessage `json:"value"`
}

// Override passes over one failed check.
type Override struct {
	// Name is that of the check.
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Decision is what was looked at before a deployment, a move of an alias or a rollback. It
// is part of the event, so that it can be read later under which rules it was made.
type Decision struct {
	// Policies are the versions of the policies that were asked.
	Policies []PolicyRef `json:"policies,omitempty"`
	// RecordDigest is that of the version as it was judged.
	RecordDigest Digest `json:"record_digest,omitempty"`
	// Replaces is the version that it was compared with: "fraud/6".
	Replaces string  `json:"replaces,omitempty"`
	Checks   []Check `json:"checks,omitempty"`
}

// Failed are the checks that stop it.
func (d *Decision) Failed() []Check { return d.in(CheckFailed) }

// Overridden are the checks that somebody passed over.
func (d *Decision) Overridden() []Check { return d.in(CheckOverridden) }

func (d *Decision) in(state CheckState) []Check {
	var out []Check
	for _, c := range d.Checks {
		if c.State == state {
			out = append(out, c)
		}
	}
	return out
}

// Override passes over failed checks. It returns [CodeInvalid] for a reason that is
// missing and for a name of no failed check: an override must say what it is for. d is then
// as it was.
func (d *Decision) Override(overrides []Override) error {
	checks := slices.Clone(d.Checks)
	for _, o := range overrides {
		if strings.TrimSpace(o.Reason) == "" {
			return Errorf(CodeInvalid, "the override of %q needs a reason", clip(o.Name)).WithFix("--reason TEXT")
		}
		if err := checkText("reason", o.Reason, MaxText); err != nil {
			return err
		}
		i := slices.IndexFunc(checks, func(c Check) bool {
			return c.Name == o.Name && (c.State == CheckFailed || c.State == CheckOverridden)
		})
		if i < 0 {
			var names []string
			for _, c := range d.Failed() {
				names = append(names, c.Name)
			}
			e := Errorf(CodeInvalid, "there is no failed check %q to override", clip(o.Name))
			if len(names) > 0 {
				return e.WithFix("the failed checks are %s", strings.Join(names, ", "))
			}
			return e.WithFix("leave the override out: nothing failed")
		}
		checks[i].State, checks[i].Reason = CheckOverridden, o.Reason
	}
	d.Checks = checks
	return nil
}

// Err is nil where nothing stops the decision, and otherwise [CodeRefused] with every
// failed check and what mends each; doing says what was tried.
func (d *Decision) Err(doing string) error {
	failed := d.Failed()
	if len(failed) == 0 {
		return nil
	}
	var texts, fixes []string
	for _, c := range failed {
		texts = append(texts, c.Name+": "+c.Message)
		if c.Fix != "" && !slices.Contains(fixes, c.Fix) {
			fixes = append(fixes, c.Fix)
		}
	}
	e := Errorf(CodeRefused, "%s is refused: %s", doing, strings.Join(texts, "; "))
	if len(fixes) > 0 {
		e = e.WithFix("%s", strings.Join(fixes, "; "))
	}
	return e
}

// passed, warned and failed make checks.
func passed(name, format string, args ...any) Check {
	return Check{Name: name, State: CheckPassed, Message: Errorf(CodeInvalid, format, args...).Message}
}

func warned(name, format string, args ...any) Check {
	return Check{Name: name, State: CheckWarned, Message: Errorf(CodeInvalid, format, args...).Message}
}

func failed(name, fix, format string, args ...any) Check {
	return Check{Name: name, State: CheckFailed, Fix: fix, Message: Errorf(CodeInvalid, format, args...).Message}
}
