package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// observation applies that an instance runs something else.
func (a *applier) observation() {
	var n int64
	a.decode("version", &n)
	name := a.e.String("instance")
	a.out.exec("UPDATE view_instances SET to_seq = $1 WHERE target = $2 AND instance = $3 AND to_seq IS NULL", a.e.Seq, a.e.Subject, name)
	a.out.insert(viewInstances, a.e.Subject, name, a.e.Seq, a.e.String("deployment"), a.e.String("model"), n, a.e.String("digest"))
}

// Instances lists what the instances of a target run at tx's moment, by name; name "" asks
// for all. What was seen is today's.
func (tx *Tx) Instances(ctx context.Context, targetID, name string) ([]pedigree.Instance, error) {
	return tx.instances(ctx, targetID, name, time.Time{})
}

// SeenInstances is [Tx.Instances] without those that were not seen since a time.
func (tx *Tx) SeenInstances(ctx context.Context, targetID string, since time.Time) ([]pedigree.Instance, error) {
	return tx.instances(ctx, targetID, "", since)
}

func (tx *Tx) instances(ctx context.Context, targetID, name string, since time.Time) ([]pedigree.Instance, error) {
	text := `SELECT i.instance, i.deployment, i.model, i.number, i.digest, e.time, coalesce(h.seen, e.time), i.from_seq,
coalesce((SELECT n.name FROM view_names n WHERE n.model = i.model AND n.from_seq <= $2 ORDER BY n.from_seq DESC LIMIT 1), '')
FROM view_instances i JOIN log_events e ON e.seq = i.from_seq LEFT JOIN own_heartbeats h ON h.target = i.target AND h.instance = i.instance
WHERE i.target = $1 AND ` + tx.open("i.")
	args := []any{targetID, tx.last}
	if name != "" {
		text += " AND i.instance = $3"
		args = append(args, name)
	}
	if !since.IsZero() {
		args = append(args, micros(since))
		text += " AND coalesce(h.seen, e.time) >= $" + itoa(len(args))
	}
	var out []pedigree.Instance
	err := tx.each(ctx, "read instances", text+" ORDER BY i.instance LIMIT 10000", args, func(rows rows) error {
		var i pedigree.Instance
		var since, seen, from int64
		err := rows.Scan(&i.Instance, &i.Deployment, &i.ModelID, (*int64)(&i.Version), (*string)(&i.Digest), &since, &seen, &from, (*string)(&i.Model))
		i.Since, i.SeenAt = fromMicros(since), fromMicros(seen)
		out = append(out, i)
		return err
	})
	return out, err
}

// InstanceTargets are the ids of the targets at which an instance of this name runs
// something at tx's moment, the one that it changed at last first.
func (tx *Tx) InstanceTargets(ctx context.Context, name string) ([]string, error) {
	var out []string
	err := tx.each(ctx, "find an instance", "SELECT target FROM view_instances WHERE instance = $1 AND "+tx.open("")+" ORDER BY from_seq DESC LIMIT 10", []any{name}, func(rows rows) error {
		var id string
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}

// Heartbeat notes when an instance was last seen.
func (s *Store) Heartbeat(ctx context.Context, targetID, instance string) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "INSERT INTO own_heartbeats (target, instance, seen) VALUES ($1, $2, $3) ON CONFLICT (target, instance) DO UPDATE SET seen = excluded.seen",
			targetID, instance, micros(s.now()))
	})
}

// ForgetHeartbeats deletes the heartbeats of a target's instances that were last seen
// before a time, those of targets that are no more, and what was found about the way back
// of these.
func (s *Store) ForgetHeartbeats(ctx context.Context, before map[string]time.Time) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		for _, table := range []string{"own_heartbeats", "own_readiness"} {
			if err := tx.c.exec(ctx, "DELETE FROM "+table+" WHERE target NOT IN (SELECT id FROM view_targets WHERE deleted_seq IS NULL)"); err != nil {
				return err
			}
		}
		for id, t := range before {
			if err := tx.c.exec(ctx, "DELETE FROM own_heartbeats WHERE target = $1 AND seen < $2", id, micros(t)); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropTarget forgets what was seen of a target: heartbeats, and what was found about its
// way back.
func DropTarget(id string) []Own {
	return []Own{
		{"DELETE FROM own_heartbeats WHERE target = $1", []any{id}},
		{"DELETE FROM own_readiness WHERE target = $1", []any{id}},
	}
}

// DropReadiness forgets what was found about the way back of a target.
func (s *Store) DropReadiness(ctx context.Context, targetID string) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "DELETE FROM own_readiness WHERE target = $1", targetID)
	})
}

// Readiness is what was found when the way back of a target was last looked at, nil where
// it never was.
func (tx *Tx) Readiness(ctx context.Context, targetID string) (*pedigree.Readiness, error) {
	var checked int64
	var found string
	err := tx.row(ctx, "SELECT checked, found FROM own_readiness WHERE target = $1", []any{targetID}, &checked, &found)
	if errors.Is(err, errNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, tx.s.d.translate(err, "read the readiness of a target")
	}
	var r pedigree.Readiness
	err = json.Unmarshal([]byte(found), &r)
	r.CheckedAt = fromMicros(checked)
	return &r, err
}

// KeepReadiness keeps what was found of a target's way back.
func KeepReadiness(targetID string, r pedigree.Readiness) (Own, error) {
	text, err := json.Marshal(r)
	return Own{
		"INSERT INTO own_readiness (target, checked, found) VALUES ($1, $2, $3) ON CONFLICT (target) DO UPDATE SET checked = excluded.checked, found = excluded.found",
		[]any{targetID, micros(r.CheckedAt), string(text)},
	}, err
}

// Keep writes what no event tells.
func (s *Store) Keep(ctx context.Context, o Own) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error { return tx.c.exec(ctx, o.text, o.args...) })
}
