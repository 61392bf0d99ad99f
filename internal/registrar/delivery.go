package registrar

import (
	"context"
	"path"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Delivery reports how a project delivers: of all its models together, and of each.
// environment is a pattern of [path.Match] over the environments of targets.
func (r *Registrar) Delivery(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, environment string, from, to time.Time) (out []pedigree.Delivery, err error) {
	if _, err := path.Match(environment, ""); err != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "environment %q is not a pattern", environment).WithFix("write prod, or prod*")
	}
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		id, err := tx.ProjectID(ctx, project)
		if err != nil {
			return err
		}
		registered := map[string]time.Time{}
		var all []pedigree.Delivered
		before := int64(-1)
		for {
			page, err := tx.Deployments(ctx, sqlstore.DeploymentQuery{Project: id, Role: pedigree.RolePrimary, Before: before, Limit: pedigree.MaxLimit})
			if err != nil {
				return err
			}
			for _, d := range page {
				before = d.Seq
				if ok, err := path.Match(environment, d.Target.Environment()); err != nil || !ok {
					continue
				}
				key := pedigree.VersionSubject(d.ModelID, d.Version)
				if _, ok := registered[key]; !ok {
					if registered[key], err = tx.RegisteredAt(ctx, d.ModelID, d.Version); err != nil {
						return err
					}
				}
				all = append(all, pedigree.Delivered{Deployment: d, RegisteredAt: registered[key]})
			}
			if len(page) < pedigree.MaxLimit {
				break
			}
		}
		out = pedigree.Deliveries(project, environment, all, from, to)
		return nil
	})
	return out, err
}
