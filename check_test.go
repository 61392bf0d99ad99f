package pedigree

import (
	"strings"
	"testing"
)

// testDecision has a check of every state, two of them failed.
func testDecision() Decision {
	return Decision{Checks: []Check{
		passed("approval", "2 of 2"), warned("image", "none"),
		failed("auc", "train longer", "AUC fell"), failed("instance/fairness", "", "no report for %d%%", 5),
	}}
}

func TestOverride(t *testing.T) {
	for _, tt := range []struct {
		name      string
		overrides []Override
		want      ErrorCode
		says      string
		left      int
	}{
		{"none", nil, "", "", 2},
		{"one", []Override{{"auc", "known"}}, "", "", 1},
		{"both", []Override{{"auc", "known"}, {"instance/fairness", "later"}}, "", "", 0},
		{"one twice", []Override{{"auc", "known"}, {"auc", "really"}}, "", "", 1},
		{"without a reason", []Override{{"auc", " \t"}}, CodeInvalid, "needs a reason", 2},
		{"NUL", []Override{{"auc", "a\x00"}}, CodeInvalid, "reason", 2},
		{"an unknown name", []Override{{"fairness", "x"}}, CodeInvalid, "the failed checks are auc, instance/fairness", 2},
		{"no name", []Override{{"", "x"}}, CodeInvalid, "no failed check", 2},
		{"one that passed", []Override{{"approval", "x"}}, CodeInvalid, "no failed check", 2},
		{"one that only warns", []Override{{"image", "x"}}, CodeInvalid, "no failed check", 2},
	} {
		d := testDecision()
		err := d.Override(tt.overrides)
		if checkCode(t, tt.name, err, tt.want); err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v", tt.name, err)
		}
		checkEqual(t, tt.name, len(d.Failed()), tt.left)
		checkEqual(t, tt.name, len(d.Overridden()), 2-tt.left)
	}
	d := testDecision()
	checkCode(t, "override", d.Override([]Override{{"auc", "known"}}), "")
	checkEqual(t, "reason", d.Overridden()[0].Reason, "known")
	checkEqual(t, "what was wrong stays", d.Overridden()[0].Message, "AUC fell")
	d = Decision{Checks: []Check{passed("auc", "fine")}}
	if err := d.Override([]Override{{"auc", "known"}}); err == nil || !strings.Contains(err.Error(), "nothing failed") {
		t.Errorf("nothing failed: got %v", err)
	}
}

// TestOverrideAllOrNothing: overrides that are refused leave the decision as it was.
func TestOverrideAllOrNothing(t *testing.T) {
	d := testDecision()
	checkCode(t, "the second is wrong", d.Override([]Override{{"auc", "known"}, {"nothing", "x"}}), CodeInvalid)
	checkEqual(t, "decision", d, testDecision())
}

func TestDecisionErr(t *testing.T) {
	d := testDecision()
	err := d.Err("deploying")
	checkCode(t, "failed", err, CodeRefused)
	checkEqual(t, "failed", err.Error(), "deploying is refused: auc: AUC fell; instance/fairness: no report for 5%; train longer")
	checkCode(t, "override", d.Override([]Override{{"auc", "known"}}), "")
	checkEqual(t, "one without a fix", d.Err("deploying").Error(), "deploying is refused: instance/fairness: no report for 5%")
	checkCode(t, "override", d.Override([]Override{{"instance/fairness", "known"}}), "")
	checkCode(t, "none left", d.Err("deploying"), "")
	checkCode(t, "no checks", (&Decision{}).Err("deploying"), "")
}

// TestDecisionErrFixes: a refusal names what mends each check that failed, once.
func TestDecisionErrFixes(t *testing.T) {
	d := Decision{Checks: []Check{failed("approval", "ask", "none"), failed("auc", "train longer", "AUC fell"), failed("f1", "train longer", "F1 fell")}}
	checkEqual(t, "error", d.Err("deploying").Error(), "deploying is refused: approval: none; auc: AUC fell; f1: F1 fell; ask; train longer")
}

// TestCheckTexts: what stands in a message is no format.
func TestCheckTexts(t *testing.T) {
	d := Decision{Checks: []Check{failed("x", "mend 100%d", "100%% of %s", "50%s")}}
	checkEqual(t, "error", d.Err("a %s thing").Error(), "a %s thing is refused: x: 100% of 50%s; mend 100%d")
}
