package registrar

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Direction says which way a lineage is followed.
type Direction string

// The directions.
const (
	Up   Direction = "up"   // what the version was made from
	Down Direction = "down" // what was made from it
	Both Direction = "both"
)

// Limits of a lineage graph: beyond them it says that it is truncated.
const (
	MaxDepth     = 20
	maxNodes     = 2000
	maxNeighbour = 200
)

// Lineage is the graph around the version that ref names, up to depth versions away. It
// stays readable when a parent is archived or its bytes are gone. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) Lineage(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, dir Direction, depth int, at pedigree.At) (pedigree.Lineage, error) {
	if depth <= 0 || depth > MaxDepth {
		depth = MaxDepth
	}
	w := &walk{nodes: map[string]bool{}, edges: map[pedigree.Edge]bool{}}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, ref.Project); err != nil {
			return err
		}
		reach, err := r.reach(ctx, tx, p, pedigree.RecordsRead)
		if err != nil {
			return err
		}
		w.tx, w.reach = tx, reach
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err != nil {
			return err
		}
		found, err := tx.Resolve(ctx, id, ref)
		if err != nil {
			return err
		}
		root := pedigree.VersionSubject(id, found.Number)
		w.out.Root = root
		for _, up := range []bool{true, false} {
			if up && dir == Down || !up && dir == Up {
				continue
			}
			if err := w.from(ctx, root, up, depth); err != nil {
				return err
			}
		}
		return nil
	})
	return w.out, err
}

// walk follows edges breadth first.
type walk struct {
	tx    *sqlstore.Tx
	reach reach
	out   pedigree.Lineage
	nodes map[string]bool
	edges map[pedigree.Edge]bool
}

func (w *walk) from(ctx context.Context, root string, up bool, depth int) error {
	seen := map[string]bool{root: true}
	level := []string{root}
	for ; len(level) > 0; depth-- {
		var next []string
		for _, subject := range level {
			v, err := w.version(ctx, subject)
			if err != nil {
				return err
			}
			if v == nil {
				continue
			}
			var near []string
			if up {
				near, err = w.above(ctx, v)
			} else {
				near, err = w.below(ctx, v)
			}
			if err != nil {
				return err
			}
			for _, n := range near {
				if !seen[n] {
					seen[n] = true
					next = append(next, n)
				}
			}
		}
		if depth == 0 && len(next) > 0 || len(w.nodes) > maxNodes {
			w.out.Truncated = true
			for _, n := range next { // shown, not followed
				if _, err := w.version(ctx, n); err != nil {
					return err
				}
			}
			return nil
		}
		level = next
	}
	return nil
}

// version reads a version by its subject and makes it a node. It returns nil for one
// that was deleted, whose node says so.
func (w *walk) version(ctx context.Context, subject string) (*pedigree.Version, error) {
	id, n, _ := pedigree.SplitVersionSubject(subject)
	project, name, deleted, err := w.tx.NameOf(ctx, id)
	if err != nil {
		return nil, err
	}
	if seen, err := w.reach.sees(ctx, w.tx, id); err != nil {
		return nil, err
	} else if !seen { // shown, so that nobody takes the graph for the whole, and not followed
		w.node(pedigree.Node{ID: subject, Kind: "version", Label: "another project's version", Note: "not yours to read"})
		return nil, nil
	}
	ref := pedigree.Reference{Project: project, Model: name, Version: n}
	if project == pedigree.DefaultProject {
		ref.Project = ""
	}
	node := pedigree.Node{ID: subject, Kind: "version", Label: ref.String()}
	v, err := w.tx.Version(ctx, project, name, id, n)
	switch {
	case pedigree.CodeOf(err) == pedigree.CodeNotFound:
		node.Note = "deleted"
		w.node(node)
		return nil, nil
	case err != nil:
		return nil, err
	case deleted:
		node.Note = "model deleted"
	case v.Archived:
		node.Note = "archived"
	}
	node.Digest = v.Record.Artifact.Digest
	w.node(node)
	return &v, nil
}

func (w *walk) node(n pedigree.Node) string {
	if !w.nodes[n.ID] {
		w.nodes[n.ID] = true
		w.out.Nodes = append(w.out.Nodes, n)
	}
	return n.ID
}

func (w *walk) edge(from, to, relation string) {
	e := pedigree.Edge{From: from, To: to, Relation: relation}
	if from != to && !w.edges[e] {
		w.edges[e] = true
		w.out.Edges = append(w.out.Edges, e)
	}
}

