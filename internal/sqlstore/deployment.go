package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
)

// deployment applies one step of a deployment's life. What an activation ends is told by
// its target and role, so that nothing has to be read. What stands at a target is a few rows
// of the index of those that have not ended, which must not be left for one that leads
// through the whole past: a comparison with an expression can use no other.
func (a *applier) deployment() {
	e := a.e
	var n int64
	a.decode("version", &n)
	end := func(state pedigree.DeploymentState, cond string, args ...any) {
		a.out.exec("UPDATE view_deployments SET end_seq = $1, end_state = $2 WHERE end_seq IS NULL AND "+cond, append([]any{e.Seq, string(state)}, args...)...)
	}
	switch e.Type {
	case pedigree.DeploymentOpened:
		// One that waits in the same role has been passed over.
		end(pedigree.DeploymentSuperseded, "target = $3 AND role || '' = $4 AND active_seq IS NULL", e.String("target"), e.String("role"))
		a.out.insert(viewDeployments, e.Subject, e.Seq, e.String("target"), e.String("model"), n, e.String("role"), e.String("image"))
	case pedigree.DeploymentActivated:
		end(pedigree.DeploymentState(e.String("ends_as")), "target = $3 AND role || '' = $4 AND active_seq IS NOT NULL", e.String("target"), e.String("role"))
		if e.String("role") == string(pedigree.RolePrimary) { // a canary that became the primary is no canary any more
			end(pedigree.DeploymentSuperseded, "target = $3 AND role <> 'primary' AND model || '' = $4 AND number = $5", e.String("target"), e.String("model"), n)
		}
		a.out.exec("UPDATE view_deployments SET active_seq = $1 WHERE id = $2", e.Seq, e.Subject)
	case pedigree.DeploymentFailed:
		end(pedigree.DeploymentFailing, "id = $3", e.Subject)
	case pedigree.DeploymentEnded:
		end(pedigree.DeploymentOver, "id = $3", e.Subject)
	}
}

// DeploymentQuery chooses deployments.
type DeploymentQuery struct {
	// Target is an id, Model with Number a version; Image is an image, exactly or by its
	// digest. Empty ones choose all.
	Target, Model, Image string
	Number               pedigree.VersionNumber
	// Project is an id; only its targets' deployments.
	Project string
	// Role, where not "", is the role wanted.
	Role pedigree.DeploymentRole
	// Standing chooses those that are pending or active at the moment, Activated those
	// that were ever active.
	Standing, Activated bool
	// Before is the seq before which to begin, newest first; -1 begins at the last.
	Before int64
	Limit  int
}

