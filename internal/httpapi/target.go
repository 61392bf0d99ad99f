package httpapi

import (
	"context"
	"encoding/json"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// NewTarget is what a caller gives to make a target.
type NewTarget struct {
	Name pedigree.TargetName `json:"name"`
	pedigree.TargetSpec
}

// target reads the project and the target of the path.
func (c *call) target() (pedigree.ProjectName, pedigree.TargetName, error) {
	project, err := c.project()
	if err != nil {
		return "", "", err
	}
	name, err := pedigree.ParseTarget(c.r.PathValue("env") + "/" + c.r.PathValue("target"))
	return project, name, err
}

func (a *API) listTargets(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Targets(c.ctx(), c.principal, project, page, at)
	return answerList(c, list, err)
}

func (a *API) createTarget(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	var in NewTarget
	if err := c.decode(&in); err != nil {
		return err
	}
	t, err := a.registrar.CreateTarget(c.ctx(), c.principal, project, in.Name, in.TargetSpec)
	return c.answerTagged(t.Changed, t, err)
}

func (a *API) getTarget(c *call) error {
	project, name, err := c.target()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	t, err := readAt(c, at, func(at pedigree.At) (pedigree.Target, error) {
		return a.registrar.Target(c.ctx(), c.principal, project, name, at)
	})
	return c.answerTagged(t.Changed, t, err)
}

// editTarget lays the fields of the body over what is said of a target; null takes one
// away.
func (a *API) editTarget(c *call) error {
	project, name, err := c.target()
	if err != nil {
		return err
	}
	ifMatch, err := c.ifMatch()
	if err != nil {
		return err
	}
	var said pedigree.TargetSpec // checks the body, with the places of its mistakes
	if err := httpx.Decode(c.body, &said); err != nil {
		return err
	}
	t, err := a.registrar.EditTarget(c.ctx(), c.principal, project, name, func(spec *pedigree.TargetSpec) error {
		return overlay(spec, c.body)
	}, ifMatch)
	return c.answerTagged(t.Changed, t, err)
}

// overlay lays the fields of a JSON object over spec; null takes one away, which decoding
// over spec itself would not do.
func overlay(spec *pedigree.TargetSpec, patch []byte) error {
	before, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	fields := map[string]json.RawMessage{}
	for _, text := range [][]byte{before, patch} {
		if err := json.Unmarshal(text, &fields); err != nil {
			return err
		}
	}
	merged, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	*spec = pedigree.TargetSpec{}
	return httpx.Decode(merged, spec)
}

func (a *API) deleteTarget(c *call) error {
	project, name, err := c.target()
	if err != nil {
		return err
	}
	return c.answerNothing(a.registrar.DeleteTarget(c.ctx(), c.principal, project, name, c.query.Get("reason")))
}

func (a *API) getTargetStatus(c *call) error {
	project, name, err := c.target()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	s, err := a.registrar.TargetStatus(c.ctx(), c.principal, project, name, at)
	if err == nil {
		httpx.SetAsOf(c.w, s.AsOf)
	}
	return c.answer(s, err)
}

// atTarget calls something about a target that the body describes.
func atTarget[In, Out any](c *call, do func(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, in In) (Out, error)) error {
	project, name, err := c.target()
	if err != nil {
		return err
	}
	var in In
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	out, err := do(c.ctx(), c.principal, project, name, in)
	return c.answer(out, err)
}

func (a *API) observe(c *call) error { return atTarget(c, a.registrar.Observe) }
