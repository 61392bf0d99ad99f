package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// approval applies what is asked and said about a version. A row of view_approvals is one
// opinion, or the request, for as long as it counts.
func (a *applier) approval() {
	end := func(cond string, args ...any) {
		a.out.exec("UPDATE view_approvals SET to_seq = $1 WHERE subject = $2 AND to_seq IS NULL"+cond, append([]any{a.e.Seq, a.subject}, args...)...)
	}
	insert := func(kind, actor string, expires any) {
		conditional := 0
		if a.e.Field("conditions") != nil {
			conditional = 1
		}
		a.out.insert(viewApprovals, a.subject, a.e.Seq, kind, actor, expires, conditional)
	}
	switch a.e.Type {
	case pedigree.ApprovalRequested:
		end("")
		insert("requested", "", nil)
	case pedigree.ApprovalGranted:
		end(" AND (kind = 'revoked' OR actor = $3)", a.e.Actor)
		var expires any
		var t *time.Time
		if a.decode("expires_at", &t); t != nil {
			expires = micros(*t)
		}
		insert(string(pedigree.VerdictApprove), a.e.Actor, expires)
	case pedigree.ApprovalRejected:
		end(" AND (kind = 'revoked' OR actor = $3)", a.e.Actor)
		insert(string(pedigree.VerdictReject), a.e.Actor, nil)
	case pedigree.ApprovalRevoked:
		end(" AND kind IN ('approved', 'revoked')")
		insert(string(pedigree.VerdictRevoke), "", nil)
	}
}

// stale notes that an amendment changed what was judged.
func (a *applier) stale() {
	var stales bool
	if a.decode("stales_approval", &stales); stales {
		a.out.exec("UPDATE view_approvals SET stale_seq = $1 WHERE subject = $2 AND to_seq IS NULL AND stale_seq IS NULL AND kind IN ('approved', 'rejected')", a.e.Seq, a.subject)
	}
}

// approvalTypes are the events that make the state of an approval.
var approvalTypes = []pedigree.EventType{
	pedigree.ApprovalRequested, pedigree.ApprovalGranted, pedigree.ApprovalRejected, pedigree.ApprovalRevoked, pedigree.ApprovalConditionMet, pedigree.VersionAmended,
}

// Approval reads the approval of a version at tx's moment; nil where nobody was ever asked
// and no rule asks.
func (tx *Tx) Approval(ctx context.Context, v *pedigree.Version, policies pedigree.Policies) (*pedigree.Approval, error) {
	rules := policies.AllRules()
	var count int
	if err := tx.row(ctx, "SELECT count(*) FROM view_approvals WHERE subject = $1 AND from_seq <= $2", []any{v.Seq, tx.last}, &count); err != nil {
		return nil, tx.s.d.translate(err, "read an approval")
	}
	var events []pedigree.Event
	var err error
	if count > 0 {
		if events, err = tx.subjectEvents(ctx, []string{v.Subject()}, approvalTypes); err != nil {
			return nil, err
		}
	} else if len(rules) == 0 {
		return nil, nil
	}
	now, err := tx.Time(ctx)
	if err != nil {
		return nil, err
	}
	return pedigree.FoldApproval(events, pedigree.Need(rules), now)
}

