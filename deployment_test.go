package pedigree

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testPlace is prod/fraud with version 6 active, of dep_6.
func testPlace(confirm Confirm, alias Alias) Place {
	seq := int64(5)
	return Place{
		Target: Target{ID: "tgt_1", Project: DefaultProject, Name: "prod/fraud", TargetSpec: TargetSpec{Kind: TargetOnline, Confirm: confirm, Alias: alias}},
		Standing: []Deployment{
			{ID: "dep_6", Project: DefaultProject, Target: "prod/fraud", TargetID: "tgt_1", Model: "fraud", ModelID: "mdl_fraud", Version: 6, Role: RolePrimary, State: DeploymentActive, Seq: 4, ActiveSeq: &seq},
		},
	}
}

// testDeployment is a deployment of version 7 in a state.
func testDeployment(role DeploymentRole, state DeploymentState) *Deployment {
	return &Deployment{ID: "dep_7", Project: DefaultProject, Target: "prod/fraud", TargetID: "tgt_1", Model: "fraud", ModelID: "mdl_fraud", Version: 7, Role: role, State: state}
}

func types(drafts []Draft) string {
	var out []string
	for _, d := range drafts {
		out = append(out, string(d.Type))
	}
	return strings.Join(out, " ")
}

func TestDeployNormalize(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    Deploy
		want ErrorCode
	}{
		{"bare", Deploy{}, ""},
		{"whole", Deploy{Role: RoleCanary, Image: "example.com/serve:1", Config: "c", Note: "n", RollbackNote: "r"}, ""},
		{"shadow", Deploy{Role: RoleShadow}, ""},
		{"another role", Deploy{Role: "main"}, CodeInvalid},
		{"no image", Deploy{Image: "a b"}, CodeInvalid},
		{"NUL in the configuration", Deploy{Config: "a\x00"}, CodeInvalid},
		{"NUL in the note", Deploy{Note: "a\x00"}, CodeInvalid},
		{"NUL in the rollback note", Deploy{RollbackNote: "a\x00"}, CodeInvalid},
	} {
		checkCode(t, tt.name, tt.d.Normalize(), tt.want)
	}
	var d Deploy
	checkCode(t, "default", d.Normalize(), "")
	checkEqual(t, "default", d.Role, RolePrimary)
}

// TestDeploy: what a deployment appends, by what makes it active, its role and the tied
// alias.
func TestDeploy(t *testing.T) {
	v := testVersion(t)
	for _, tt := range []struct {
		name     string
		confirm  Confirm
		alias    Alias
		role     DeploymentRole
		restores string
		want     string
		endsAs   DeploymentState
	}{
		{"at once", ConfirmNone, "", "", "", "deployment.opened deployment.activated", DeploymentSuperseded},
		{"at once, where nothing says how", "", "", "", "", "deployment.opened deployment.activated", DeploymentSuperseded},
		{"at once, with an alias", ConfirmNone, "production", RolePrimary, "", "deployment.opened deployment.activated alias.moved", DeploymentSuperseded},
		{"a canary moves no alias", ConfirmNone, "production", RoleCanary, "", "deployment.opened deployment.activated", DeploymentSuperseded},
		{"nor does a shadow", ConfirmNone, "production", RoleShadow, "", "deployment.opened deployment.activated", DeploymentSuperseded},
		{"by report", ConfirmReport, "production", "", "", "deployment.opened", ""},
		{"by observation", ConfirmObservation, "production", RoleCanary, "", "deployment.opened", ""},
		{"a rollback", ConfirmNone, "production", "", "dep_5", "deployment.opened deployment.activated alias.moved", DeploymentRolledBack},
	} {
		p := testPlace(tt.confirm, tt.alias)
		drafts, err := p.Deploy("dep_7", &v, Deploy{Role: tt.role, Image: "example.com/serve:1", Note: "n"}, Decision{}, tt.restores)
		checkCode(t, tt.name, err, "")
		checkEqual(t, tt.name, types(drafts), tt.want)
		for _, d := range drafts {
			switch d.Type {
			case DeploymentOpened:
				checkEqual(t, tt.name, d.Refs, []string{"tgt_1", "mdl_fraud/7"})
				checkEqual(t, tt.name, d.Payload["digest"], string(v.Record.Artifact.Digest))
			case DeploymentActivated:
				checkEqual(t, tt.name, d.Subject, "dep_7")
				checkEqual(t, tt.name, d.Payload["ends_as"], tt.endsAs)
				checkEqual(t, tt.name, d.Payload["how"], "at_once")
			case AliasMoved:
				checkEqual(t, tt.name, d.Subject, "mdl_fraud")
				checkEqual(t, tt.name, d.Payload, Payload{"alias": tt.alias, "version": VersionNumber(7)})
			}
		}
		var s story
		s.add("ann", drafts...)
		var d Deployment
		checkCode(t, tt.name, FoldDeployment(&d, s.events), "")
		state := DeploymentActive
		if tt.endsAs == "" {
			state = DeploymentPending
		}
		if d.State != state || d.Image != "example.com/serve:1" || d.Note != "n" || d.Restores != tt.restores || d.Version != 7 || d.OpenedBy != "ann" {
			t.Errorf("%s: folded %+v", tt.name, d)
		}
	}
}

