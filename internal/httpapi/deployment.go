package httpapi

import (
	"context"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// NewDeployment is what a caller gives to deploy a version at a target.
type NewDeployment struct {
	// Version is a reference: fraud/7, fraud@candidate, fraud@sha256:…
	Version string `json:"version" example:"fraud/7"`
	pedigree.Deploy
	// IfCurrent is the version that must be active there now, 0 for none.
	IfCurrent *pedigree.VersionNumber `json:"if_current,omitempty"`
}

// Mark says whether a deployment is bad.
type Mark struct {
	Bad    bool   `json:"bad"`
	Reason string `json:"reason,omitempty"`
}

func (a *API) deploy(c *call) error {
	return atTarget(c, func(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, in NewDeployment) (pedigree.Deployment, error) {
		ref, err := pedigree.ParseReference(in.Version)
		if err != nil {
			return pedigree.Deployment{}, err
		}
		if ref = ref.In(project); ref.Project != project {
			return pedigree.Deployment{}, invalid("%s is of another project than the target", in.Version)
		}
		return a.registrar.Deploy(ctx, p, ref, target, in.Deploy, in.IfCurrent)
	})
}

func (a *API) planRollback(c *call) error { return atTarget(c, a.registrar.PlanRollback) }
func (a *API) rollback(c *call) error     { return atTarget(c, a.registrar.Rollback) }

func (a *API) listTimeline(c *call) error {
	project, name, err := c.target()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Timeline(c.ctx(), c.principal, project, name, page, at)
	return answerList(c, list, err)
}

func (a *API) listDeployments(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Deployments(c.ctx(), c.principal, project, page, at)
	return answerList(c, list, err)
}

// listRuns serves where a version stands, or, where the path names none, all versions of a
// model.
func (a *API) listRuns(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	ref := pedigree.Reference{Project: project, Model: name}
	if text := c.r.PathValue("version"); text == "latest" {
		found, err := a.registrar.Version(c.ctx(), c.principal, ref, pedigree.At{})
		if err != nil {
			return err
		}
		ref = found.Exact()
	} else if text != "" {
		if err := selectVersion(&ref, text); err != nil {
			return err
		}
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	list, err := a.registrar.Where(c.ctx(), c.principal, ref, at)
	return answerList(c, list, err)
}

func (a *API) getDeployment(c *call) error {
	at, err := c.at()
	if err != nil {
		return err
	}
	d, err := readAt(c, at, func(at pedigree.At) (pedigree.Deployment, error) {
		return a.registrar.Deployment(c.ctx(), c.principal, c.r.PathValue("deployment"), at)
	})
	return c.answer(d, err)
}

// changeDeployment calls a change of a deployment that the body describes.
func changeDeployment[In any](c *call, change func(ctx context.Context, p pedigree.Principal, id string, in In) (pedigree.Deployment, error)) error {
	var in In
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	d, err := change(c.ctx(), c.principal, c.r.PathValue("deployment"), in)
	return c.answer(d, err)
}

func (a *API) reportDeployment(c *call) error {
	return changeDeployment(c, a.registrar.ReportDeployment)
}

func (a *API) endDeployment(c *call) error {
	return changeDeployment(c, func(ctx context.Context, p pedigree.Principal, id string, in Reason) (pedigree.Deployment, error) {
		return a.registrar.EndDeployment(ctx, p, id, in.Reason)
	})
}

func (a *API) markDeployment(c *call) error {
	return changeDeployment(c, func(ctx context.Context, p pedigree.Principal, id string, in Mark) (pedigree.Deployment, error) {
		return a.registrar.MarkDeployment(ctx, p, id, in.Bad, in.Reason)
	})
}

func (a *API) which(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	list, err := a.registrar.Which(c.ctx(), c.principal, project, c.query.Get("what"), at)
	return answerList(c, list, err)
}

// period reads from and to: moments; without to, now, and without from, otherwise before.
func (c *call) period(otherwise time.Duration) (from, to time.Time, err error) {
	now := c.a.now().UTC()
	read := func(name string, fallback time.Time) (time.Time, error) {
		at, err := pedigree.ParseAt(c.query.Get(name), now)
		switch {
		case err != nil:
			return fallback, param(name, err)
		case at.Seq != nil:
			return fallback, invalid("query parameter %s: want a time or an age, not an event's number", name)
		case at.IsNow():
			return fallback, nil
		}
		return at.Time, nil
	}
	if to, err = read("to", now); err != nil {
		return from, to, err
	}
	if from, err = read("from", to.Add(-otherwise)); err == nil && from.After(to) {
		err = invalid("from is after to")
	}
	return from, to, err
}

func (a *API) listChanges(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	from, to, err := c.period(24 * time.Hour)
	if err != nil {
		return err
	}
	page, err := c.page()
	if err != nil {
		return err
	}
	var target pedigree.TargetName
	var model pedigree.Name
	if text := c.query.Get("target"); text != "" {
		if target, err = pedigree.ParseTarget(text); err != nil {
			return param("target", err)
		}
	}
	if text := c.query.Get("model"); text != "" {
		if model, err = pedigree.ParseName(text); err != nil {
			return param("model", err)
		}
	}
	if target != "" && model != "" {
		return invalid("query parameters target and model: send one of them")
	}
	list, err := a.registrar.Changes(c.ctx(), c.principal, project, target, model, from, to, page)
	return answerList(c, list, err)
}

func (a *API) getDelivery(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	from, to, err := c.period(90 * 24 * time.Hour)
	if err != nil {
		return err
	}
	environment := c.query.Get("environment")
	if environment == "" {
		environment = "prod*"
	}
	items, err := a.registrar.Delivery(c.ctx(), c.principal, project, environment, from, to)
	return c.answer(pedigree.List[pedigree.Delivery]{Items: items}, err)
}
