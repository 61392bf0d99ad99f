package sqlstore

import (
	"context"

	"github.com/pedigree-ml/pedigree"
)

// group applies an event about a group. Its end is that of what it holds and of what was
// granted to it.
func (a *applier) group() {
	e := a.e
	switch e.Type {
	case pedigree.GroupCreated:
		a.out.insert(viewGroups, e.Subject, e.Seq)
	case pedigree.GroupDeleted:
		a.out.exec("UPDATE view_groups SET deleted_seq = $1 WHERE id = $2", e.Seq, e.Subject)
		a.out.exec("UPDATE view_members SET to_seq = $1 WHERE grp = $2 AND to_seq IS NULL", e.Seq, e.Subject)
		a.out.exec("UPDATE view_bindings SET to_seq = $1 WHERE member = $2 AND to_seq IS NULL", e.Seq, e.Subject)
	case pedigree.GroupMemberAdded:
		a.out.insert(viewMembers, e.Subject, e.String("account"), e.Seq)
	case pedigree.GroupMemberRemoved:
		a.out.exec("UPDATE view_members SET to_seq = $1 WHERE grp = $2 AND account = $3 AND to_seq IS NULL", e.Seq, e.Subject, e.String("account"))
	}
}

// groups reads groups as they are now, without their members.
func (tx *Tx) groups(ctx context.Context, where string, args ...any) ([]pedigree.Group, error) {
	var out []pedigree.Group
	err := tx.each(ctx, "read groups", `SELECT g.id, g.seq, e.envelope, coalesce(o.name, '') FROM view_groups g JOIN log_events e ON e.seq = g.seq
LEFT JOIN own_actors o ON o.id = g.id WHERE g.deleted_seq IS NULL AND `+where, args, func(rows rows) error {
		var g pedigree.Group
		var envelope string
		if err := rows.Scan(&g.ID, &g.Seq, &envelope, (*string)(&g.Name)); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(envelope)
		g.CreatedAt, g.CreatedBy = e.Time, e.Actor
		out = append(out, g)
		return err
	})
	return out, err
}

// Group finds a group by its name or its id, as it is now, with its members. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) Group(ctx context.Context, nameOrID string) (pedigree.Group, error) {
	found, err := tx.groups(ctx, "(g.id = $1 OR g.id = (SELECT id FROM own_actors WHERE kind = 'group' AND name = $1))", nameOrID)
	if err == nil && len(found) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no group %s", nameOrID).WithFix("pedigree group list")
	}
	if err != nil {
		return pedigree.Group{}, err
	}
	g := found[0]
	err = tx.each(ctx, "read the members of a group", `SELECT m.account, coalesce(o.name, '') FROM view_members m LEFT JOIN own_actors o ON o.id = m.account
WHERE m.grp = $1 AND m.to_seq IS NULL ORDER BY coalesce(o.name, ''), m.account`, []any{g.ID}, func(rows rows) error {
		var m pedigree.Member
		err := rows.Scan(&m.ID, (*string)(&m.Name))
		g.Members = append(g.Members, m)
		return err
	})
	return g, err
}

// Groups lists groups by name, after the given one.
func (tx *Tx) Groups(ctx context.Context, after pedigree.ActorName, limit int) ([]pedigree.Group, error) {
	return tx.groups(ctx, "o.name > $1 ORDER BY o.name LIMIT $2", string(after), limit)
}
