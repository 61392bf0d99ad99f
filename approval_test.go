package pedigree

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// story gathers events as a log would hold them: one a minute, from testNow.
type story struct{ events []Event }

// add appends drafts by an actor, and returns the last event.
func (s *story) add(actor string, drafts ...Draft) *Event {
	for _, d := range drafts {
		e := Event{V: 1, Seq: int64(len(s.events)), Type: d.Type, Actor: actor, Subject: d.Subject, Refs: d.Refs}
		e.Time = s.now()
		for _, name := range sortedKeys(d.Payload) {
			e.Fields = append(e.Fields, Field{Name: name, Value: marshal(d.Payload[name])})
		}
		s.events = append(s.events, e)
	}
	return &s.events[len(s.events)-1]
}

// now is the time of the next event.
func (s *story) now() time.Time { return testNow.Add(time.Duration(len(s.events)) * time.Minute) }

// mustAdd is add for what was decided.
func (s *story) mustAdd(t *testing.T, actor string, drafts []Draft, err error) *Event {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", actor, err)
	}
	if len(drafts) == 0 {
		t.Fatalf("%s: nothing was decided", actor)
	}
	return s.add(actor, drafts...)
}

func rules(rules ...ApprovalRule) Policies {
	var out Policies
	for i := range rules {
		out = append(out, Policy{Project: ProjectName(strings.Repeat("p", i)), Seq: int64(100 + i), Approvals: &rules[i]})
	}
	return out
}

// reviewed is a version under approval: its events, and what is decided about them.
type reviewed struct {
	story
	policies Policies
	authors  []string
}

func (r *reviewed) version(t *testing.T) *Version {
	t.Helper()
	a, err := FoldApproval(r.events, Need(r.policies.AllRules()), r.now())
	if err != nil {
		t.Fatal(err)
	}
	return &Version{Project: DefaultProject, Model: "fraud", ModelID: "mdl_fraud", Number: 7, RecordDigest: testDigest("r"), Approval: a}
}

// step does "ann approves", "ann rejects", "asked", "revoked", "amended metrics",
// "amended evidence", "amended owner", "met 3.1" or "a day passes".
func (r *reviewed) step(t *testing.T, text string) {
	t.Helper()
	who, what, _ := strings.Cut(text, " ")
	v := r.version(t)
	var drafts []Draft
	var err error
	switch {
	case what == "approves" || what == "approves if":
		review := Review{Comment: "fine"}
		if what == "approves if" {
			review.Conditions = []Condition{{Note: "watch it", Owner: "ann", Due: "2026-12-01"}, {Expr: "metrics.auc > 0.9"}}
		}
		drafts, err = v.Approve(who, review, Reviewer{Policies: r.policies, Authors: r.authors, Now: r.now()})
	case what == "rejects":
		drafts, err = v.Reject(Review{Comment: "no"}, Reviewer{Policies: r.policies})
	case who == "asked":
		drafts, err = v.RequestApproval(what)
		who = "req"
	case who == "revoked":
		drafts, err = v.RevokeApproval("found something")
		who = "boss"
	case who == "amended":
		d := Draft{Type: VersionAmended, Subject: v.Subject(), Payload: Payload{what: json.RawMessage(`[]`)}}
		d.Stale(func(string) bool { return false })
		drafts, who = []Draft{d}, "dev"
	case who == "met":
		drafts, err = v.MeetCondition(what, "done")
		who = "ops"
	case text == "a day passes":
		for range 24 * 60 {
			r.events = append(r.events, Event{Type: VersionEdited, Seq: int64(len(r.events)), Time: r.now()})
		}
		return
	default:
		t.Fatalf("no such step %q", text)
	}
	r.mustAdd(t, who, drafts, err)
}

