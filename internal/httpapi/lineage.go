package httpapi

import (
	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

func (a *API) getLineage(c *call) error {
	ref, at, err := c.referenceAt()
	if err != nil {
		return err
	}
	direction := registrar.Both
	switch text := c.query.Get("direction"); registrar.Direction(text) {
	case "":
	case registrar.Up, registrar.Down, registrar.Both:
		direction = registrar.Direction(text)
	default:
		return invalid("query parameter direction: %q is none; want up, down or both", clip(text))
	}
	depth, err := c.number("depth", 0, 1)
	if err != nil {
		return err
	}
	graph, err := readAt(c, at, func(at pedigree.At) (pedigree.Lineage, error) {
		return a.registrar.Lineage(c.ctx(), c.principal, ref, direction, int(min(depth, registrar.MaxDepth)), at)
	})
	if graph.Nodes == nil {
		graph.Nodes = []pedigree.Node{}
	}
	if graph.Edges == nil {
		graph.Edges = []pedigree.Edge{}
	}
	return c.answer(graph, err)
}