func TestDeployRefused(t *testing.T) {
	v := testVersion(t)
	p := testPlace(ConfirmNone, "")
	_, err := p.Deploy("dep_7", &v, Deploy{Role: "main"}, Decision{}, "")
	checkCode(t, "invalid", err, CodeInvalid)
	d := testDecision()
	_, err = p.Deploy("dep_7", &v, Deploy{}, d, "")
	checkCode(t, "failed checks", err, CodeRefused)
	if !strings.HasPrefix(err.Error(), "deploying fraud/7 to prod/fraud is refused: auc: AUC fell") {
		t.Errorf("got %v", err)
	}
	_, err = p.Deploy("dep_7", &v, Deploy{}, d, "dep_5")
	if !strings.HasPrefix(err.Error(), "rolling prod/fraud back to fraud/7 is refused:") {
		t.Errorf("got %v", err)
	}
	checkCode(t, "override", d.Override([]Override{{"auc", "known"}, {"instance/fairness", "later"}}), "")
	drafts, err := p.Deploy("dep_7", &v, Deploy{}, d, "")
	checkCode(t, "overridden", err, "")
	checkEqual(t, "overridden", types(drafts), "deployment.opened gate.overridden gate.overridden deployment.activated")
	checkEqual(t, "loud in the log", drafts[1].Payload, Payload{"check": "auc", "message": "AUC fell", "reason": "known"})
}