// TestApprovalState goes every way that an approval can.
func TestApprovalState(t *testing.T) {
	one, two := rules(ApprovalRule{}), rules(ApprovalRule{}, ApprovalRule{Count: 2})
	short := rules(ApprovalRule{ValidFor: Duration(time.Hour)})
	for _, tt := range []struct {
		name     string
		policies Policies
		steps    []string
		state    ApprovalState
		have     int
	}{
		{"nobody asked", one, nil, ApprovalNone, 0},
		{"asked", one, []string{"asked please"}, ApprovalAsked, 0},
		{"approved", one, []string{"asked please", "ann approves"}, ApprovalApproved, 1},
		{"approved unasked", one, []string{"ann approves"}, ApprovalApproved, 1},
		{"approved without a rule", nil, []string{"ann approves"}, ApprovalApproved, 1},
		{"one of two", two, []string{"asked please", "ann approves"}, ApprovalAsked, 1},
		{"one of two, unasked", two, []string{"ann approves"}, ApprovalAsked, 1},
		{"two of two", two, []string{"ann approves", "bob approves"}, ApprovalApproved, 2},
		{"one person twice is one", two, []string{"ann approves", "ann approves"}, ApprovalAsked, 1},
		{"three of two", two, []string{"ann approves", "bob approves", "eve approves"}, ApprovalApproved, 3},
		{"rejected", one, []string{"asked please", "ann rejects"}, ApprovalRefused, 0},
		{"one rejection outweighs", one, []string{"ann approves", "bob rejects"}, ApprovalRefused, 1},
		{"another's approval does not undo it", one, []string{"bob rejects", "ann approves"}, ApprovalRefused, 1},
		{"their own does", one, []string{"bob rejects", "bob approves"}, ApprovalApproved, 1},
		{"the last opinion counts", one, []string{"ann approves", "ann rejects"}, ApprovalRefused, 0},
		{"a new round", one, []string{"ann rejects", "asked again"}, ApprovalAsked, 0},
		{"a new round ends approvals", one, []string{"ann approves", "asked again"}, ApprovalAsked, 0},
		{"approved in the second round", one, []string{"ann rejects", "asked again", "ann approves"}, ApprovalApproved, 1},
		{"revoked", one, []string{"ann approves", "revoked"}, ApprovalWithdrawn, 0},
		{"revoked while it waits for more", two, []string{"ann approves", "revoked"}, ApprovalWithdrawn, 0},
		{"all are revoked", two, []string{"ann approves", "bob approves", "revoked"}, ApprovalWithdrawn, 0},
		{"revoked and asked again", one, []string{"ann approves", "revoked", "asked again"}, ApprovalAsked, 0},
		{"revoked and approved again", one, []string{"ann approves", "revoked", "ann approves"}, ApprovalApproved, 1},
		{"revoked and rejected", one, []string{"ann approves", "revoked", "ann rejects"}, ApprovalRefused, 0},
		{"a rejection stays under a revocation", one, []string{"bob rejects", "ann approves", "revoked"}, ApprovalRefused, 0},
		{"stale", one, []string{"ann approves", "amended metrics"}, ApprovalOutOfDate, 0},
		{"stale though asked", one, []string{"asked please", "ann approves", "amended params"}, ApprovalOutOfDate, 0},
		{"not stale by an owner", one, []string{"ann approves", "amended owner"}, ApprovalApproved, 1},
		{"not stale by evidence that nothing reads", one, []string{"ann approves", "amended evidence"}, ApprovalApproved, 1},
		{"approved after it was stale", one, []string{"ann approves", "amended metrics", "ann approves"}, ApprovalApproved, 1},
		{"another approves after it was stale", one, []string{"ann approves", "amended metrics", "bob approves"}, ApprovalApproved, 1},
		{"half stale", two, []string{"ann approves", "amended metrics", "bob approves"}, ApprovalOutOfDate, 1},
		{"asked after it was stale", one, []string{"ann approves", "amended metrics", "asked again"}, ApprovalAsked, 0},
		{"a rejection gets stale too", one, []string{"ann rejects", "amended metrics"}, ApprovalNone, 0},
		{"a stale rejection, asked before", one, []string{"asked please", "ann rejects", "amended metrics"}, ApprovalAsked, 0},
		{"stale and revoked", one, []string{"ann approves", "amended metrics", "revoked"}, ApprovalWithdrawn, 0},
		{"valid", short, []string{"ann approves"}, ApprovalApproved, 1},
		{"expired", short, []string{"ann approves", "a day passes"}, ApprovalExpired, 0},
		{"expired though asked", short, []string{"asked please", "ann approves", "a day passes"}, ApprovalExpired, 0},
		{"approved after it expired", short, []string{"ann approves", "a day passes", "ann approves"}, ApprovalApproved, 1},
		{"asked after it expired", short, []string{"ann approves", "a day passes", "asked again"}, ApprovalAsked, 0},
		{"a rejection does not expire", short, []string{"ann rejects", "a day passes"}, ApprovalRefused, 0},
		{"stale goes before expired", short, []string{"ann approves", "amended metrics", "a day passes"}, ApprovalOutOfDate, 0},
		{"one expired, one asked", rules(ApprovalRule{Count: 2, ValidFor: Duration(time.Hour)}), []string{"ann approves", "a day passes", "bob approves"}, ApprovalExpired, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := reviewed{policies: tt.policies, authors: []string{"dev"}}
			for _, s := range tt.steps {
				r.step(t, s)
			}
			a := r.version(t).Approval
			if a.State != tt.state || a.Have != tt.have || a.Need != Need(tt.policies.AllRules()) {
				t.Errorf("got %s with %d of %d, want %s with %d", a.State, a.Have, a.Need, tt.state, tt.have)
			}
			if a.ExpiresAt != nil && a.State != ApprovalApproved {
				t.Errorf("%s expires at %v", a.State, a.ExpiresAt)
			}
			for i := 1; i < len(a.Opinions); i++ {
				if a.Opinions[i].Seq >= a.Opinions[i-1].Seq {
					t.Errorf("opinions are not newest first: %+v", a.Opinions)
				}
			}
		})
	}
}