// above adds what v was made from, and returns the versions among it.
func (w *walk) above(ctx context.Context, v *pedigree.Version) ([]string, error) {
	var near []string
	me := v.Subject()
	for _, p := range v.Record.Parents {
		if p.ModelID != "" {
			parent := pedigree.VersionSubject(p.ModelID, p.Version)
			w.edge(parent, me, string(p.Relation))
			near = append(near, parent)
			continue
		}
		id := w.node(pedigree.Node{ID: "model:" + string(p.URI), Kind: "model", Label: string(p.URI), Digest: p.Digest})
		w.edge(id, me, string(p.Relation))
	}
	for _, d := range v.Record.Data {
		data := dataNode(d)
		w.node(data)
		w.edge(data.ID, me, "trained_on")
		makers, err := w.makers(ctx, d)
		if err != nil {
			return nil, err
		}
		for _, maker := range makers {
			if maker != me {
				w.edge(maker, data.ID, "wrote")
				near = append(near, maker)
			}
		}
	}
	if c := v.Record.Code; c != nil && c.Commit != "" {
		label := c.Commit
		if c.Repository != "" {
			label = string(c.Repository) + "@" + c.Commit[:min(12, len(c.Commit))]
		}
		id := w.node(pedigree.Node{ID: "code:" + string(c.Repository) + "@" + c.Commit, Kind: "code", Label: label})
		w.edge(id, me, "built_from")
	}
	if run := v.Record.Run; run != nil && (run.ID != "" || run.URI != "") {
		id := w.node(runNode(run.ID, run.Name, run.URI))
		w.edge(id, me, "made_by")
		for _, u := range run.Upstream {
			w.edge(w.node(runNode(u.ID, u.Name, u.URI)), id, "upstream_of")
		}
	}
	return near, nil
}

// makers are the versions that wrote what a data reference names, by URI or digest.
func (w *walk) makers(ctx context.Context, d pedigree.DataReference) ([]string, error) {
	return w.having(ctx, map[string]string{"output.uri": string(d.URI), "output.digest": string(d.Digest)}, "outputs")
}

// below adds what was made from v, and returns the versions among it.
func (w *walk) below(ctx context.Context, v *pedigree.Version) ([]string, error) {
	me := v.Subject()
	children, err := w.having(ctx, map[string]string{"parent": me}, "parents")
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		c, err := w.version(ctx, child)
		if err != nil {
			return nil, err
		}
		relation := string(pedigree.DerivedFrom)
		if c != nil {
			for _, p := range c.Record.Parents {
				if p.ModelID == v.ModelID && p.Version == v.Number {
					relation = string(p.Relation)
				}
			}
		}
		w.edge(me, child, relation)
	}
	near := children
	for _, o := range v.Record.Outputs {
		id := w.node(pedigree.Node{ID: dataID(o.URI, o.Digest, o.Name), Kind: "data", Label: dataLabel(o.URI, o.Digest, o.Name), Digest: o.Digest})
		w.edge(me, id, "wrote")
		readers, err := w.having(ctx, map[string]string{"data.uri": string(o.URI), "data.digest": string(o.Digest)}, "data")
		if err != nil {
			return nil, err
		}
		for _, reader := range readers {
			if reader != me {
				w.edge(id, reader, "trained_on")
				near = append(near, reader)
			}
		}
	}
	return near, nil
}

// having lists the versions, as subjects, that have any of the texts under its key.
func (w *walk) having(ctx context.Context, texts map[string]string, field string) ([]string, error) {
	var out []string
	seen := map[int64]bool{}
	for key, text := range texts {
		if text == "" {
			continue
		}
		seqs, err := w.tx.WithAttribute(ctx, field, key, text, maxNeighbour+1)
		if err != nil {
			return nil, err
		}
		if len(seqs) > maxNeighbour {
			w.out.Truncated = true
			seqs = seqs[:maxNeighbour]
		}
		for _, seq := range seqs {
			if seen[seq] {
				continue
			}
			seen[seq] = true
			id, n, err := w.tx.VersionAt(ctx, seq)
			if err != nil {
				return nil, err
			}
			out = append(out, pedigree.VersionSubject(id, n))
		}
	}
	return out, nil
}

func dataNode(d pedigree.DataReference) pedigree.Node {
	text := d.Version
	if d.Kind == pedigree.DataQuery {
		text = d.Query
	}
	return pedigree.Node{ID: dataID(d.URI, d.Digest, text), Kind: "data", Label: dataLabel(d.URI, d.Digest, text), Digest: d.Digest, Note: string(d.Kind)}
}

// dataID makes one node of what has one URI or one digest: an output and the data
// reference that names it meet there. The URI alone is not enough where a digest tells
// two parts of one data set apart.
func dataID(uri pedigree.SafeURI, digest pedigree.Digest, text string) string {
	switch {
	case digest != "":
		return "data:" + string(digest)
	case uri != "":
		return "data:" + string(uri)
	}
	return "data:" + text
}

func dataLabel(uri pedigree.SafeURI, digest pedigree.Digest, text string) string {
	switch {
	case uri != "":
		return string(uri)
	case digest != "":
		return string(digest)
	}
	return text
}

func runNode(id, name string, uri pedigree.SafeURI) pedigree.Node {
	n := pedigree.Node{ID: "run:" + string(uri) + "#" + id, Kind: "run", Label: name}
	if n.Label == "" {
		n.Label = id
	}
	if n.Label == "" {
		n.Label = string(uri)
	}
	return n
}