// Deployments lists deployments, newest first. For a question about now it notes that the
// decision rests on each target that q names.
func (tx *Tx) Deployments(ctx context.Context, q DeploymentQuery) ([]pedigree.Deployment, error) {
	if q.Before < 0 {
		q.Before = tx.last + 1
	}
	args := []any{q.Before, tx.last}
	seq := "d.seq"
	if q.Standing && tx.current { // they are few: sorted without an index of all that ever were
		seq = "d.seq + 0"
	}
	where := []string{seq + " < $1", seq + " <= $2"}
	arg := func(cond string, v any) {
		args = append(args, v)
		where = append(where, fmt.Sprintf(cond, len(args)))
	}
	from := "view_deployments d"
	if q.Target != "" {
		arg("d.target = $%d", q.Target)
		if tx.current {
			if _, err := tx.Watch(ctx, q.Target); err != nil {
				return nil, err
			}
		}
	}
	if q.Project != "" {
		from += " JOIN view_targets t ON t.id = d.target"
		arg("t.project = $%d", q.Project)
	}
	if q.Model != "" {
		arg("d.model = $%d", q.Model)
	}
	if q.Number != 0 {
		arg("d.number = $%d", int64(q.Number))
	}
	if q.Role != "" {
		arg("d.role = $%d", string(q.Role))
	}
	if q.Image != "" {
		if strings.HasPrefix(q.Image, "sha256:") {
			arg("d.image LIKE $%d", "%@"+q.Image)
		} else {
			arg("d.image = $%d", q.Image)
		}
	}
	if q.Standing {
		if tx.current {
			where = append(where, "d.end_seq IS NULL")
		} else {
			where = append(where, fmt.Sprintf("(d.end_seq IS NULL OR d.end_seq > %d)", tx.last))
		}
	}
	if q.Activated {
		where = append(where, fmt.Sprintf("d.active_seq <= %d", tx.last))
	}
	args = append(args, q.Limit)
	text := "SELECT d.id FROM " + from + " WHERE " + strings.Join(where, " AND ") + " ORDER BY " + seq + " DESC LIMIT $" + itoa(len(args))
	var ids []string
	err := tx.each(ctx, "read deployments", text, args, func(rows rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return tx.DeploymentsByID(ctx, ids)
}

// CurrentDeployment is the id of the deployment that is active in a role at a target at
// tx's moment, "" without one; there is never more than one. It is the question of an
// incident, answered by one look-up however many there were.
func (tx *Tx) CurrentDeployment(ctx context.Context, targetID string, role pedigree.DeploymentRole) (string, error) {
	var id string
	var end sql.NullInt64
	err := tx.row(ctx, "SELECT id, end_seq FROM view_deployments WHERE target = $1 AND role = $3 AND active_seq <= $2 ORDER BY active_seq DESC LIMIT 1", []any{targetID, tx.last, string(role)}, &id, &end)
	if err == errNoRows || err == nil && end.Valid && end.Int64 <= tx.last {
		return "", nil
	}
	return id, tx.s.d.translate(err, "find a deployment")
}

var deploymentTypes = []pedigree.EventType{
	pedigree.DeploymentOpened, pedigree.DeploymentActivated, pedigree.DeploymentFailed, pedigree.DeploymentEnded, pedigree.DeploymentMarked,
}

// DeploymentsByID reads deployments in the order of their ids; one that is not there is left
// out.
func (tx *Tx) DeploymentsByID(ctx context.Context, ids []string) ([]pedigree.Deployment, error) {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !isID(id) })
	out := make([]pedigree.Deployment, 0, len(ids))
	for len(ids) > 0 {
		chunk := ids[:min(64, len(ids))]
		ids = ids[len(chunk):]
		some, err := tx.deployments(ctx, chunk)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// isID says whether a text, which may come from outside, can be an id at all: PostgreSQL
// fails on some bytes instead of not finding them.
func isID(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

func (tx *Tx) deployments(ctx context.Context, ids []string) ([]pedigree.Deployment, error) {
	type row struct {
		d     pedigree.Deployment
		end   sql.NullInt64
		state sql.NullString
	}
	byID := map[string]*row{}
	var ends []int64
	in, args := list([]any{tx.last}, ids)
	err := tx.each(ctx, "read deployments", `SELECT d.id, p.name, t.name, d.end_seq, d.end_state,
(SELECT n.name FROM view_names n WHERE n.model = d.model AND n.from_seq <= $1 ORDER BY n.from_seq DESC LIMIT 1)
FROM view_deployments d JOIN view_targets t ON t.id = d.target JOIN view_projects p ON p.id = t.project WHERE d.seq <= $1 AND d.id IN (`+in+")", args, func(rows rows) error {
		r := &row{}
		if err := rows.Scan(&r.d.ID, (*string)(&r.d.Project), (*string)(&r.d.Target), &r.end, &r.state, (*string)(&r.d.Model)); err != nil {
			return err
		}
		byID[r.d.ID] = r
		if r.end.Valid && r.end.Int64 <= tx.last {
			ends = append(ends, r.end.Int64)
		}
		return nil
	})
	if err != nil || len(byID) == 0 {
		return nil, err
	}
	events, err := tx.subjectEvents(ctx, ids, deploymentTypes)
	if err != nil {
		return nil, err
	}
	bySubject := map[string][]pedigree.Event{}
	for _, e := range events {
		bySubject[e.Subject] = append(bySubject[e.Subject], e)
	}
	ended := map[int64]pedigree.Event{}
	if len(ends) > 0 {
		in, args := list(nil, ends)
		err := tx.each(ctx, "read events", "SELECT envelope FROM log_events WHERE seq IN ("+in+")", args, func(rows rows) error {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			e, err := pedigree.ParseEnvelope(text)
			ended[e.Seq] = e
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var out []pedigree.Deployment
	for _, id := range ids {
		r := byID[id]
		if r == nil {
			continue
		}
		if err := pedigree.FoldDeployment(&r.d, bySubject[id]); err != nil {
			return nil, err
		}
		if e, ok := ended[r.end.Int64]; ok && r.end.Valid {
			seq := e.Seq
			r.d.State, r.d.EndSeq, r.d.EndedAt, r.d.EndedBy = pedigree.DeploymentState(r.state.String), &seq, &e.Time, e.Actor
		}
		out = append(out, r.d)
	}
	return out, nil
}

// Place reads a target with what stands there. It notes that the decision rests on it.
func (tx *Tx) Place(ctx context.Context, targetID string) (pedigree.Place, error) {
	var p pedigree.Place
	var err error
	if p.Target, err = tx.Target(ctx, targetID); err != nil {
		return p, err
	}
	p.Standing, err = tx.Deployments(ctx, DeploymentQuery{Target: targetID, Standing: true, Before: -1, Limit: 100})
	return p, err
}

// Runs lists where a version stands at tx's moment: its deployments that are pending or
// active. number 0 asks for every version of the model. It notes that the decision about a
// version rests on that.
func (tx *Tx) Runs(ctx context.Context, modelID string, n pedigree.VersionNumber) ([]pedigree.Deployment, error) {
	subject := modelID
	if n != 0 {
		subject = pedigree.VersionSubject(modelID, n)
	}
	if tx.current {
		if _, err := tx.Watch(ctx, pedigree.DeployedKey(subject)); err != nil {
			return nil, err
		}
	}
	return tx.Deployments(ctx, DeploymentQuery{Model: modelID, Number: n, Standing: true, Before: -1, Limit: 1000})
}

// standing is the condition that a deployment is active at tx's moment.
func (tx *Tx) standing(alias string) string {
	if tx.current {
		return alias + "active_seq IS NOT NULL AND " + alias + "end_seq IS NULL"
	}
	return fmt.Sprintf("%[1]sactive_seq <= %[2]d AND (%[1]send_seq IS NULL OR %[1]send_seq > %[2]d)", alias, tx.last)
}