// TestDeploymentSteps tries every step from every state.
func TestDeploymentSteps(t *testing.T) {
	none := "(nothing)"
	for _, tt := range []struct {
		state                       DeploymentState
		activate, fail, end, marked string
	}{
		{DeploymentPending, "deployment.activated alias.moved", "deployment.failed", "deployment.ended", "deployment.marked"},
		{DeploymentActive, none, "refused", "deployment.ended", "deployment.marked"},
		{DeploymentFailing, "refused", none, none, "deployment.marked"},
		{DeploymentSuperseded, "refused", "refused", none, "deployment.marked"},
		{DeploymentRolledBack, "refused", "refused", none, "deployment.marked"},
		{DeploymentOver, "refused", "refused", none, "deployment.marked"},
	} {
		check := func(step, want string, drafts []Draft, err error) {
			t.Helper()
			got := types(drafts)
			if err != nil {
				got = string(CodeOf(err))
			} else if got == "" {
				got = none
			}
			checkEqual(t, string(tt.state)+": "+step, got, want)
			for _, d := range drafts {
				if d.Type != AliasMoved {
					checkEqual(t, step, d.Refs, []string{"tgt_1", "mdl_fraud/7"})
				}
			}
		}
		p, d := testPlace(ConfirmReport, "production"), testDeployment(RolePrimary, tt.state)
		d.EndReason = "why"
		drafts, err := p.Activate(d, &Version{}, "n")
		check("activate", tt.activate, drafts, err)
		drafts, err = d.Fail("why", "https://example.com/INC-1")
		check("fail", tt.fail, drafts, err)
		drafts, err = d.End("why")
		check("end", tt.end, drafts, err)
		drafts, err = d.Mark(true, "why")
		check("mark", tt.marked, drafts, err)
		checkEqual(t, string(tt.state), d.Live(), tt.state == DeploymentPending || tt.state == DeploymentActive)
	}
	p, d := testPlace(ConfirmReport, ""), testDeployment(RolePrimary, DeploymentRolledBack)
	_, err := p.Activate(d, &Version{}, "")
	if !strings.Contains(err.Error(), "is rolled back and can't become active") {
		t.Errorf("a state is said in words: got %v", err)
	}
	d = testDeployment(RolePrimary, DeploymentPending)
	_, err = p.Activate(d, &Version{}, "a\x00")
	checkCode(t, "activate with NUL", err, CodeInvalid)
	_, err = d.Fail("a\x00", "")
	checkCode(t, "fail with NUL", err, CodeInvalid)
	_, err = d.Fail("", "")
	checkCode(t, "fail without a reason", err, CodeInvalid)
	over := testDeployment(RolePrimary, DeploymentFailing)
	over.EndReason = "no memory"
	for _, same := range []string{"", "no memory"} {
		drafts, err := over.Fail(same, "")
		checkDrafts(t, "failed already", drafts, err)
	}
	_, err = over.Fail("no disk", "")
	checkCode(t, "failed already for another reason", err, CodeRefused)
	_, err = d.End("a\x00")
	checkCode(t, "end with NUL", err, CodeInvalid)
	_, err = d.Mark(false, "a\x00")
	checkCode(t, "mark with NUL", err, CodeInvalid)
	_, err = d.Mark(true, " ")
	checkCode(t, "bad without a reason", err, CodeInvalid)
	drafts, err := d.Mark(false, "")
	checkDrafts(t, "good already", drafts, err)
	d.Bad = true
	drafts, err = d.Mark(true, "again")
	checkDrafts(t, "bad already", drafts, err)
	drafts, err = d.Mark(false, "")
	checkEqual(t, "good again", types(drafts), "deployment.marked")
	checkCode(t, "good again", err, "")
}

// TestActivateBarred: what was said of a version since it was to be deployed stops it from
// becoming active, by report and by observation; what was said before was judged then.
func TestActivateBarred(t *testing.T) {
	const opened = 7 // the event
	refused := func(seq int64, verdict Verdict) *Version {
		return &Version{Approval: &Approval{Refused: &Opinion{Seq: seq, Verdict: verdict, Comment: "it leaks"}}}
	}
	for _, tt := range []struct {
		name string
		v    *Version
		says string // "" where it becomes active
	}{
		{"nothing was said", &Version{}, ""},
		{"asked", &Version{Approval: &Approval{State: ApprovalAsked}}, ""},
		{"withdrawn since", &Version{Withdrawn: &Withdrawal{Seq: 8, Reason: "it leaks"}}, "fraud/7 was withdrawn: it leaks"},
		{"withdrawn before, and passed over", &Version{Withdrawn: &Withdrawal{Seq: 6, Reason: "it leaks"}}, ""},
		{"rejected since", refused(8, VerdictReject), "fraud/7 was rejected: it leaks"},
		{"rejected before, and passed over", refused(6, VerdictReject), ""},
		{"revoked since", refused(8, VerdictRevoke), "fraud/7 has lost its approval: it was revoked: it leaks"},
		{"revoked before, and passed over", refused(6, VerdictRevoke), ""},
	} {
		p, d := testPlace(ConfirmObservation, ""), testDeployment(RolePrimary, DeploymentPending)
		d.Seq, d.Confirm = opened, ConfirmObservation
		p.Standing = append(p.Standing, *d)
		drafts, err := p.Activate(d, tt.v, "")
		seen := types(p.Observe(nil, Instance{Instance: "pod-1", ModelID: "mdl_fraud", Version: 7}, tt.v))
		if tt.says == "" {
			checkCode(t, tt.name, err, "")
			checkEqual(t, tt.name, types(drafts), "deployment.activated")
			checkEqual(t, tt.name+", seen", seen, "instance.changed deployment.activated")
			continue
		}
		checkCode(t, tt.name, err, CodeRefused)
		if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "pedigree deployment report dep_7 --failed") {
			t.Errorf("%s: got %v", tt.name, err)
		}
		checkEqual(t, tt.name+", seen", seen, "instance.changed")
		drafts, err = d.Fail("it leaks", "")
		checkCode(t, tt.name+", the way out", err, "")
		checkEqual(t, tt.name+", the way out", types(drafts), "deployment.failed")
	}
	p := testPlace(ConfirmReport, "")
	drafts, err := p.Activate(testDeployment(RolePrimary, DeploymentActive), nil, "")
	checkDrafts(t, "active already, whatever was said", drafts, err)
}

