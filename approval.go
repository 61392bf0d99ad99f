package pedigree

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// ApprovalState is what follows from the request and the decisions about a version.
type ApprovalState string

// The states.
const (
	ApprovalNone      ApprovalState = "none"      // nobody asked
	ApprovalAsked     ApprovalState = "requested" // waiting for somebody
	ApprovalApproved  ApprovalState = "approved"
	ApprovalRefused   ApprovalState = "rejected"
	ApprovalWithdrawn ApprovalState = "revoked"
	ApprovalExpired   ApprovalState = "expired"
	ApprovalOutOfDate ApprovalState = "stale" // the record was amended since
)

// Approval is the state of a version's approval at a moment, and how it came about.
type Approval struct {
	State ApprovalState `json:"state"`
	// Have of Need people approve it as it is.
	Have int `json:"have"`
	Need int `json:"need"`
	// ExpiresAt is when the state stops to be approved; nil for never, and in other states.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// Request is the last request, nil without one.
	Request *ApprovalRequest `json:"request,omitempty"`
	// Opinions are all that were given, newest first.
	Opinions []Opinion `json:"opinions,omitempty"`
	// Conditions are those of the approvals that count, met or not.
	Conditions []Condition `json:"conditions,omitempty"`
	// Refused is the last rejection or revocation, until as many people approve the version
	// after it as must; nil without one. A new request, and an amendment, change the state
	// and not this: they say nothing about what was found wrong.
	Refused *Opinion `json:"refused,omitempty"`

	authors int // of Have, who made the version
	// amended is the last amendment that made approvals stale, until as many people approve
	// the version after it as must; 0 without one.
	amended int64
}

// ApprovalRequest asks for an approval.
type ApprovalRequest struct {
	Seq  int64     `json:"seq"`
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Note string    `json:"note,omitempty"`
}

// Waiting is what reviewers see in a list of a version that waits for them.
type Waiting struct {
	Request ApprovalRequest `json:"request"`
	// Have of Need people approve it as it is.
	Have int `json:"have"`
	Need int `json:"need"`
}

// Verdict is what somebody says of a version.
type Verdict string

// The verdicts.
const (
	VerdictApprove Verdict = "approved"
	VerdictReject  Verdict = "rejected"
	VerdictRevoke  Verdict = "revoked"
)

// Opinion is what one person said; the last one of a person counts, until the version is
// asked for anew or its record is amended.
type Opinion struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Verdict Verdict   `json:"verdict"`
	Comment string    `json:"comment,omitempty"`
	// RecordDigest is that of the record as it was judged, Policies the versions of the
	// policies that held.
	RecordDigest Digest      `json:"record_digest,omitempty"`
	Policies     []PolicyRef `json:"policies,omitempty"`
	// ExpiresAt is when an approval stops to hold.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// Author says that the version is the person's own work, which a policy allowed.
	Author bool `json:"author,omitempty"`
	// Stale says that the record was amended since, Past that the same person said
	// something else since or a new request began.
	Stale bool `json:"stale,omitempty"`
	Past  bool `json:"past,omitempty"`
}

// why is the verdict with its comment, where that was not erased.
func (o *Opinion) why() string {
	if o.Comment == "" {
		return string(o.Verdict)
	}
	return string(o.Verdict) + ": " + o.Comment
}

// Condition is something that an approval asks for: an expression that must hold where the
// version is deployed, or a note with an owner and a date.
type Condition struct {
	// ID is "SEQ.N": the event of the approval, and the place in it.
	ID   string `json:"id,omitempty"`
	Expr string `json:"expr,omitempty"`
	Note string `json:"note,omitempty"`
	// Owner is who sees to it, Due when it is to be met.
	Owner string `json:"owner,omitempty"`
	Due   string `json:"due,omitempty"` // a date, 2026-12-01
	// Overdue says that it is not met, and that the day is over, in UTC.
	Overdue bool `json:"overdue,omitempty"`
	// Met says that somebody reported it, when and by whom.
	Met     bool       `json:"met,omitempty"`
	MetAt   *time.Time `json:"met_at,omitempty"`
	MetBy   string     `json:"met_by,omitempty"`
	Comment string     `json:"comment,omitempty"`
}

// Place is where c comes from: the event of the approval, and the place in it, from 1. Both
// are 0 for one that no approval came with.
func (c *Condition) Place() (seq int64, n int) {
	event, place, _ := strings.Cut(c.ID, ".")
	seq, err := strconv.ParseInt(event, 10, 64)
	if err == nil {
		n, err = strconv.Atoi(place)
	}
	if err != nil {
		return 0, 0
	}
	return seq, n
}

