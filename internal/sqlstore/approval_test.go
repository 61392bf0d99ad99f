package sqlstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pedigree-ml/pedigree"
)

// lifecycle writes a random history of what people say of versions and where these run,
// by the same decisions as the registrar.
type lifecycle struct {
	*testing.T
	s    *Store
	now  time.Time // the store's clock
	rand *mathrand.Rand
	n    int
}

// versions and targets are those of every history.
const versions = 5

var targetNames = []pedigree.TargetName{"prod/a", "prod/b", "dev/a"}

// maxValid is the most minutes that an approval of these histories holds.
const maxValid = 3

func mustLive(t *testing.T, database string, seed uint64) *lifecycle {
	t.Helper()
	l := &lifecycle{T: t, now: time.Now().Truncate(time.Microsecond).Add(time.Second), rand: mathrand.New(mathrand.NewPCG(seed, 1))}
	var err error
	l.s, err = Open(context.Background(), Config{Database: database, Now: func() time.Time { return l.now }, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.s.Close() })
	project, model := mustBegin(t, l.s)
	for range versions {
		mustAppend(t, l.s, register(model))
	}
	for i, name := range targetNames {
		spec := pedigree.TargetSpec{Kind: pedigree.TargetOnline, Confirm: []pedigree.Confirm{pedigree.ConfirmNone, pedigree.ConfirmReport}[i%2]}
		drafts, err := pedigree.CreateTarget(pedigree.Project{ID: project}, fmt.Sprintf("tgt_%d", i), name, spec)
		l.append("ann", drafts, err)
	}
	return l
}

// append writes what was decided; a refusal is no fault, the next step will do.
func (l *lifecycle) append(actor string, drafts []pedigree.Draft, err error) {
	l.Helper()
	if pedigree.CodeOf(err) == pedigree.CodeInternal {
		l.Fatal(err)
	}
	if err != nil || len(drafts) == 0 {
		return
	}
	if _, err := l.s.Append(context.Background(), Append{Principal: pedigree.Principal{ID: actor}, Drafts: drafts}); err != nil {
		l.Fatal(err)
	}
}

// read runs f on one moment.
func (l *lifecycle) read(at pedigree.At, f func(ctx context.Context, tx *Tx) error) {
	l.Helper()
	ctx := context.Background()
	if err := l.s.Read(ctx, at, func(tx *Tx) error { return f(ctx, tx) }); err != nil {
		l.Fatal(err)
	}
}

func (l *lifecycle) step() {
	l.Helper()
	var v pedigree.Version
	var policies pedigree.Policies
	var place pedigree.Place
	l.read(pedigree.At{}, func(ctx context.Context, tx *Tx) (err error) {
		if v, err = tx.Version(ctx, "default", "fraud", "mdl_1", pedigree.VersionNumber(1+l.rand.IntN(versions))); err != nil {
			return err
		}
		if policies, err = tx.Policies(ctx, "prj_1", "default"); err != nil {
			return err
		}
		place, err = tx.Place(ctx, fmt.Sprintf("tgt_%d", l.rand.IntN(len(targetNames))))
		return err
	})
	who := []string{"ann", "bob", "eve"}[l.rand.IntN(3)]
	reviewer := pedigree.Reviewer{Policies: policies, Now: l.now}
	var drafts []pedigree.Draft
	var err error
	switch k := l.rand.IntN(24); k {
	case 0, 1:
		drafts, err = v.RequestApproval(fmt.Sprint(l.rand.Int()))
	case 2, 3, 4, 5, 6, 7:
		drafts, err = v.Approve(who, pedigree.Review{}, reviewer)
	case 8, 9:
		drafts, err = v.Reject(pedigree.Review{Comment: "no"}, reviewer)
	case 10:
		drafts, err = v.RevokeApproval("no more")
	case 11, 12:
		drafts, err = v.Amend(pedigree.Amend{Record: pedigree.Record{Metrics: []pedigree.Metric{{Name: "auc", Value: pedigree.Float(l.rand.Float64())}}, Owner: "team:" + who}})
		for i := range drafts {
			drafts[i].Stale(func(string) bool { return false })
		}
	case 13:
		drafts, err = v.Withdraw("bad", "")
	case 14, 15:
		drafts, err = v.Reinstate("good")
	case 16, 17:
		p := pedigree.Policy{}
		if k == 17 {
			p.Project = "default"
		}
		if l.rand.IntN(4) > 0 {
			p.Approvals = &pedigree.ApprovalRule{Count: l.rand.IntN(3), ValidFor: pedigree.Duration(l.rand.IntN(maxValid+1)) * pedigree.Duration(time.Minute)}
		}
		id := map[pedigree.ProjectName]string{"default": "prj_1"}[p.Project]
		if l.rand.IntN(6) == 0 && len(policies) == 2 {
			drafts, err = p.Remove(pedigree.PolicySubject(id), "")
		} else {
			drafts, err = p.Apply(pedigree.PolicySubject(id), nil)
		}
	case 18, 19, 20, 21:
		l.n++
		role := []pedigree.DeploymentRole{pedigree.RolePrimary, pedigree.RolePrimary, pedigree.RoleCanary, pedigree.RoleShadow}[l.rand.IntN(4)]
		drafts, err = place.Deploy(fmt.Sprintf("dep_%d", l.n), &v, pedigree.Deploy{Role: role}, pedigree.Decision{}, "")
	case 22, 23:
		if len(place.Standing) == 0 {
			return
		}
		d := &place.Standing[l.rand.IntN(len(place.Standing))]
		switch l.rand.IntN(3) {
		case 0:
			drafts, err = place.Activate(d, &pedigree.Version{}, "")
		case 1:
			drafts, err = d.Fail("no", "")
		case 2:
			drafts, err = d.End("no more")
		}
	}
	l.append(who, drafts, err)
}