// subjectEvents reads the events of some types about subjects up to tx's moment, oldest
// first, with their payloads.
func (tx *Tx) subjectEvents(ctx context.Context, subjects []string, types []pedigree.EventType) ([]pedigree.Event, error) {
	in, args := list(nil, subjects)
	cond := "e.subject IN (" + in + ")"
	in, args = list(args, types)
	args = append(args, tx.last)
	cond += " AND e.type IN (" + in + ") AND e.seq <= $" + itoa(len(args))
	var events []pedigree.Event
	err := tx.each(ctx, "read events", "SELECT e.envelope FROM log_events e WHERE "+cond+" ORDER BY e.seq", args, func(rows rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(text)
		events = append(events, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	fields := map[int64][]pedigree.Field{}
	err = tx.each(ctx, "read events", "SELECT f.seq, f.name, f.value, f.salt, f.commitment FROM log_events e JOIN log_fields f ON f.seq = e.seq WHERE "+cond+" ORDER BY f.seq, f.name", args, scanFields(fields))
	for i := range events {
		events[i].Fields = fields[events[i].Seq]
	}
	return events, err
}

// withdrawal reads why a version that is withdrawn at tx's moment is so.
func (tx *Tx) withdrawal(ctx context.Context, v *pedigree.Version) error {
	events, err := tx.subjectEvents(ctx, []string{v.Subject()}, []pedigree.EventType{pedigree.VersionWithdrawn})
	if err != nil || len(events) == 0 {
		return err
	}
	e := &events[len(events)-1]
	v.Withdrawn = &pedigree.Withdrawal{Seq: e.Seq, At: e.Time, By: e.Actor, Reason: e.String("reason"), Incident: pedigree.SafeURI(e.String("incident"))}
	return nil
}

// Authors are the actors that registered and amended a version and last asked for its
// approval, each with the events in which it did, oldest first.
func (tx *Tx) Authors(ctx context.Context, v *pedigree.Version) (map[string][]int64, error) {
	out := map[string][]int64{}
	err := tx.each(ctx, "read a version's authors", "SELECT e.envelope FROM log_events e WHERE e.subject = $1 AND e.seq <= $2 AND e.type IN ($3, $4, $5) ORDER BY e.seq",
		[]any{v.Subject(), tx.last, string(pedigree.VersionRegistered), string(pedigree.VersionAmended), string(pedigree.ApprovalRequested)}, func(rows rows) error {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			e, err := pedigree.ParseEnvelope(text)
			if e.Type != pedigree.ApprovalRequested || v.Approval == nil || v.Approval.Request == nil || v.Approval.Request.Seq == e.Seq {
				out[e.Actor] = append(out[e.Actor], e.Seq)
			}
			return err
		})
	return out, err
}

// approvalStale is the condition that an opinion is stale at tx's moment.
func (tx *Tx) approvalStale(alias string) string {
	if tx.current {
		return alias + "stale_seq IS NOT NULL"
	}
	return fmt.Sprintf("coalesce(%sstale_seq <= %d, 1 = 0)", alias, tx.last)
}

// opinions is the expression of how many opinions about v are so, as of tx's moment.
func (tx *Tx) opinions(cond string) string {
	return "(SELECT count(*) FROM view_approvals o WHERE o.subject = v.seq AND " + tx.open("o.") + " AND " + cond + ")"
}

// lives is the condition that an opinion has not expired at a time in microseconds.
func lives(now int64) string { return fmt.Sprintf("(o.expires IS NULL OR o.expires > %d)", now) }

// approvers is the expression of how many people approve v as it is at a time in
// microseconds.
func (tx *Tx) approvers(now int64) string {
	return tx.opinions("o.kind = 'approved' AND NOT " + tx.approvalStale("o.") + " AND " + lives(now))
}

// approvalState is the expression of the state of v's approval at a time in microseconds,
// as [pedigree.FoldApproval] has it.
func (tx *Tx) approvalState(now int64) string {
	rows, stale, have := tx.opinions, tx.approvalStale("o."), tx.approvers(now)
	return "CASE WHEN " + rows("o.kind = 'rejected' AND NOT "+stale) + " > 0 THEN 'rejected'" +
		" WHEN " + have + " = 0 AND " + rows("o.kind = 'revoked'") + " > 0 THEN 'revoked'" +
		" WHEN " + have + " >= " + tx.need("1") + " THEN 'approved'" +
		" WHEN " + rows("o.kind = 'approved' AND "+stale) + " > 0 THEN 'stale'" +
		" WHEN " + rows("o.kind = 'approved' AND NOT "+stale+" AND NOT "+lives(now)) + " > 0 THEN 'expired'" +
		" WHEN " + have + " + " + rows("o.kind = 'requested'") + " > 0 THEN 'requested' ELSE 'none' END"
}

// need is the expression of how many people must approve v, at least the given number.
func (tx *Tx) need(least string) string {
	return "coalesce((SELECT max(q.need) FROM view_policies q WHERE q.scope IN ('" + pedigree.PolicySubject("") + "', 'policy:' || m.project) AND " + tx.open("q.") + " AND q.need > " + least + "), " + least + ")"
}

// approvalStates reads the state of the approval of each version, by seq; those that no rule asks
// for and nobody was asked about are absent. needed says where a rule asks.
func (tx *Tx) approvalStates(ctx context.Context, seqs []int64) (states map[int64]pedigree.ApprovalState, needed map[int64]bool, err error) {
	states, needed = map[int64]pedigree.ApprovalState{}, map[int64]bool{}
	now, err := tx.Time(ctx)
	if err != nil {
		return nil, nil, err
	}
	in, args := list(nil, seqs)
	text := "SELECT v.seq, " + tx.approvalState(micros(now)) + ", " + tx.need("0") + " FROM view_versions v JOIN view_models m ON m.id = v.model WHERE v.seq IN (" + in + ")"
	err = tx.each(ctx, "read approvals", text, args, func(rows rows) error {
		var seq, need int64
		var state string
		err := rows.Scan(&seq, &state, &need)
		if states[seq], needed[seq] = pedigree.ApprovalState(state), need > 0; need == 0 && state == string(pedigree.ApprovalNone) {
			delete(states, seq)
		}
		return err
	})
	return states, needed, err
}

// Requests lists the versions whose approval is asked for at tx's moment, in the order of
// their requests, newest first and before the given seq (-1 for all), and with each what
// waits; those that were withdrawn since wait for nobody. projectID "" means all.
func (tx *Tx) Requests(ctx context.Context, projectID string, before int64, limit int) (versions []int64, waiting []pedigree.Waiting, err error) {
	if before < 0 {
		before = tx.last + 1
	}
	now, err := tx.Time(ctx)
	if err != nil {
		return nil, nil, err
	}
	text := "SELECT v.seq, r.from_seq, " + tx.approvers(micros(now)) + ", " + tx.need("1") + " FROM view_approvals r JOIN view_versions v ON v.seq = r.subject JOIN view_models m ON m.id = v.model WHERE r.kind = 'requested' AND " + tx.open("r.") +
		" AND " + tx.alive("v.") + " AND NOT " + tx.flagged("withdrawn") + " AND r.from_seq < $1 AND " + tx.approvalState(micros(now)) + " IN ('requested', 'stale', 'expired')"
	args := []any{before, limit}
	if projectID != "" {
		text += " AND m.project = $3"
		args = append(args, projectID)
	}
	err = tx.each(ctx, "read requests", text+" ORDER BY r.from_seq DESC LIMIT $2", args, func(rows rows) error {
		var v int64
		var w pedigree.Waiting
		err := rows.Scan(&v, &w.Request.Seq, &w.Have, &w.Need)
		versions, waiting = append(versions, v), append(waiting, w)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return versions, waiting, tx.readRequests(ctx, waiting)
}

// OpenConditions lists the conditions that are not met at tx's moment, as
// [pedigree.FoldApproval] has it, of a few approvals: the newest of those up to the given seq
// in projects, by id (nil means all). Those of a version that was withdrawn since wait for
// nobody. last is the oldest approval that was looked at, -1 where there are no older ones.
func (tx *Tx) OpenConditions(ctx context.Context, projects []string, upto int64) (out []pedigree.OpenCondition, last int64, err error) {
	type approval struct {
		seq     int64
		subject string
		version pedigree.OpenCondition
	}
	const most = 64
	if projects != nil && len(projects) == 0 {
		return nil, -1, nil
	}
	args := []any{upto, most}
	text := "SELECT r.from_seq, v.model, v.number, p.name, n.name FROM view_approvals r JOIN view_versions v ON v.seq = r.subject JOIN view_models m ON m.id = v.model" +
		" JOIN view_projects p ON p.id = m.project JOIN view_names n ON n.model = v.model WHERE r.conditional = 1 AND r.from_seq <= $1 AND " +
		tx.open("r.") + " AND " + tx.open("n.") + " AND " + tx.alive("v.") + " AND NOT " + tx.flagged("withdrawn")
	if projects != nil {
		var in string
		in, args = list(args, projects)
		text += " AND m.project IN (" + in + ")"
	}
	var approvals []approval
	var subjects []string
	err = tx.each(ctx, "read conditions", text+" ORDER BY r.from_seq DESC LIMIT $2", args, func(rows rows) error {
		var a approval
		var model string
		err := rows.Scan(&a.seq, &model, (*int64)(&a.version.Version), (*string)(&a.version.Project), (*string)(&a.version.Model))
		a.subject = pedigree.VersionSubject(model, a.version.Version)
		approvals, subjects = append(approvals, a), append(subjects, a.subject)
		return err
	})
	if err != nil || len(approvals) == 0 {
		return nil, -1, err
	}
	events, err := tx.subjectEvents(ctx, compact(subjects), approvalTypes)
	if err != nil {
		return nil, -1, err
	}
	bySubject := map[string][]pedigree.Event{}
	for _, e := range events {
		bySubject[e.Subject] = append(bySubject[e.Subject], e)
	}
	now, err := tx.Time(ctx)
	if err != nil {
		return nil, -1, err
	}
	for i := range approvals {
		a := &approvals[i]
		state, err := pedigree.FoldApproval(bySubject[a.subject], 1, now) // how many must approve says nothing about conditions
		if err != nil {
			return nil, -1, err
		}
		for _, c := range state.Open(a.seq) {
			c.Project, c.Model, c.Version = a.version.Project, a.version.Model, a.version.Version
			out = append(out, c)
		}
	}
	if len(approvals) < most {
		return out, -1, nil
	}
	return out, approvals[most-1].seq, nil
}

// readRequests fills in who asked, when, and with which words.
func (tx *Tx) readRequests(ctx context.Context, waiting []pedigree.Waiting) error {
	for chunk := range slices.Chunk(waiting, 128) {
		bySeq := map[int64]*pedigree.ApprovalRequest{}
		var seqs []int64
		for i := range chunk {
			r := &chunk[i].Request
			bySeq[r.Seq], seqs = r, append(seqs, r.Seq)
		}
		in, args := list(nil, seqs)
		text := "SELECT e.envelope, coalesce(f.value, 'null') FROM log_events e LEFT JOIN log_fields f ON f.seq = e.seq AND f.name = 'note' WHERE e.seq IN (" + in + ")"
		err := tx.each(ctx, "read requests", text, args, func(rows rows) error {
			var envelope, note string
			if err := rows.Scan(&envelope, &note); err != nil {
				return err
			}
			e, err := pedigree.ParseEnvelope(envelope)
			if err != nil {
				return err
			}
			r := bySeq[e.Seq]
			r.At, r.By = e.Time, e.Actor
			return json.Unmarshal([]byte(note), &r.Note)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Time is the moment that tx is about: the clock's for now, as it was first read, the time
// that was asked about, or that of the event that was.
func (tx *Tx) Time(ctx context.Context) (time.Time, error) {
	switch {
	case !tx.at.IsZero():
		return tx.at, nil
	case tx.current:
		tx.at = tx.s.now().UTC()
		return tx.at, nil
	}
	var us sql.NullInt64
	if err := tx.row(ctx, "SELECT max(time) FROM log_events WHERE seq = $1", []any{tx.last}, &us); err != nil {
		return time.Time{}, tx.s.d.translate(err, "read the time of an event")
	}
	return fromMicros(us.Int64), nil
}
