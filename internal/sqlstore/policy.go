package sqlstore

import (
	"context"

	"github.com/pedigree-ml/pedigree"
)

// policy applies what happens to the policy of a scope.
func (a *applier) policy() {
	a.out.exec("UPDATE view_policies SET to_seq = $1 WHERE scope = $2 AND to_seq IS NULL", a.e.Seq, a.e.Subject)
	if a.e.Type == pedigree.PolicyRemoved {
		return
	}
	need := 0 // no approval
	var rule *pedigree.ApprovalRule
	if a.decode("approvals", &rule); rule != nil {
		need = rule.Need()
	}
	a.out.insert(viewPolicies, a.e.Subject, a.e.Seq, need)
}

// Policies reads the policies that hold for a project at tx's moment, the instance's first,
// each as far as decisions rest on it: without its description. projectID "" asks for the
// instance's alone. It notes that the decision rests on them.
func (tx *Tx) Policies(ctx context.Context, projectID string, project pedigree.ProjectName) (pedigree.Policies, error) {
	scopes := policyScopes(projectID)
	found, err := tx.policySeqs(ctx, projectID, scopes)
	if err != nil {
		return nil, err
	}
	var out pedigree.Policies
	for i, scope := range scopes {
		if tx.current {
			tx.checks[scope] = found.seqs[i]
		}
		if found.applied[i] < 0 || i == 1 && scope == scopes[0] {
			continue
		}
		p, err := tx.policyAt(ctx, found.applied[i])
		if err != nil {
			return nil, err
		}
		if i == 1 {
			p.Project = project
		}
		out = append(out, p)
	}
	return out, nil
}

// policySeqs says which policies hold.
func (tx *Tx) policySeqs(ctx context.Context, projectID string, scopes [2]string) (found rememberedPolicies, err error) {
	if tx.Recalled() {
		found, ok := recall(&tx.s.memory, &tx.s.memory.policies, projectID)
		if !ok {
			return found, ErrForgotten
		}
		return found, nil
	}
	columns := func(n string) string {
		return "coalesce((SELECT seq FROM view_subjects WHERE subject = " + n + "), -1), coalesce((SELECT from_seq FROM view_policies WHERE scope = " + n + " AND " + tx.open("") + "), -1)"
	}
	err = tx.row(ctx, "SELECT "+columns("$1")+", "+columns("$2"), []any{scopes[0], scopes[1]}, &found.seqs[0], &found.applied[0], &found.seqs[1], &found.applied[1])
	if err != nil {
		return found, tx.s.d.translate(err, "read policies")
	}
	if tx.current {
		keep(&tx.s.memory, &tx.s.memory.policies, projectID, found)
	}
	return found, nil
}

// policyAt reads the policy that an event applied, without its description: what is left
// never changes, and is kept.
func (tx *Tx) policyAt(ctx context.Context, seq int64) (pedigree.Policy, error) {
	if p, ok := tx.s.policies.Load(seq); ok {
		return p.(pedigree.Policy), nil
	}
	p, err := tx.Policy(ctx, seq)
	p.Description = "" // may be erased, by another process too
	if err == nil {
		tx.s.policies.Store(seq, p)
	}
	return p, err
}

// Policy reads the policy that an event applied, with its description; whose it is stays
// open.
func (tx *Tx) Policy(ctx context.Context, seq int64) (pedigree.Policy, error) {
	var p pedigree.Policy
	events, err := tx.events(ctx, seq, seq)
	if err == nil && len(events) == 1 {
		err = pedigree.FoldPolicy(&p, &events[0])
	}
	return p, err
}