// found are the numbers of the versions that a filter finds, in their order.
func (l *lifecycle) found(ctx context.Context, tx *Tx, filter, order string) (out []pedigree.VersionNumber) {
	l.Helper()
	f, err := pedigree.ParseFilter(filter)
	if err != nil {
		l.Fatal(err)
	}
	by, err := pedigree.ParseOrder(order)
	if err != nil {
		l.Fatal(err)
	}
	seqs, _, err := tx.Search(ctx, Search{Filter: f, Order: by, Limit: 100, Now: l.now})
	if err != nil {
		l.Fatal(err)
	}
	for _, seq := range seqs {
		_, n, err := tx.VersionAt(ctx, seq)
		if err != nil {
			l.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

var states = []pedigree.ApprovalState{
	pedigree.ApprovalNone, pedigree.ApprovalAsked, pedigree.ApprovalApproved, pedigree.ApprovalRefused, pedigree.ApprovalWithdrawn, pedigree.ApprovalExpired, pedigree.ApprovalOutOfDate,
}

// agree compares what SQL says of every version with what the events say, at one moment,
// and counts the states that were met.
func (l *lifecycle) agree(at pedigree.At, met map[pedigree.ApprovalState]int) {
	l.Helper()
	l.read(at, func(ctx context.Context, tx *Tx) error {
		all := l.found(ctx, tx, "", "version")
		want := map[string][]pedigree.VersionNumber{}
		var waiting []int64
		byState := map[pedigree.VersionNumber]pedigree.ApprovalState{}
		var seqs []int64
		versions := map[int64]pedigree.Version{}
		for _, n := range all {
			v, err := tx.Version(ctx, "default", "fraud", "mdl_1", n)
			if err != nil {
				return err
			}
			state := pedigree.ApprovalNone
			if v.Approval != nil {
				state = v.Approval.State
				if r := v.Approval.Request; r != nil && v.Withdrawn == nil && slices.Contains([]pedigree.ApprovalState{pedigree.ApprovalAsked, pedigree.ApprovalExpired, pedigree.ApprovalOutOfDate}, state) {
					waiting = append(waiting, r.Seq)
				}
			}
			met[state]++
			byState[n] = state
			seqs, versions[v.Seq] = append(seqs, v.Seq), v
			note := func(filter string, yes bool) {
				if want[filter] == nil {
					want[filter] = []pedigree.VersionNumber{}
				}
				if yes {
					want[filter] = append(want[filter], n)
				}
			}
			for _, s := range states {
				note(fmt.Sprintf("approval = '%s'", s), s == state)
			}
			note("approval != 'approved'", state != pedigree.ApprovalApproved)
			note("approval IN ('stale', 'expired')", state == pedigree.ApprovalOutOfDate || state == pedigree.ApprovalExpired)
			note("withdrawn = true", v.Withdrawn != nil)
			note("withdrawn = false", v.Withdrawn == nil)
			complete := 0
			for _, c := range v.Completeness {
				if c.Stage == pedigree.StageDeploy {
					complete = c.Have
				}
			}
			for k := range pedigree.RecordPoints + 1 {
				note(fmt.Sprintf("complete = %d", k), k == complete)
			}
			runs, err := tx.Deployments(ctx, DeploymentQuery{Model: "mdl_1", Number: n, Before: -1, Limit: 1000})
			if err != nil {
				return err
			}
			active := map[pedigree.TargetName]bool{}
			for _, d := range runs {
				if d.State == pedigree.DeploymentActive {
					active[d.Target] = true
				}
			}
			for _, name := range targetNames {
				note(fmt.Sprintf("deployed_to = '%s'", name), active[name])
			}
			note("deployed_to IS NULL", len(active) == 0)
			note("deployed_to IS NOT NULL", len(active) > 0)
			note("deployed_to LIKE 'prod/%'", active["prod/a"] || active["prod/b"])
		}
		for filter, numbers := range want {
			if got := l.found(ctx, tx, filter, "version"); !slices.Equal(got, numbers) {
				l.Errorf("as of %q: %s finds %v, the events say %v", at, filter, got, numbers)
			}
		}
		for _, order := range []string{"approval, version", "approval DESC, version"} {
			var got []pedigree.ApprovalState
			for _, n := range l.found(ctx, tx, "", order) {
				got = append(got, byState[n])
			}
			sorted := slices.Clone(got)
			slices.Sort(sorted)
			if order != "approval, version" {
				slices.Reverse(sorted)
			}
			if !slices.Equal(got, sorted) {
				l.Errorf("as of %q by %s: %v", at, order, got)
			}
		}
		summaries, err := tx.Summaries(ctx, seqs)
		if err != nil {
			return err
		}
		for _, s := range summaries {
			v := versions[s.Seq]
			var state pedigree.ApprovalState
			if v.Approval != nil {
				state = v.Approval.State
			}
			if s.Approval != state || s.Withdrawn != (v.Withdrawn != nil) {
				l.Errorf("as of %q: the list says of version %d %q, withdrawn %v; the events %q, %v", at, s.Number, s.Approval, s.Withdrawn, state, v.Withdrawn)
			}
		}
		seqs, inbox, err := tx.Requests(ctx, "prj_1", -1, 100)
		var requests []int64
		for i, w := range inbox {
			requests = append(requests, w.Request.Seq)
			if a := versions[seqs[i]].Approval; a == nil || a.Request == nil || w != (pedigree.Waiting{Request: *a.Request, Have: a.Have, Need: a.Need}) {
				l.Errorf("as of %q: the inbox says %+v of a version, the events %+v", at, w, a)
			}
		}
		slices.Sort(waiting)
		slices.Reverse(waiting)
		if !slices.Equal(requests, waiting) {
			l.Errorf("as of %q: the inbox has the requests %v, the events say %v", at, requests, waiting)
		}
		return err
	})
}

// TestApprovalAgrees: the state of an approval that a search computes is the one that the
// events make, now, as of every event, and at every time before and after an approval
// expires; so is what a version's withdrawal, its completeness and where it runs say. A
// rebuild changes none of it.
func TestApprovalAgrees(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		l := mustLive(t, database, 20261102)
		for range 60 {
			l.step()
		}
		size, err := l.s.Head(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		met := map[pedigree.ApprovalState]int{}
		for seq := range size {
			l.agree(pedigree.At{Seq: &seq}, met)
		}
		begun := l.now
		for minute := range time.Duration(maxValid + 1) {
			for _, off := range []time.Duration{-time.Nanosecond, 0, time.Nanosecond, time.Microsecond} {
				then := begun.Add(minute*time.Minute + off)
				if minute > 0 { // before, the log may not have begun
					l.agree(pedigree.At{Time: then}, met)
				}
				l.now = then
				l.agree(pedigree.At{}, met)
			}
		}
		for _, s := range states {
			if met[s] == 0 {
				t.Errorf("no version was %s at any moment: the history shows nothing of it", s)
			}
		}
		var before, after bytes.Buffer
		if err := l.s.Views(context.Background(), &before); err != nil {
			t.Fatal(err)
		}
		if err := l.s.Rebuild(context.Background(), func(int64, int64) {}); err != nil {
			t.Fatal(err)
		}
		if err := l.s.Views(context.Background(), &after); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before.String(), after.String()); d != "" {
			t.Errorf("a rebuild changed the tables:\n%s", d)
		}
	})
}

// TestCarryConditions opens a database of the release before, which does not say of an
// approval that it came with conditions.
func TestCarryConditions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, old := context.Background(), mustOld(t, database, 11)
		for _, statement := range []string{
			"INSERT INTO view_approvals (subject, from_seq, kind, actor) VALUES (1, 2, 'requested', ''), (1, 3, 'approved', 'ann'), (1, 4, 'approved', 'bob'), (1, 5, 'rejected', 'eve')",
			"INSERT INTO log_fields (seq, name, value) VALUES (2, 'note', '\"n\"'), (3, 'comment', '\"c\"'), (4, 'conditions', '[]'), (4, 'comment', '\"c\"'), (5, 'comment', '\"c\"')",
		} {
			if _, err := old.write.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := old.closeDatabases(); err != nil {
			t.Fatal(err)
		}
		var got []int64
		err := mustOpen(t, database).Read(ctx, pedigree.At{}, func(tx *Tx) error {
			return tx.each(ctx, "read approvals", "SELECT from_seq FROM view_approvals WHERE conditional = 1 ORDER BY from_seq", nil, func(rows rows) error {
				var seq int64
				err := rows.Scan(&seq)
				got = append(got, seq)
				return err
			})
		})
		if err != nil || !slices.Equal(got, []int64{4}) {
			t.Errorf("with conditions: %v, %v", got, err)
		}
	})
}
