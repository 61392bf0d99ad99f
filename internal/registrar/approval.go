package registrar

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/gate"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// RequestApproval asks for the approval of a version. It returns [pedigree.CodeRefused] for
// one that is withdrawn.
func (r *Registrar) RequestApproval(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, note string) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.ApprovalsRequest, ref, nil, func(_ *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		drafts, err := v.RequestApproval(note)
		return decision{drafts: drafts}, err
	})
}

// Approve says that a version may go on as it is. It returns [pedigree.CodeRefused] for
// its authors, unless every policy lets them, and [pedigree.CodeForbidden] for service
// accounts and for whoever lacks the role that a policy asks for.
func (r *Registrar) Approve(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, review pedigree.Review) (pedigree.Version, error) {
	for i, c := range review.Conditions {
		if c.Expr == "" {
			continue
		}
		if err := gate.CheckExpression(fmt.Sprintf("condition %d", i+1), c.Expr); err != nil {
			return pedigree.Version{}, err
		}
	}
	return r.review(ctx, p, ref, func(v *pedigree.Version, reviewer pedigree.Reviewer) ([]pedigree.Draft, error) {
		return v.Approve(p.ID, review, reviewer)
	})
}

// Reject says that a version may not go on, and why. It returns what [Registrar.Approve]
// returns, but lets authors do so.
func (r *Registrar) Reject(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, review pedigree.Review) (pedigree.Version, error) {
	return r.review(ctx, p, ref, func(v *pedigree.Version, reviewer pedigree.Reviewer) ([]pedigree.Draft, error) {
		return v.Reject(review, reviewer)
	})
}

func (r *Registrar) review(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, f func(v *pedigree.Version, reviewer pedigree.Reviewer) ([]pedigree.Draft, error)) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.ApprovalsDecide, ref, nil, func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		if p.Kind == pedigree.ServiceAccount {
			return decision{}, pedigree.Errorf(pedigree.CodeForbidden, "a service account can't decide on an approval").WithFix("a person signs in: pedigree login")
		}
		w, err := r.weighing(ctx, tx, v.Exact())
		if err != nil {
			return decision{}, err
		}
		for _, rule := range w.policies.AllRules() {
			if rule.Role == "" {
				continue
			}
			has, err := r.hasRole(ctx, tx, p, rule.Role, ref.Project)
			if err != nil {
				return decision{}, err
			}
			if !has {
				return decision{}, pedigree.Errorf(pedigree.CodeForbidden, "the policy asks for approvals by members of the role %s in project %s", rule.Role, ref.Project).
					WithFix("pedigree role list -p %s says who they are", ref.Project)
			}
		}
		reviewer := pedigree.Reviewer{Policies: w.policies}
		if reviewer.Authors, _, err = w.authors(ctx); err != nil {
			return decision{}, err
		}
		if reviewer.Now, err = tx.Time(ctx); err != nil {
			return decision{}, err
		}
		drafts, err := f(v, reviewer)
		return decision{drafts: drafts}, err
	})
}

// RevokeApproval takes back what was approved. It returns [pedigree.CodeRefused] where
// nothing was.
func (r *Registrar) RevokeApproval(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, comment string) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.ApprovalsRevoke, ref, nil, func(_ *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		drafts, err := v.RevokeApproval(comment)
		return decision{drafts: drafts}, err
	})
}

// MeetCondition reports that a condition of an approval is met. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) MeetCondition(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, id, comment string) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.ApprovalsRequest, ref, nil, func(_ *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		drafts, err := v.MeetCondition(id, comment)
		return decision{drafts: drafts}, err
	})
}

// Requests lists the versions whose approval is asked for and not decided, the newest
// request first, each with its request. project "" means all that the caller may read.
func (r *Registrar) Requests(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Summary], error) {
	out := pedigree.List[pedigree.Summary]{Items: []pedigree.Summary{}}
	before := int64(-1)
	if err := decodeCursor(page.Cursor, &before); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		id := ""
		var err error
		if project != "" {
			if err = r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err == nil {
				id, err = tx.ProjectID(ctx, project)
			}
		} else {
			err = r.authorise(ctx, tx, p, pedigree.SignedIn, "")
		}
		if err != nil {
			return err
		}
		versions, waiting, err := tx.Requests(ctx, id, before, page.Size()+1)
		if err != nil {
			return err
		}
		if len(versions) > page.Size() {
			versions = versions[:page.Size()]
			out.Next = encodeCursor(waiting[page.Size()-1].Request.Seq)
		}
		waits := map[int64]*pedigree.Waiting{}
		for i, seq := range versions {
			waits[seq] = &waiting[i]
		}
		items, err := tx.Summaries(ctx, versions)
		if err != nil {
			return err
		}
		reach, err := r.reach(ctx, tx, p, pedigree.RecordsRead)
		if err != nil {
			return err
		}
		for _, s := range items { // what the caller may not see is left out, and no refusal
			id, err := r.knownProject(ctx, tx, s.Project)
			if err != nil {
				return err
			}
			if reach.has(id) {
				s.Waiting = waits[s.Seq]
				out.Items = append(out.Items, s)
			}
		}
		out.AsOf = tx.AsOf()
		return nil
	})
	return out, err
}

// Conditions lists the conditions of approvals that are not met, those of the newest approval
// first; of owners, where there are some. project "" means all that the caller may read.
func (r *Registrar) Conditions(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, owners []string, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.OpenCondition], error) {
	out := pedigree.List[pedigree.OpenCondition]{Items: []pedigree.OpenCondition{}}
	from := struct {
		Seq int64 `json:"seq"` // of the approval, and the last place in it of the page before
		N   int   `json:"n"`
	}{Seq: math.MaxInt64}
	if err := decodeCursor(page.Cursor, &from); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		projects, err := r.readable(ctx, tx, p, project)
		if err != nil {
			return err
		}
		out.AsOf = tx.AsOf()
		for upto := from.Seq; upto >= 0; {
			some, last, err := tx.OpenConditions(ctx, projects, upto)
			if err != nil {
				return err
			}
			for _, c := range some {
				if seq, n := c.Place(); seq == from.Seq && n <= from.N || len(owners) > 0 && !slices.Contains(owners, c.Owner) {
					continue
				}
				if len(out.Items) == page.Size() {
					from.Seq, from.N = out.Items[page.Size()-1].Place()
					out.Next = encodeCursor(from)
					return nil
				}
				out.Items = append(out.Items, c)
			}
			upto = last - 1
		}
		return nil
	})
	return out, err
}

// readable are the ids of the projects that a list is about: the one that is named, or all
// whose records the caller may read; nil means every one.
func (r *Registrar) readable(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, project pedigree.ProjectName) ([]string, error) {
	if project != "" {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return nil, err
		}
		id, err := tx.ProjectID(ctx, project)
		return []string{id}, err
	}
	if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
		return nil, err
	}
	reach, err := r.reach(ctx, tx, p, pedigree.RecordsRead)
	return reach.projects, err
}

// Withdraw bars a version everywhere, and returns it with the deployments that still run
// it.
func (r *Registrar) Withdraw(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, reason string, incident pedigree.SafeURI) (pedigree.Withdrawn, error) {
	v, err := r.changeVersion(ctx, p, pedigree.VersionsWithdraw, ref, nil, func(_ *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		drafts, err := v.Withdraw(reason, incident)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Withdrawn{}, err
	}
	runs, err := r.Where(ctx, p, v.Exact(), pedigree.At{})
	return pedigree.Withdrawn{Version: v, Running: runs.Items}, err
}