// TestApprovalRefused: what was found wrong with a version stands until it is approved
// again; asking and amending say nothing about it.
func TestApprovalRefused(t *testing.T) {
	one, two := rules(ApprovalRule{}), rules(ApprovalRule{Count: 2})
	short := rules(ApprovalRule{ValidFor: Duration(time.Hour)})
	for _, tt := range []struct {
		name     string
		policies Policies
		steps    []string
		want     Verdict
	}{
		{"nothing", one, []string{"asked please", "ann approves"}, ""},
		{"rejected", one, []string{"ann rejects"}, VerdictReject},
		{"revoked", one, []string{"ann approves", "revoked"}, VerdictRevoke},
		{"rejected and asked again", one, []string{"ann rejects", "asked again"}, VerdictReject},
		{"revoked and asked again", one, []string{"ann approves", "revoked", "asked again"}, VerdictRevoke},
		{"rejected and amended", one, []string{"ann rejects", "amended metrics"}, VerdictReject},
		{"rejected, amended and asked again", one, []string{"ann rejects", "amended metrics", "asked again"}, VerdictReject},
		{"approved again", one, []string{"ann rejects", "asked again", "bob approves"}, ""},
		{"by whom it was rejected", one, []string{"ann rejects", "ann approves"}, ""},
		{"under a rejection that stands", one, []string{"ann rejects", "bob approves"}, VerdictReject},
		{"and asked again", one, []string{"ann rejects", "bob approves", "asked again"}, VerdictReject},
		{"one of two", two, []string{"ann rejects", "asked again", "bob approves"}, VerdictReject},
		{"two of two", two, []string{"ann rejects", "asked again", "bob approves", "eve approves"}, ""},
		{"two that never were at once", two, []string{"ann rejects", "asked again", "bob approves", "amended metrics", "eve approves"}, VerdictReject},
		{"approved, and stale since", one, []string{"ann rejects", "ann approves", "amended metrics"}, ""},
		{"approved, and expired since", short, []string{"ann rejects", "ann approves", "a day passes"}, ""},
		{"approved before it was revoked", one, []string{"ann approves", "revoked", "amended metrics"}, VerdictRevoke},
		{"the last of two", one, []string{"ann rejects", "bob approves", "revoked"}, VerdictRevoke},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := reviewed{policies: tt.policies}
			for _, s := range tt.steps {
				r.step(t, s)
			}
			var got Verdict
			if o := r.version(t).Approval.Refused; o != nil {
				got = o.Verdict
			}
			checkEqual(t, "refused", got, tt.want)
		})
	}
}

