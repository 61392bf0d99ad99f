package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newLineageCommand(a *app) *cobra.Command {
	direction, depth := "both", 0
	cmd := &cobra.Command{
		Use:   "lineage REF",
		Short: "Show what a version was made from, and what was made from it",
		Long: `Lineage follows parents, data, code, runs and outputs: up to what a version was made from,
down to what was made from it. Parents stay readable when they are archived or their
bytes are gone.`,
		Example: `  pedigree lineage fraud@production
  pedigree lineage fraud/7 --direction down --depth 2`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch direction {
			case "up", "down", "both":
			default:
				return pedigree.Errorf(pedigree.CodeInvalid, "--direction %q: want up, down or both", direction)
			}
			if depth < 0 {
				return pedigree.Errorf(pedigree.CodeInvalid, "--depth %d: want 1 or more", depth)
			}
			return a.lineage(cmd.Context(), args[0], direction, depth)
		},
	}
	cmd.Flags().StringVar(&direction, "direction", direction, "up, down or both")
	cmd.Flags().IntVar(&depth, "depth", depth, "how many versions away to go (default: as far as the registry goes)")
	a.atFlag(cmd)
	return cmd
}

func (a *app) lineage(ctx context.Context, name, direction string, depth int) error {
	ref, at, err := a.question(ctx, name)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	graph, err := c.Lineage(ctx, ref, direction, depth, at)
	if err != nil {
		return err
	}
	var names []string
	for _, n := range graph.Nodes {
		if n.ID != graph.Root {
			names = append(names, n.Label)
		}
	}
	return a.print(answer{value: graph, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		newTree(&graph).write(w, direction)
	}})
}

// tree writes a lineage graph as two indented trees, from the root up and down.
type tree struct {
	graph *pedigree.Lineage
	nodes map[string]pedigree.Node
	up    map[string][]pedigree.Edge // by To: what it was made from
	down  map[string][]pedigree.Edge // by From: what was made from it
	seen  map[string]bool
}

func newTree(graph *pedigree.Lineage) *tree {
	t := &tree{graph: graph, nodes: map[string]pedigree.Node{}, up: map[string][]pedigree.Edge{}, down: map[string][]pedigree.Edge{}}
	for _, n := range graph.Nodes {
		t.nodes[n.ID] = n
	}
	for _, e := range graph.Edges {
		t.up[e.To] = append(t.up[e.To], e)
		t.down[e.From] = append(t.down[e.From], e)
	}
	return t
}

func (t *tree) write(w io.Writer, direction string) {
	fmt.Fprintln(w, t.label(t.graph.Root))
	for _, way := range []struct {
		name, title, none string
		edges             map[string][]pedigree.Edge
		far               func(pedigree.Edge) string
	}{
		{"up", "made from", "nothing is recorded", t.up, func(e pedigree.Edge) string { return e.From }},
		{"down", "gone into", "nothing yet", t.down, func(e pedigree.Edge) string { return e.To }},
	} {
		if direction != "both" && direction != way.name {
			continue
		}
		if len(way.edges[t.graph.Root]) == 0 {
			fmt.Fprintf(w, "%s: %s\n", way.title, way.none)
			continue
		}
		fmt.Fprintf(w, "%s:\n", way.title)
		t.seen = map[string]bool{t.graph.Root: true}
		t.branch(w, t.graph.Root, "  ", way.edges, way.far)
	}
	if t.graph.Truncated {
		fmt.Fprintln(w, "… and further; --depth goes on")
	}
}

// branch writes what is below id; what was written before is only named.
func (t *tree) branch(w io.Writer, id, indent string, edges map[string][]pedigree.Edge, far func(pedigree.Edge) string) {
	for _, e := range edges[id] {
		next := far(e)
		again := ""
		if t.seen[next] && len(edges[next]) > 0 {
			again = "  (see above)"
		}
		relation := strings.ReplaceAll(e.Relation, "_", " ")
		if e.Relation == "wrote" && next == e.From { // seen from what was written
			relation = "written by"
		}
		fmt.Fprintf(w, "%s%s  %s%s\n", indent, relation, t.label(next), again)
		if !t.seen[next] {
			t.seen[next] = true
			t.branch(w, next, indent+"  ", edges, far)
		}
	}
}

func (t *tree) label(id string) string {
	n, ok := t.nodes[id]
	if !ok {
		return printable(id)
	}
	label := n.Label
	if n.Kind != "version" {
		label = n.Kind + " " + label
	}
	if n.Digest != "" && !strings.Contains(label, n.Digest.Short()) {
		label += "  sha256:" + n.Digest.Short() + "…"
	}
	if n.Note != "" {
		label += "  (" + n.Note + ")"
	}
	return printable(label)
}
