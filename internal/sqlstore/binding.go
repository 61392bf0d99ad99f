package sqlstore

import (
	"context"
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// binding applies the gift or the loss of a role.
func (a *applier) binding() {
	e := a.e
	args := []any{e.String("project"), e.String("member"), e.String("role")}
	if e.Type == pedigree.BindingAdded {
		a.out.insert(viewBindings, append(args, e.Seq)...)
		return
	}
	a.out.exec("UPDATE view_bindings SET to_seq = $4 WHERE project = $1 AND member = $2 AND role = $3 AND to_seq IS NULL", append(args, e.Seq)...)
}

// HasBinding says whether a member has a role now, in a project or, where its id is "",
// for the whole registry.
func (tx *Tx) HasBinding(ctx context.Context, role pedigree.Role, member, projectID string) (bool, error) {
	var n int64
	err := tx.row(ctx, "SELECT count(*) FROM view_bindings WHERE project = $1 AND member = $2 AND role = $3 AND to_seq IS NULL", []any{projectID, member, string(role)}, &n)
	return n > 0, tx.s.d.translate(err, "read a binding")
}

// Bindings lists who has which role at tx's moment in a project or, where its id is "",
// for the whole registry: after the given event, in the order in which they were given.
// Names are those of now.
func (tx *Tx) Bindings(ctx context.Context, projectID string, after int64, limit int) ([]pedigree.Binding, error) {
	return tx.bindings(ctx, "b.project = $1 AND "+tx.open("b.")+" AND b.from_seq > $2 ORDER BY b.from_seq LIMIT $3", projectID, after, limit)
}

// BindingsOf lists what an account may now, by itself and by its groups.
func (tx *Tx) BindingsOf(ctx context.Context, account string) ([]pedigree.Binding, error) {
	return tx.bindings(ctx, `b.to_seq IS NULL AND (b.member = $1 OR b.member IN (SELECT grp FROM view_members WHERE account = $1 AND to_seq IS NULL))
ORDER BY b.from_seq`, account)
}

func (tx *Tx) bindings(ctx context.Context, where string, args ...any) ([]pedigree.Binding, error) {
	var out []pedigree.Binding
	err := tx.each(ctx, "list bindings", `SELECT b.member, b.role, b.from_seq, e.envelope, coalesce(p.name, ''), coalesce(o.name, '')
FROM view_bindings b JOIN log_events e ON e.seq = b.from_seq LEFT JOIN view_projects p ON p.id = b.project LEFT JOIN own_actors o ON o.id = b.member
WHERE `+where, args, func(rows rows) error {
		var b pedigree.Binding
		var envelope string
		if err := rows.Scan(&b.Member.ID, (*string)(&b.Role), &b.Seq, &envelope, (*string)(&b.Project), (*string)(&b.Member.Name)); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(envelope)
		b.Time, b.Actor, b.Member.Group = e.Time, e.Actor, strings.HasPrefix(b.Member.ID, "grp_")
		out = append(out, b)
		return err
	})
	return out, err
}

// subjectProjects says, by the prefix of a subject's id, which table knows the project
// that the subject belongs to. A subject with another prefix belongs to the registry as a
// whole, and so do its events.
var subjectProjects = map[string]string{
	"mdl": "view_models",
	"tgt": "view_targets",
	"whk": "view_webhooks",
	"dep": "(SELECT d.id, t.project FROM view_deployments d JOIN view_targets t ON t.id = d.target)",
	"exe": "(SELECT x.id, t.project FROM view_executions x JOIN view_targets t ON t.id = x.target)",
}

// ProjectsOf finds the projects, by id, that subjects of the log belong to. Those of the
// registry as a whole are not among them.
func (tx *Tx) ProjectsOf(ctx context.Context, subjects []string) (map[string]string, error) {
	out := make(map[string]string, len(subjects))
	byTable := map[string][]string{}
	rooted := map[string][]string{} // the subjects of each id: versions belong to their model
	for _, s := range subjects {
		id, _, _ := strings.Cut(strings.TrimPrefix(s, "policy:"), "/")
		prefix, _, _ := strings.Cut(id, "_")
		if prefix == "prj" {
			out[s] = id
			continue
		}
		if t := subjectProjects[prefix]; t != "" {
			byTable[t] = append(byTable[t], id)
			rooted[id] = append(rooted[id], s)
		}
	}
	for t, ids := range byTable {
		for chunk := range slices.Chunk(compact(ids), 64) {
			in, args := list(nil, chunk)
			err := tx.each(ctx, "find projects", "SELECT s.id, s.project FROM "+t+" s WHERE s.id IN ("+in+")", args, func(rows rows) error {
				var id, project string
				err := rows.Scan(&id, &project)
				for _, s := range rooted[id] {
					out[s] = project
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// Binding reads one binding as it is now. It returns [pedigree.CodeNotFound].
func (tx *Tx) Binding(ctx context.Context, role pedigree.Role, member, projectID string) (pedigree.Binding, error) {
	found, err := tx.bindings(ctx, "b.project = $1 AND b.member = $2 AND b.role = $3 AND b.to_seq IS NULL", projectID, member, string(role))
	if err == nil && len(found) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "the role %s was taken away meanwhile", role)
	}
	if err != nil {
		return pedigree.Binding{}, err
	}
	return found[0], nil
}