// TestApprovalExpiry: an approval holds until the moment it names, and no longer; of more
// approvals than needed, the last that is needed ends it.
func TestApprovalExpiry(t *testing.T) {
	hour := Duration(time.Hour)
	var s story
	v := &Version{Model: "fraud", ModelID: "mdl_fraud", Number: 7}
	grant := func(by string, policies Policies) {
		drafts, err := v.Approve(by, Review{}, Reviewer{Policies: policies, Now: s.now()})
		s.mustAdd(t, by, drafts, err)
	}
	grant("ann", rules(ApprovalRule{ValidFor: 3 * hour}, ApprovalRule{ValidFor: hour}, ApprovalRule{}))
	grant("bob", rules(ApprovalRule{ValidFor: 2 * hour}))
	ann, bob := testNow.Add(time.Hour), testNow.Add(time.Minute+2*time.Hour)
	for _, tt := range []struct {
		need  int
		now   time.Time
		state ApprovalState
		ends  *time.Time
	}{
		{2, ann.Add(-1), ApprovalApproved, &ann},
		{2, ann, ApprovalExpired, nil},
		{1, ann.Add(-1), ApprovalApproved, &bob},
		{1, ann, ApprovalApproved, &bob},
		{1, bob.Add(-1), ApprovalApproved, &bob},
		{1, bob, ApprovalExpired, nil},
	} {
		a, err := FoldApproval(s.events, tt.need, tt.now)
		checkCode(t, "fold", err, "")
		checkEqual(t, tt.now.String(), a.State, tt.state)
		checkEqual(t, tt.now.String(), a.ExpiresAt, tt.ends)
	}
	grant("eve", rules(ApprovalRule{}))
	a, err := FoldApproval(s.events, 1, bob)
	checkCode(t, "fold", err, "")
	checkEqual(t, "one without an end", a.ExpiresAt, (*time.Time)(nil))

	// The database compares microseconds: a moment that it can't hold must not be written.
	drafts, err := v.Approve("ann", Review{}, Reviewer{Policies: rules(ApprovalRule{ValidFor: hour}), Now: testNow.Add(1999 * time.Nanosecond)})
	checkCode(t, "approve", err, "")
	checkEqual(t, "whole microseconds", *drafts[0].Payload["expires_at"].(*time.Time), ann.Add(time.Microsecond))
}