// OpenCondition is a condition that is not met, with the version whose approval it came with.
type OpenCondition struct {
	Project ProjectName   `json:"project"`
	Model   Name          `json:"model"`
	Version VersionNumber `json:"version"`
	Condition
	// At is when the version was approved with it, By who did.
	At time.Time `json:"at"`
	By string    `json:"by"`
}

// Open are the conditions of the approval that an event gave which are not met, in their
// order; none where that approval does not count any more.
func (a *Approval) Open(seq int64) []OpenCondition {
	i := slices.IndexFunc(a.Opinions, func(o Opinion) bool { return o.Seq == seq })
	if i < 0 {
		return nil
	}
	var out []OpenCondition
	for _, c := range a.Conditions {
		if from, _ := c.Place(); from == seq && !c.Met {
			out = append(out, OpenCondition{Condition: c, At: a.Opinions[i].At, By: a.Opinions[i].By})
		}
	}
	return out
}

// Review is what a caller says of a version.
type Review struct {
	Comment    string      `json:"comment,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
}

// MaxConditions is the most conditions of one approval.
const MaxConditions = 50

func (r *Review) check() error {
	c := &checker{}
	c.text("comment", r.Comment, MaxText)
	c.check(len(r.Conditions) <= MaxConditions, "an approval has at most %d conditions", MaxConditions)
	for i := range r.Conditions {
		k := &r.Conditions[i]
		c.check((k.Expr == "") != (k.Note == ""), "a condition is either an expression or a note")
		c.texts("condition", MaxTagValue, k.Expr, k.Note)
		c.text("condition owner", k.Owner, MaxName)
		if k.Due != "" {
			_, err := time.Parse(time.DateOnly, k.Due)
			c.check(err == nil, "a condition is due on a date, 2026-12-01, not %q", clip(k.Due))
		}
		*k = Condition{Expr: k.Expr, Note: k.Note, Owner: k.Owner, Due: k.Due}
	}
	return c.failed
}

// Reviewer is what a decision about an approval rests on beside the version.
type Reviewer struct {
	// Policies hold for the version's project.
	Policies Policies
	// Authors are those who made the version: who registered and amended it, who asks for
	// the approval, and the people for whom service accounts did so.
	Authors []string
	// Now is the moment of the decision.
	Now time.Time
}

// allowAuthor says that every rule lets authors approve, and that there is one.
func allowAuthor(rules []ApprovalRule) bool {
	return len(rules) > 0 && !slices.ContainsFunc(rules, func(rule ApprovalRule) bool { return !rule.AllowAuthor })
}

// expiry is the first moment at which one of the rules takes an approval of now for
// expired; nil for never.
func (r *Reviewer) expiry() *time.Time {
	var out *time.Time
	for _, rule := range r.Policies.AllRules() {
		if rule.ValidFor > 0 {
			// Microseconds are what the database compares.
			if t := r.Now.Add(time.Duration(rule.ValidFor)).UTC().Truncate(time.Microsecond); out == nil || t.Before(*out) {
				out = &t
			}
		}
	}
	return out
}

// RequestApproval decides that somebody asks for v's approval; a new round begins, and
// earlier opinions are past. It returns [CodeRefused] for a version that is withdrawn, and
// no event where the request that stands says the same.
func (v *Version) RequestApproval(note string) ([]Draft, error) {
	if err := checkText("note", note, MaxText); err != nil {
		return nil, err
	}
	if v.Withdrawn != nil {
		return nil, v.withdrawnError()
	}
	if a := v.Approval; a != nil && a.State == ApprovalAsked && a.Request != nil && a.Request.Note == note {
		return nil, nil
	}
	return []Draft{{Type: ApprovalRequested, Subject: v.Subject(), Payload: Payload{"record_digest": v.RecordDigest}.with("note", note)}}, nil
}

// Approve decides that by approves v as it is. It returns [CodeRefused] where by is one of
// its authors and a rule does not allow that, and for a version that is withdrawn.
func (v *Version) Approve(by string, review Review, r Reviewer) ([]Draft, error) {
	if err := review.check(); err != nil {
		return nil, err
	}
	if v.Withdrawn != nil {
		return nil, v.withdrawnError()
	}
	author := slices.Contains(r.Authors, by)
	if author && !allowAuthor(r.Policies.AllRules()) {
		return nil, Errorf(CodeRefused, "%s is your own work: whoever registered or amended it, or asked for the approval, can't approve it", v.Reference()).
			WithFix("ask somebody else, or let the policy say so: approvals: {allow_author: true}")
	}
	p := Payload{"record_digest": v.RecordDigest}.with("comment", review.Comment)
	if refs := r.Policies.Refs(); len(refs) > 0 {
		p["policies"] = refs
	}
	if len(review.Conditions) > 0 {
		p["conditions"] = review.Conditions
	}
	if t := r.expiry(); t != nil {
		p["expires_at"] = t
	}
	if author {
		p["author"] = true
	}
	return []Draft{{Type: ApprovalGranted, Subject: v.Subject(), Payload: p}}, nil
}

// Reject decides that v may not go on as it is. It returns [CodeInvalid] without a
// comment, since whoever reads it must learn why, and for conditions: whoever has some
// approves.
func (v *Version) Reject(review Review, r Reviewer) ([]Draft, error) {
	if err := review.check(); err != nil {
		return nil, err
	}
	if strings.TrimSpace(review.Comment) == "" {
		return nil, Errorf(CodeInvalid, "say why %s is rejected", v.Reference()).WithFix("--comment TEXT")
	}
	if len(review.Conditions) > 0 {
		return nil, Errorf(CodeInvalid, "a rejection has no conditions").WithFix("approve with conditions, or say in the comment what is missing")
	}
	p := Payload{"record_digest": v.RecordDigest, "comment": review.Comment}
	if refs := r.Policies.Refs(); len(refs) > 0 {
		p["policies"] = refs
	}
	return []Draft{{Type: ApprovalRejected, Subject: v.Subject(), Payload: p}}, nil
}

// RevokeApproval decides that what was approved is so no more. It returns [CodeRefused]
// where nothing was approved.
func (v *Version) RevokeApproval(comment string) ([]Draft, error) {
	if err := checkText("comment", comment, MaxText); err != nil {
		return nil, err
	}
	if strings.TrimSpace(comment) == "" {
		return nil, Errorf(CodeInvalid, "say why the approval of %s is revoked", v.Reference()).WithFix("--comment TEXT")
	}
	a := v.Approval
	if a == nil || !slices.ContainsFunc(a.Opinions, func(o Opinion) bool { return o.Verdict == VerdictApprove && !o.Past }) {
		return nil, Errorf(CodeRefused, "%s has no approval to revoke", v.Reference())
	}
	return []Draft{{Type: ApprovalRevoked, Subject: v.Subject(), Payload: Payload{"comment": comment}}}, nil
}

// MeetCondition decides that a condition of v's approval is met. It returns [CodeNotFound]
// for one that is not there, and no event where it was met.
func (v *Version) MeetCondition(id, comment string) ([]Draft, error) {
	if err := checkText("comment", comment, MaxText); err != nil {
		return nil, err
	}
	var conditions []Condition
	if v.Approval != nil {
		conditions = v.Approval.Conditions
	}
	i := slices.IndexFunc(conditions, func(c Condition) bool { return c.ID == id })
	if i < 0 {
		return nil, Errorf(CodeNotFound, "the approval of %s has no condition %q", v.Reference(), clip(id)).WithFix("pedigree show %s", v.Reference())
	}
	if conditions[i].Met {
		return nil, nil
	}
	return []Draft{{Type: ApprovalConditionMet, Subject: v.Subject(), Payload: Payload{"condition": id}.with("comment", comment)}}, nil
}

// FoldApproval makes the approval of a version out of the events about it, oldest first:
// those of approvals, and its amendments. need is how many people must approve, now the
// moment that is asked about. It returns [CodeCorrupt].
func FoldApproval(events []Event, need int, now time.Time) (*Approval, error) {
	a := &Approval{Need: max(need, 1)}
	revoked := false
	refuse := func() { // by the opinion that was added last
		o := a.Opinions[len(a.Opinions)-1]
		a.Refused = &o
	}
	for i := range events {
		e := &events[i]
		switch e.Type {
		case ApprovalRequested:
			a.Request = &ApprovalRequest{Seq: e.Seq, At: e.Time, By: e.Actor, Note: e.String("note")}
			revoked = false
			a.past(func(Opinion) bool { return true })
			a.Conditions = nil
		case ApprovalGranted, ApprovalRejected:
			if err := a.add(e); err != nil {
				return nil, err
			}
			revoked = false
			if e.Type == ApprovalRejected {
				refuse()
			} else if a.decided(e.Time) {
				a.Refused, a.amended = nil, 0
			}
		case ApprovalRevoked:
			o := Opinion{Seq: e.Seq, At: e.Time, By: e.Actor, Verdict: VerdictRevoke, Comment: e.String("comment")}
			a.past(func(o Opinion) bool { return o.Verdict == VerdictApprove })
			a.Opinions = append(a.Opinions, o)
			revoked = true
			refuse()
		case ApprovalConditionMet:
			id := e.String("condition")
			if i := slices.IndexFunc(a.Conditions, func(c Condition) bool { return c.ID == id }); i >= 0 {
				c := &a.Conditions[i]
				c.Met, c.MetAt, c.MetBy, c.Comment = true, &e.Time, e.Actor, e.String("comment")
			}
		case VersionAmended:
			var stales bool
			if _, err := e.Decode(stalesField, &stales); err != nil {
				return nil, err
			}
			if stales {
				a.amended = e.Seq
				for i := range a.Opinions {
					a.Opinions[i].Stale = a.Opinions[i].Stale || !a.Opinions[i].Past
				}
			}
		}
	}
	a.settle(revoked, now)
	slices.Reverse(a.Opinions)
	return a, nil
}

// stalesField is the payload field of an amendment after which what was approved is not
// what is there.
const stalesField = "stales_approval"

// add takes an opinion into account.
func (a *Approval) add(e *Event) error {
	o := Opinion{Seq: e.Seq, At: e.Time, By: e.Actor, Verdict: VerdictApprove, Comment: e.String("comment"), RecordDigest: Digest(e.String("record_digest"))}
	if e.Type == ApprovalRejected {
		o.Verdict = VerdictReject
	}
	var conditions []Condition
	for name, to := range map[string]any{"policies": &o.Policies, "expires_at": &o.ExpiresAt, "author": &o.Author, "conditions": &conditions} {
		if _, err := e.Decode(name, to); err != nil {
			return err
		}
	}
	a.past(func(old Opinion) bool { return old.By == o.By })
	for i := range conditions {
		conditions[i].ID = conditionID(e.Seq, i+1)
	}
	a.Opinions, a.Conditions = append(a.Opinions, o), append(a.Conditions, conditions...)
	return nil
}

func conditionID(seq int64, n int) string { return strconv.FormatInt(seq, 10) + "." + strconv.Itoa(n) }

// past marks opinions that count no more, and drops the conditions that came with them.
func (a *Approval) past(which func(Opinion) bool) {
	for i := range a.Opinions {
		if o := &a.Opinions[i]; !o.Past && which(*o) {
			o.Past = true
			a.drop(o)
		}
	}
}

// drop takes away the conditions that came with an opinion.
func (a *Approval) drop(o *Opinion) {
	prefix := strconv.FormatInt(o.Seq, 10) + "."
	a.Conditions = slices.DeleteFunc(a.Conditions, func(c Condition) bool { return strings.HasPrefix(c.ID, prefix) })
}

// decided says whether as many approve the version at a moment as must, and nobody rejects
// it.
func (a *Approval) decided(now time.Time) bool {
	have := 0
	for i := range a.Opinions {
		switch o := &a.Opinions[i]; {
		case o.Past || o.Stale:
		case o.Verdict == VerdictReject:
			return false
		case o.Verdict == VerdictApprove && (o.ExpiresAt == nil || o.ExpiresAt.After(now)):
			have++
		}
	}
	return have >= a.Need
}

// settle computes the state.
func (a *Approval) settle(revoked bool, now time.Time) {
	var rejected, stale, expired bool
	var expiries []time.Time
	a.Have, a.authors = 0, 0
	for i := range a.Opinions {
		o := &a.Opinions[i]
		switch {
		case o.Past || o.Verdict == VerdictRevoke:
		case o.Verdict == VerdictReject:
			rejected = rejected || !o.Stale
		case o.Stale:
			stale = true
			a.drop(o)
		case o.ExpiresAt != nil && !o.ExpiresAt.After(now):
			expired = true
			a.drop(o)
		default:
			a.Have++
			if o.Author {
				a.authors++
			}
			if o.ExpiresAt != nil {
				expiries = append(expiries, *o.ExpiresAt)
			}
		}
	}
	for i := range a.Conditions {
		c := &a.Conditions[i]
		due, err := time.Parse(time.DateOnly, c.Due)
		c.Overdue = !c.Met && err == nil && !now.Before(due.AddDate(0, 0, 1))
	}
	switch {
	case rejected:
		a.State = ApprovalRefused
	case revoked && a.Have == 0:
		a.State = ApprovalWithdrawn
	case a.Have >= a.Need:
		a.State = ApprovalApproved
		slices.SortFunc(expiries, time.Time.Compare)
		// Of Have approvals, Need must last: the (Have-Need)th to expire ends it.
		if over := a.Have - a.Need; over < len(expiries) {
			a.ExpiresAt = &expiries[over]
		}
	case stale:
		a.State = ApprovalOutOfDate
	case expired:
		a.State = ApprovalExpired
	case a.Request != nil || a.Have > 0:
		a.State = ApprovalAsked
	default:
		a.State = ApprovalNone
	}
}

// judged says whether an approval is of a record field: of what is material, and of the rest
// where a gate reads it. Notes are no part of it, and gates can't read those.
func judged(field string, reads func(field string) bool) bool {
	switch field {
	case "evidence", "run", "owner", "target", "outputs":
		return reads(field)
	}
	return Material(field)
}

// Stale notes in an amendment that it makes the version's approval stale, where it does;
// reads says which fields of the record the gates read.
func (d *Draft) Stale(reads func(field string) bool) {
	if d.Type != VersionAmended {
		return
	}
	for field := range d.Payload {
		if judged(field, reads) {
			d.Payload[stalesField] = true
			return
		}
	}
}

// Need is how many people the rules ask for: the most of any.
func Need(rules []ApprovalRule) int {
	n := 1
	for _, r := range rules {
		n = max(n, r.Need())
	}
	return n
}

// Withdrawal says that a version must not be used again, and why.
type Withdrawal struct {
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Incident SafeURI   `json:"incident,omitempty"`
}

// Withdraw decides that v is barred everywhere: it can't be deployed or pulled by an alias
// or a target. It returns [CodeInvalid] without a reason, and no event where it is
// withdrawn already.
func (v *Version) Withdraw(reason string, incident SafeURI) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if strings.TrimSpace(reason) == "" {
		return nil, Errorf(CodeInvalid, "say why %s is withdrawn", v.Reference()).WithFix("--reason TEXT")
	}
	if v.Withdrawn != nil {
		return nil, nil
	}
	return []Draft{{Type: VersionWithdrawn, Subject: v.Subject(), Payload: Payload{"reason": reason}.with("incident", string(incident))}}, nil
}

// Withdrawn is a version that was withdrawn, and where it still runs.
type Withdrawn struct {
	Version Version      `json:"version"`
	Running []Deployment `json:"running"`
}

// Reinstate undoes [Version.Withdraw]; no event where it is not withdrawn.
func (v *Version) Reinstate(reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if v.Withdrawn == nil {
		return nil, nil
	}
	return []Draft{{Type: VersionReinstated, Subject: v.Subject(), Payload: Payload{}.with("reason", reason)}}, nil
}

func (v *Version) withdrawnError() error {
	return Errorf(CodeRefused, "%s is withdrawn: %s", v.Reference(), v.Withdrawn.Reason).
		WithFix("take another version; if it was withdrawn by mistake: pedigree restore %s --reason …", v.Reference())
}

// approvalCheck says whether a version's approval satisfies the rules that hold at a place.
func (v *Version) approvalCheck(rules []ApprovalRule) (Check, bool) {
	if len(rules) == 0 {
		return Check{}, false
	}
	a := v.Approval
	if a == nil {
		a = &Approval{State: ApprovalNone}
	}
	ref, need, have := v.Reference(), Need(rules), a.Have
	request, approve := "pedigree request "+ref.String(), "pedigree approve "+ref.String()
	if !allowAuthor(rules) {
		approve += " (somebody else than its authors)"
	}
	if !allowAuthor(rules) { // what was allowed when an author approved may not be any more
		have -= a.authors
	}
	switch {
	case a.State == ApprovalRefused:
		return failed(CheckApproval, "pedigree show "+ref.String(), "%s was rejected", ref), true
	case a.State == ApprovalWithdrawn:
		return failed(CheckApproval, request, "the approval of %s was revoked", ref), true
	case have >= need:
		return passed(CheckApproval, "%d of %d approve it", have, need), true
	case a.Have >= need:
		return failed(CheckApproval, approve, "%d of %d approve it: what its authors say does not count any more", have, need), true
	case a.Refused != nil: // asked again, or amended since
		return failed(CheckApproval, approve, "%s was %s; %d of %d approve it since", ref, a.Refused.why(), have, need), true
	case a.State == ApprovalOutOfDate:
		return failed(CheckApproval, request, "the approval of %s is stale: its record was amended since", ref), true
	case a.State == ApprovalExpired:
		return failed(CheckApproval, request, "the approval of %s has expired", ref), true
	case a.State == ApprovalAsked || a.Have > 0:
		return failed(CheckApproval, approve, "%d of %d approve it; it waits", have, need), true
	}
	return failed(CheckApproval, request, "%s needs the approval of %d, and nobody was asked", ref, need), true
}