// TestActivateStale: what was approved when it was to be deployed, and amended since, becomes
// active only once it is approved again. Time alone stops nothing, nor does an amendment where
// the decision rested on no approval.
func TestActivateStale(t *testing.T) {
	one, two := rules(ApprovalRule{}), rules(ApprovalRule{Count: 2})
	short := rules(ApprovalRule{ValidFor: Duration(time.Hour)})
	approval := func(state CheckState) []Check {
		return []Check{{Name: "auc", State: CheckPassed}, {Name: CheckApproval, State: state}}
	}
	const says = "fraud/7 was amended, and not approved again"
	for _, tt := range []struct {
		name          string
		policies      Policies
		before, after []string
		checks        []Check
		restores      string
		says          string // "" where it becomes active
	}{
		{"approved", one, []string{"ann approves"}, nil, approval(CheckPassed), "", ""},
		{"amended before, and approved again", one, []string{"ann approves", "amended metrics", "ann approves"}, nil, approval(CheckPassed), "", ""},
		{"amended since", one, []string{"ann approves"}, []string{"amended metrics"}, approval(CheckPassed), "", says},
		{"amended in what nobody judged", one, []string{"ann approves"}, []string{"amended owner"}, approval(CheckPassed), "", ""},
		{"amended since, and asked again", one, []string{"ann approves"}, []string{"amended metrics", "asked again"}, approval(CheckPassed), "", says},
		{"amended since, and approved again", one, []string{"ann approves"}, []string{"amended metrics", "ann approves"}, approval(CheckPassed), "", ""},
		{"asked and approved again", one, []string{"ann approves"}, []string{"amended metrics", "asked again", "bob approves"}, approval(CheckPassed), "", ""},
		{"approved again by too few", two, []string{"ann approves", "bob approves"}, []string{"amended metrics", "ann approves"}, approval(CheckPassed), "", says},
		{"approved again by as many", two, []string{"ann approves", "bob approves"}, []string{"amended metrics", "ann approves", "bob approves"}, approval(CheckPassed), "", ""},
		{"approved again, and amended again", one, []string{"ann approves"}, []string{"amended metrics", "ann approves", "amended metrics"}, approval(CheckPassed), "", says},
		{"expired since", short, []string{"ann approves"}, []string{"a day passes"}, approval(CheckPassed), "", ""},
		{"amended since, approved again, and expired", short, []string{"ann approves"}, []string{"amended metrics", "ann approves", "a day passes"}, approval(CheckPassed), "", ""},
		{"nobody had to approve", nil, nil, []string{"amended metrics"}, nil, "", ""},
		{"approved where nobody had to", nil, []string{"ann approves"}, []string{"amended metrics"}, nil, "", ""},
		{"passed over", one, nil, []string{"amended metrics"}, approval(CheckOverridden), "", ""},
		{"a rollback", one, []string{"ann approves"}, []string{"amended metrics"}, approval(CheckPassed), "dep_3", ""},
		{"rejected too", one, []string{"ann approves"}, []string{"amended metrics", "bob rejects"}, approval(CheckPassed), "", "fraud/7 was rejected: no"},
	} {
		r := reviewed{policies: tt.policies}
		for _, step := range tt.before {
			r.step(t, step)
		}
		p, d := testPlace(ConfirmObservation, ""), testDeployment(RolePrimary, DeploymentPending)
		opened := r.add("dep", Draft{Type: DeploymentOpened, Subject: d.ID})
		d.Seq, d.Confirm, d.Decision.Checks, d.Restores = opened.Seq, ConfirmObservation, tt.checks, tt.restores
		p.Standing = append(p.Standing, *d)
		for _, step := range tt.after {
			r.step(t, step)
		}
		v := r.version(t)
		drafts, err := p.Activate(d, v, "")
		seen := types(p.Observe(nil, Instance{Instance: "pod-1", ModelID: "mdl_fraud", Version: 7}, v))
		if tt.says == "" {
			checkCode(t, tt.name, err, "")
			checkEqual(t, tt.name, types(drafts), "deployment.activated")
			checkEqual(t, tt.name+", seen", seen, "instance.changed deployment.activated")
			continue
		}
		checkCode(t, tt.name, err, CodeRefused)
		checkEqual(t, tt.name+", seen", seen, "instance.changed")
		if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

// TestActivateRollback: what a confirmed rollback takes the place of was rolled back.
func TestActivateRollback(t *testing.T) {
	p, d := testPlace(ConfirmReport, ""), testDeployment(RolePrimary, DeploymentPending)
	d.Restores = "dep_5"
	drafts, err := p.Activate(d, &Version{}, "")
	checkCode(t, "activate", err, "")
	checkEqual(t, "ends as", drafts[0].Payload["ends_as"], DeploymentRolledBack)
}

func TestPlace(t *testing.T) {
	p := Place{Standing: []Deployment{
		{ID: "canary", Role: RoleCanary, State: DeploymentActive},
		{ID: "waits", Role: RolePrimary, State: DeploymentPending},
		{ID: "shadow", Role: RoleShadow, State: DeploymentPending},
		{ID: "runs", Role: RolePrimary, State: DeploymentActive},
	}}
	checkEqual(t, "current", p.Current().ID, "runs")
	checkEqual(t, "pending", p.Pending().ID, "waits")
	p.Standing = p.Standing[2:]
	p.Standing = p.Standing[:1]
	if p.Current() != nil || p.Pending() != nil {
		t.Error("a shadow is taken for the primary")
	}
	all := []Deployment{*testDeployment(RolePrimary, DeploymentSuperseded), *testDeployment(RolePrimary, DeploymentActive), *testDeployment(RoleCanary, DeploymentPending), *testDeployment(RolePrimary, DeploymentFailing)}
	checkEqual(t, "standing", len(standing(all)), 2)
	checkEqual(t, "the list stays", len(all), 4)
}

// TestFoldDeployment reads a deployment through its life.
func TestFoldDeployment(t *testing.T) {
	v, p := testVersion(t), testPlace(ConfirmReport, "")
	var s story
	decision := Decision{Replaces: "fraud/6", Checks: []Check{passed("auc", "fine")}}
	drafts, err := p.Deploy("dep_7", &v, Deploy{Config: "c", Incident: "https://example.com/INC-1"}, decision, "")
	s.mustAdd(t, "ann", drafts, err)
	var d Deployment
	fold := func() {
		t.Helper()
		d = Deployment{}
		checkCode(t, "fold", FoldDeployment(&d, s.events), "")
	}
	fold()
	checkEqual(t, "decision", d.Decision, decision)
	checkEqual(t, "confirm", d.Confirm, ConfirmReport)
	opened := len(s.events)

	drafts, err = d.Fail("no memory", "https://example.com/INC-2")
	s.mustAdd(t, "bob", drafts, err)
	fold()
	if d.State != DeploymentFailing || d.EndedBy != "bob" || d.EndReason != "no memory" || d.Incident != "https://example.com/INC-2" || *d.EndSeq != 1 || d.ActiveSeq != nil {
		t.Errorf("failed: %+v", d)
	}

	s.events = s.events[:opened]
	fold()
	drafts, err = p.Activate(&d, &Version{}, "n")
	s.mustAdd(t, "bob", drafts, err)
	fold()
	if d.State != DeploymentActive || d.ActiveBy != "bob" || *d.ActiveSeq != 1 || d.EndSeq != nil || d.Incident != "https://example.com/INC-1" {
		t.Errorf("active: %+v", d)
	}
	drafts, err = d.Mark(true, "slow")
	s.mustAdd(t, "eve", drafts, err)
	fold()
	if d.State != DeploymentActive || !d.Bad || d.BadReason != "slow" {
		t.Errorf("bad: %+v", d)
	}
	drafts, err = d.End("gone")
	s.mustAdd(t, "eve", drafts, err)
	fold()
	if d.State != DeploymentOver || d.EndedBy != "eve" || d.EndReason != "gone" || *d.EndSeq != 3 {
		t.Errorf("ended: %+v", d)
	}
	drafts, err = d.Mark(false, "it was the network")
	s.mustAdd(t, "eve", drafts, err)
	fold()
	if d.Bad || d.BadReason != "" || d.State != DeploymentOver {
		t.Errorf("good again: %+v", d)
	}
	for i := range s.events {
		for k := range s.events[i].Fields {
			if f := &s.events[i].Fields[k]; Erasable(s.events[i].Type, f.Name) {
				f.Value = nil
			}
		}
	}
	fold()
	if d.State != DeploymentOver || d.Version != 7 || d.Role != RolePrimary || d.Config != "" || d.EndReason != "" || d.Decision.Checks != nil {
		t.Errorf("erased: %+v", d)
	}
	for _, e := range []Event{
		{Type: DeploymentOpened, Fields: []Field{{Name: "version", Value: json.RawMessage(`"x"`)}}},
		{Type: DeploymentOpened, Fields: []Field{{Name: "decision", Value: json.RawMessage(`5`)}}},
		{Type: DeploymentMarked, Fields: []Field{{Name: "bad", Value: json.RawMessage(`5`)}}},
	} {
		checkCode(t, "corrupt", FoldDeployment(&d, []Event{e}), CodeCorrupt)
	}
}

// TestRollbackCandidate chooses what to go back to. Histories are written newest first:
// "2 superseded" is version 2 in that state.
func TestRollbackCandidate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		history []string
		want    string // the place in the history
	}{
		{"nothing", nil, ""},
		{"only what stands", []string{"1 active"}, ""},
		{"the one before", []string{"2 active", "1 superseded"}, "1"},
		{"the latest of two", []string{"3 active", "2 superseded", "1 superseded"}, "1"},
		{"not what was rolled back", []string{"3 active", "2 rolled_back", "1 superseded"}, "2"},
		{"not what is bad", []string{"3 active", "2 superseded bad", "1 superseded"}, "2"},
		{"not what failed", []string{"3 active", "2 failed", "1 superseded"}, "2"},
		{"not what was passed over", []string{"3 active", "2 superseded never", "1 superseded"}, "2"},
		{"not a canary", []string{"3 active", "2 superseded canary", "1 superseded"}, "2"},
		{"not a shadow", []string{"3 active", "2 active shadow", "1 superseded"}, "2"},
		{"not what waits", []string{"4 pending", "3 active", "2 superseded"}, "2"},
		{"not what came after", []string{"4 superseded", "3 active", "2 superseded"}, "2"},
		{"not the same again", []string{"2 active", "2 superseded", "1 superseded"}, "2"},
		{"the same with another image", []string{"2 active", "2 superseded image", "1 superseded"}, "1"},
		{"the same with another configuration", []string{"2 active", "2 superseded config", "1 superseded"}, "1"},
		{"what was ended", []string{"2 active", "1 ended"}, "1"},
		{"nothing stands", []string{"2 ended", "1 superseded"}, "0"},
		{"nothing stands, the last was rolled back", []string{"2 rolled_back", "1 superseded"}, "1"},
		{"after a rollback, further back", []string{"2 active", "3 rolled_back", "2 superseded", "1 superseded"}, "3"},
		{"twice back", []string{"1 active", "2 rolled_back", "3 rolled_back", "2 superseded", "1 superseded"}, ""},
		{"bad when it was restored", []string{"3 active", "2 superseded bad", "4 rolled_back", "2 superseded", "1 superseded"}, "4"},
		{"deployed anew since", []string{"3 active", "2 superseded", "1 superseded", "2 rolled_back", "1 superseded"}, "1"},
		{"all bad", []string{"2 active", "1 superseded bad"}, ""},
	} {
		var history []Deployment
		var current *Deployment
		for i, text := range tt.history {
			words := strings.Fields(text)
			n, err := ParseVersionNumber(words[0])
			if err != nil {
				t.Fatal(err)
			}
			seq := int64(100 - i)
			d := Deployment{ID: "dep_" + VersionNumber(i+1).String(), ModelID: "mdl_1", Version: n, Role: RolePrimary, State: DeploymentState(words[1]), Seq: seq, ActiveSeq: &seq, Image: "a", Config: "b"}
			if d.State == DeploymentPending || d.State == DeploymentFailing {
				d.ActiveSeq = nil
			}
			for _, w := range words[2:] {
				switch w {
				case "bad":
					d.Bad = true
				case "never":
					d.ActiveSeq = nil
				case "image":
					d.Image = "c"
				case "config":
					d.Config = "c"
				default:
					d.Role = DeploymentRole(w)
				}
			}
			history = append(history, d)
		}
		p := Place{Standing: standing(history)}
		if current = p.Current(); current != nil {
			c := *current
			current = &c
		}
		got := candidate(current, history)
		want := ""
		if tt.want != "" {
			n, _ := strconv.Atoi(tt.want)
			want = history[n].ID
		}
		switch {
		case got == nil && want != "" || got != nil && got.ID != want:
			t.Errorf("%s: got %+v, want %q", tt.name, got, want)
		}
	}
}

