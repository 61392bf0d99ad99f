package sqlstore

import (
	"context"

	"github.com/pedigree-ml/pedigree"
)

// execution applies the beginning and the end of a batch run.
func (a *applier) execution() {
	if a.e.Type == pedigree.ExecutionFinished {
		a.out.exec("UPDATE view_executions SET end_seq = $1 WHERE id = $2", a.e.Seq, a.e.Subject)
		return
	}
	var n int64
	a.decode("version", &n)
	a.out.insert(viewExecutions, a.e.Subject, a.e.Seq, a.e.String("target"), a.e.String("deployment"), a.e.String("model"), n)
}

// ExecutionQuery chooses executions.
type ExecutionQuery struct {
	Target, Model string // ids
	Number        pedigree.VersionNumber
	ID            string
	// After is a seq after which they began, -1 for all; Before one before which, -1 for
	// the last.
	After, Before int64
	Limit         int
}

// Executions lists executions, newest first.
func (tx *Tx) Executions(ctx context.Context, q ExecutionQuery) ([]pedigree.Execution, error) {
	if !isID(q.ID) {
		return nil, nil
	}
	if q.Before < 0 {
		q.Before = tx.last + 1
	}
	args := []any{tx.last, q.Before, q.After}
	text := `SELECT x.id, p.name, t.name, (SELECT n.name FROM view_names n WHERE n.model = x.model AND n.from_seq <= $1 ORDER BY n.from_seq DESC LIMIT 1)
FROM view_executions x JOIN view_targets t ON t.id = x.target JOIN view_projects p ON p.id = t.project WHERE x.seq <= $1 AND x.seq < $2 AND x.seq > $3`
	for cond, v := range map[string]string{"x.target": q.Target, "x.model": q.Model, "x.id": q.ID} {
		if v != "" {
			args = append(args, v)
			text += " AND " + cond + " = $" + itoa(len(args))
		}
	}
	if q.Number != 0 {
		args = append(args, int64(q.Number))
		text += " AND x.number = $" + itoa(len(args))
	}
	args = append(args, q.Limit)
	var out []pedigree.Execution
	var ids []string
	err := tx.each(ctx, "read executions", text+" ORDER BY x.seq DESC LIMIT $"+itoa(len(args)), args, func(rows rows) error {
		var x pedigree.Execution
		err := rows.Scan(&x.ID, (*string)(&x.Project), (*string)(&x.Target), (*string)(&x.Model))
		out, ids = append(out, x), append(ids, x.ID)
		return err
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	bySubject := map[string][]pedigree.Event{}
	for len(ids) > 0 {
		chunk := ids[:min(64, len(ids))]
		ids = ids[len(chunk):]
		events, err := tx.subjectEvents(ctx, chunk, []pedigree.EventType{pedigree.ExecutionStarted, pedigree.ExecutionFinished})
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			bySubject[e.Subject] = append(bySubject[e.Subject], e)
		}
	}
	for i := range out {
		if err := pedigree.FoldExecution(&out[i], bySubject[out[i].ID]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