// TestApprovalConditions: conditions count as long as the opinion that they came with.
func TestApprovalConditions(t *testing.T) {
	short := rules(ApprovalRule{ValidFor: Duration(time.Hour)})
	for _, tt := range []struct {
		name  string
		steps []string
		want  []string // ids of what is left, with "!" where met
	}{
		{"none", []string{"ann approves"}, nil},
		{"two", []string{"ann approves if"}, []string{"0.1", "0.2"}},
		{"one met", []string{"ann approves if", "met 0.1"}, []string{"0.1!", "0.2"}},
		{"of two people", []string{"ann approves if", "bob approves if"}, []string{"0.1", "0.2", "1.1", "1.2"}},
		{"dropped by a new opinion", []string{"ann approves if", "bob approves if", "ann approves"}, []string{"1.1", "1.2"}},
		{"dropped by a rejection", []string{"ann approves if", "ann rejects"}, nil},
		{"kept under another's rejection", []string{"ann approves if", "bob rejects"}, []string{"0.1", "0.2"}},
		{"dropped by a new round", []string{"ann approves if", "asked again"}, nil},
		{"dropped by a revocation", []string{"ann approves if", "bob rejects", "revoked"}, nil},
		{"met is not inherited", []string{"ann approves if", "met 0.1", "ann approves if"}, []string{"2.1", "2.2"}},
		{"dropped when stale", []string{"ann approves if", "amended metrics", "bob approves"}, nil},
		{"dropped when expired", []string{"ann approves if", "a day passes", "bob approves"}, nil},
		{"ids do not run into each other", []string{"asked a", "ann approves if", "bob approves", "bob approves", "bob approves", "bob approves", "bob approves", "bob approves", "bob approves", "bob approves", "bob approves if", "ann approves"}, []string{"10.1", "10.2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := reviewed{policies: short}
			for _, s := range tt.steps {
				r.step(t, s)
			}
			var got []string
			for _, c := range r.version(t).Approval.Conditions {
				id := c.ID
				if c.Met {
					id += "!"
					if c.MetBy != "ops" || c.MetAt == nil || c.Comment != "done" {
						t.Errorf("met is not told: %+v", c)
					}
				}
				got = append(got, id)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	r := reviewed{}
	r.step(t, "ann approves if")
	r.step(t, "bob approves if")
	r.step(t, "met 0.1")
	for seq, want := range map[int64]string{0: "0.2 by ann", 1: "1.1 by bob, 1.2 by bob", 2: ""} {
		var got []string
		for _, c := range r.version(t).Approval.Open(seq) {
			got = append(got, c.ID+" by "+c.By)
		}
		checkEqual(t, "open", strings.Join(got, ", "), want)
	}
	r = reviewed{}
	r.step(t, "ann approves if")
	_, err := r.version(t).MeetCondition("0.3", "")
	checkCode(t, "no such condition", err, CodeNotFound)
	_, err = (&Version{Model: "fraud", Number: 1}).MeetCondition("0.1", "")
	checkCode(t, "no approval", err, CodeNotFound)
	r.step(t, "met 0.1")
	drafts, err := r.version(t).MeetCondition("0.1", "again")
	checkDrafts(t, "met already", drafts, err)
}

// TestOverdueConditions: a condition is overdue once its day is over in UTC, until it is met.
func TestOverdueConditions(t *testing.T) {
	day := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		due  string
		now  time.Time
		met  bool
		want bool
	}{
		{"2026-12-01", day, false, false},
		{"2026-12-01", day.Add(24*time.Hour - time.Nanosecond), false, false},
		{"2026-12-01", day.Add(24 * time.Hour), false, true},
		{"2026-12-01", day.Add(24 * time.Hour), true, false},
		{"2026-12-01", day.Add(23 * time.Hour).In(time.FixedZone("east", 5*3600)), false, false},
		{"", day, false, false},
	} {
		events := []Event{{Seq: 3, Time: day, Type: ApprovalGranted, Actor: "ann", Fields: []Field{{Name: "conditions", Value: marshal([]Condition{{Note: "n", Due: tt.due}})}}}}
		if tt.met {
			events = append(events, Event{Seq: 4, Time: day, Type: ApprovalConditionMet, Fields: []Field{{Name: "condition", Value: marshal("3.1")}}})
		}
		a, err := FoldApproval(events, 1, tt.now)
		checkCode(t, "fold", err, "")
		checkEqual(t, tt.due+" at "+tt.now.String(), a.Conditions[0].Overdue, tt.want)
	}
	for id, want := range map[string][2]int64{"412.3": {412, 3}, "": {}, "x": {}, "1": {}, "1.x": {}} {
		seq, n := (&Condition{ID: id}).Place()
		checkEqual(t, "the place of "+id, [2]int64{seq, int64(n)}, want)
	}
}

// TestApproveByAuthor: whoever made a version does not approve it, unless every rule
// allows that.
func TestApproveByAuthor(t *testing.T) {
	yes, no := ApprovalRule{AllowAuthor: true}, ApprovalRule{}
	for _, tt := range []struct {
		name     string
		policies Policies
		by       string
		want     ErrorCode
		author   bool
	}{
		{"somebody else", rules(no), "ann", "", false},
		{"the author", rules(no), "dev", CodeRefused, false},
		{"the author, no rule", nil, "dev", CodeRefused, false},
		{"the author, one policy without a rule", Policies{{}}, "dev", CodeRefused, false},
		{"the author, allowed", rules(yes), "dev", "", true},
		{"the author, allowed by one of two", rules(yes, no), "dev", CodeRefused, false},
		{"the author, allowed by both", rules(yes, yes), "dev", "", true},
		{"somebody else, allowed", rules(yes), "ann", "", false},
	} {
		v := &Version{Model: "fraud", Number: 7, RecordDigest: testDigest("r")}
		drafts, err := v.Approve(tt.by, Review{}, Reviewer{Policies: tt.policies, Authors: []string{"dev", "person"}})
		checkCode(t, tt.name, err, tt.want)
		if err == nil {
			_, author := drafts[0].Payload["author"]
			checkEqual(t, tt.name+": is noted", author, tt.author)
			var s story
			s.add(tt.by, drafts...)
			a, err := FoldApproval(s.events, 1, testNow)
			checkCode(t, tt.name, err, "")
			checkEqual(t, tt.name+": is shown", a.Opinions[0].Author, tt.author)
			checkEqual(t, tt.name+": is counted", a.authors == 1, tt.author)
		}
	}
}

func TestReviewRefuses(t *testing.T) {
	v := &Version{Model: "fraud", Number: 7}
	with := func(c Condition) Review { return Review{Comment: "x", Conditions: []Condition{c}} }
	for _, tt := range []struct {
		name   string
		review Review
		want   ErrorCode
	}{
		{"bare", Review{}, ""},
		{"an expression", with(Condition{Expr: "true"}), ""},
		{"a note", with(Condition{Note: "n", Owner: "ann", Due: "2026-12-01"}), ""},
		{"neither", with(Condition{Owner: "ann"}), CodeInvalid},
		{"both", with(Condition{Expr: "true", Note: "n"}), CodeInvalid},
		{"no date", with(Condition{Note: "n", Due: "soon"}), CodeInvalid},
		{"a day that is none", with(Condition{Note: "n", Due: "2026-02-30"}), CodeInvalid},
		{"NUL", Review{Comment: "a\x00"}, CodeInvalid},
		{"NUL in a note", with(Condition{Note: "a\x00"}), CodeInvalid},
		{"NUL in an owner", with(Condition{Note: "n", Owner: "a\x00"}), CodeInvalid},
		{"too many", Review{Conditions: slices.Repeat([]Condition{{Note: "n"}}, MaxConditions+1)}, CodeInvalid},
	} {
		_, err := v.Approve("ann", tt.review, Reviewer{})
		checkCode(t, tt.name, err, tt.want)
	}
	drafts, err := v.Approve("ann", with(Condition{Note: "n", ID: "9.9", Met: true, MetBy: "ann"}), Reviewer{})
	checkCode(t, "a condition that says it is met", err, "")
	checkEqual(t, "what callers can't say", drafts[0].Payload["conditions"], []Condition{{Note: "n"}})

	_, err = v.Reject(Review{Comment: " "}, Reviewer{})
	checkCode(t, "reject without a word", err, CodeInvalid)
	_, err = v.Reject(with(Condition{Note: "n"}), Reviewer{})
	checkCode(t, "reject on a condition", err, CodeInvalid)
	_, err = v.RevokeApproval("why")
	checkCode(t, "revoke nothing", err, CodeRefused)

	r := reviewed{}
	r.step(t, "ann rejects")
	_, err = r.version(t).RevokeApproval("why")
	checkCode(t, "revoke a rejection", err, CodeRefused)
	r.step(t, "bob approves")
	_, err = r.version(t).RevokeApproval(" ")
	checkCode(t, "revoke without a word", err, CodeInvalid)
	_, err = r.version(t).RevokeApproval("a\x00")
	checkCode(t, "revoke with NUL", err, CodeInvalid)
	r.step(t, "revoked")
	_, err = r.version(t).RevokeApproval("why")
	checkCode(t, "revoke twice", err, CodeRefused)
}

func TestRequestApproval(t *testing.T) {
	r := reviewed{}
	r.step(t, "asked please")
	drafts, err := r.version(t).RequestApproval("please")
	checkDrafts(t, "the same again", drafts, err)
	drafts, err = r.version(t).RequestApproval("urgent")
	checkDrafts(t, "with another note", drafts, err, Draft{Type: ApprovalRequested, Subject: "mdl_fraud/7", Payload: Payload{"record_digest": testDigest("r"), "note": "urgent"}})
	_, err = r.version(t).RequestApproval("a\x00")
	checkCode(t, "NUL", err, CodeInvalid)
	r.step(t, "ann approves")
	drafts, err = r.version(t).RequestApproval("please")
	checkCode(t, "a new round of what is decided", err, "")
	checkEqual(t, "a new round of what is decided", len(drafts), 1)
}

func TestWithdraw(t *testing.T) {
	v := &Version{Model: "fraud", ModelID: "mdl_fraud", Number: 7}
	_, err := v.Withdraw("", "")
	checkCode(t, "without a reason", err, CodeInvalid)
	_, err = v.Withdraw("a\x00", "")
	checkCode(t, "NUL", err, CodeInvalid)
	drafts, err := v.Withdraw("leak", "https://example.com/INC-1")
	checkDrafts(t, "withdraw", drafts, err, Draft{Type: VersionWithdrawn, Subject: "mdl_fraud/7", Payload: Payload{"reason": "leak", "incident": "https://example.com/INC-1"}})
	drafts, err = v.Reinstate("")
	checkDrafts(t, "reinstate what is not withdrawn", drafts, err)

	v.Withdrawn = &Withdrawal{Reason: "leak"}
	drafts, err = v.Withdraw("again", "")
	checkDrafts(t, "withdraw twice", drafts, err)
	_, err = v.RequestApproval("")
	checkCode(t, "ask for it", err, CodeRefused)
	_, err = v.Approve("ann", Review{}, Reviewer{})
	checkCode(t, "approve it", err, CodeRefused)
	if !strings.Contains(err.Error(), "leak") || !strings.Contains(err.Error(), "pedigree restore fraud/7") {
		t.Errorf("the refusal does not say why and what mends it: %v", err)
	}
	_, err = v.Reject(Review{Comment: "bad"}, Reviewer{})
	checkCode(t, "reject it", err, "")
	_, err = v.Reinstate("a\x00")
	checkCode(t, "NUL", err, CodeInvalid)
	drafts, err = v.Reinstate("it was another")
	checkDrafts(t, "reinstate", drafts, err, Draft{Type: VersionReinstated, Subject: "mdl_fraud/7", Payload: Payload{"reason": "it was another"}})
}

// TestStale: only what was judged makes an approval stale.
func TestStale(t *testing.T) {
	nothing, everything := func(string) bool { return false }, func(string) bool { return true }
	readable := []string{"evidence", "run", "owner", "target", "outputs"}
	for _, field := range RecordFields {
		for _, read := range []bool{false, true} {
			d := Draft{Type: VersionAmended, Payload: Payload{field: nil, "reason": "r"}}
			d.Stale(func(f string) bool { return read && f == field })
			want := Material(field)
			if slices.Contains(readable, field) {
				want = read
			}
			checkEqual(t, field, d.Payload[stalesField] == true, want)
		}
	}
	d := Draft{Type: VersionAmended, Payload: Payload{"rollback_note": nil, "reason": "r"}}
	d.Stale(everything)
	checkEqual(t, "a note", d.Payload[stalesField], any(nil))
	d = Draft{Type: VersionAmended, Payload: Payload{"metrics": nil}}
	d.Stale(nothing)
	checkEqual(t, "what is material, and no gate reads", d.Payload[stalesField], any(true))
	d = Draft{Type: VersionEdited, Payload: Payload{"metrics": nil}}
	d.Stale(everything)
	checkEqual(t, "another event", d.Payload, Payload{"metrics": nil})
	if Erasable(VersionAmended, stalesField) {
		t.Error("an erasure could bring an approval back")
	}
}

func TestNeed(t *testing.T) {
	for _, tt := range []struct {
		rules Policies
		want  int
	}{
		{nil, 1},
		{rules(ApprovalRule{}), 1},
		{rules(ApprovalRule{Count: 3}, ApprovalRule{Count: 2}), 3},
		{rules(ApprovalRule{}, ApprovalRule{Count: 2}), 2},
		{Policies{{}}, 1},
	} {
		checkEqual(t, "need", Need(tt.rules.AllRules()), tt.want)
	}
}

// TestApprovalCheck: what stands at a place for each state, with the command that mends it.
func TestApprovalCheck(t *testing.T) {
	one, lax := []ApprovalRule{{}}, ApprovalRule{AllowAuthor: true}
	byAuthor := &Approval{State: ApprovalApproved, Have: 1, authors: 1}
	at := func(state ApprovalState, have int) *Approval { return &Approval{State: state, Have: have} }
	for _, tt := range []struct {
		name  string
		a     *Approval
		rules []ApprovalRule
		state CheckState
		says  string
		fix   string
	}{
		{"no rule", nil, nil, "", "", ""},
		{"nobody asked", nil, one, CheckFailed, "nobody was asked", "pedigree request fraud/7"},
		{"none", at(ApprovalNone, 0), one, CheckFailed, "nobody was asked", "pedigree request fraud/7"},
		{"asked", at(ApprovalAsked, 0), one, CheckFailed, "0 of 1", "pedigree approve fraud/7"},
		{"approved", at(ApprovalApproved, 1), one, CheckPassed, "1 of 1", ""},
		{"enough here, too few elsewhere", at(ApprovalAsked, 1), one, CheckPassed, "1 of 1", ""},
		{"too few here", at(ApprovalApproved, 1), []ApprovalRule{{}, {Count: 2}}, CheckFailed, "1 of 2", "pedigree approve fraud/7"},
		{"rejected though enough approve", at(ApprovalRefused, 5), one, CheckFailed, "was rejected", "pedigree show fraud/7"},
		{"revoked", at(ApprovalWithdrawn, 0), one, CheckFailed, "was revoked", "pedigree request fraud/7"},
		{"stale", at(ApprovalOutOfDate, 0), one, CheckFailed, "stale", "pedigree request fraud/7"},
		{"expired", at(ApprovalExpired, 0), one, CheckFailed, "expired", "pedigree request fraud/7"},
		{"half expired, enough here", at(ApprovalExpired, 1), one, CheckPassed, "1 of 1", ""},
		{"by its author, allowed", byAuthor, []ApprovalRule{lax}, CheckPassed, "1 of 1", ""},
		{"by its author, allowed no more", byAuthor, []ApprovalRule{lax, {}}, CheckFailed, "0 of 1", "somebody else"},
		{"by its author and another", &Approval{State: ApprovalApproved, Have: 2, authors: 1}, one, CheckPassed, "1 of 1", ""},
	} {
		v := &Version{Model: "fraud", Number: 7, Approval: tt.a}
		c, ok := v.approvalCheck(tt.rules)
		checkEqual(t, tt.name+": asked for", ok, tt.state != "")
		checkEqual(t, tt.name, c.State, tt.state)
		if !strings.Contains(c.Message, tt.says) || !strings.Contains(c.Fix, tt.fix) || tt.fix == "" && c.Fix != "" {
			t.Errorf("%s: got %q, fix %q", tt.name, c.Message, c.Fix)
		}
	}
	asked := &Version{Model: "fraud", Number: 7, Approval: at(ApprovalAsked, 0)}
	c, _ := asked.approvalCheck([]ApprovalRule{lax})
	checkEqual(t, "fix where authors may approve", c.Fix, "pedigree approve fraud/7")
	c, _ = asked.approvalCheck(one)
	checkEqual(t, "fix where they may not", c.Fix, "pedigree approve fraud/7 (somebody else than its authors)")
}

// TestFoldApprovalErased: a comment or conditions that were erased are empty, and the
// state stays; what does not fit is corrupt.
func TestFoldApprovalErased(t *testing.T) {
	r := reviewed{}
	r.step(t, "ann approves if")
	for i := range r.events[0].Fields {
		if f := &r.events[0].Fields[i]; Erasable(ApprovalGranted, f.Name) {
			f.Value = nil
		}
	}
	a := r.version(t).Approval
	checkEqual(t, "state", a.State, ApprovalApproved)
	checkEqual(t, "comment", a.Opinions[0].Comment, "")
	checkEqual(t, "conditions", len(a.Conditions), 0)
	for _, e := range []Event{
		{Type: ApprovalGranted, Fields: []Field{{Name: "expires_at", Value: json.RawMessage(`"soon"`)}}},
		{Type: VersionAmended, Fields: []Field{{Name: stalesField, Value: json.RawMessage(`"yes"`)}}},
	} {
		_, err := FoldApproval([]Event{e}, 1, testNow)
		checkCode(t, string(e.Type), err, CodeCorrupt)
	}
}