// candidate is what a [WayBack] finds in a history, newest first; nil for nothing.
func candidate(current *Deployment, history []Deployment) *Deployment {
	w := WayBack{Current: current}
	for i := range history {
		if w.Fits(&history[i]) {
			return &history[i]
		}
	}
	return nil
}

// standing are those of a history that are pending or active.
func standing(all []Deployment) []Deployment {
	return slices.DeleteFunc(slices.Clone(all), func(d Deployment) bool { return !d.Live() })
}

// TestCheckCurrent compares what a caller believes with what is there.
func TestCheckCurrent(t *testing.T) {
	seven := testDeployment(RolePrimary, DeploymentActive)
	n := func(v VersionNumber) *VersionNumber { return &v }
	for _, tt := range []struct {
		name     string
		current  *Deployment
		modelID  string
		expected *VersionNumber
		want     ErrorCode
	}{
		{"no belief", seven, "mdl_fraud", nil, ""},
		{"what is there", seven, "mdl_fraud", n(7), ""},
		{"whatever the model", seven, "", n(7), ""},
		{"another model's", seven, "mdl_churn", n(7), CodeConflict},
		{"another version", seven, "mdl_fraud", n(6), CodeConflict},
		{"nothing, and there is something", seven, "mdl_fraud", n(0), CodeConflict},
		{"nothing", nil, "mdl_fraud", n(0), ""},
		{"something, and there is nothing", nil, "mdl_fraud", n(7), CodeConflict},
	} {
		checkCode(t, tt.name, CheckCurrent("prod/fraud-api", tt.current, tt.modelID, tt.expected), tt.want)
	}
}
