package mlflow

import (
	"github.com/pedigree-ml/pedigree"
)

// checkStage reads one of MLflow's stages in any case.
func checkStage(text string) (string, error) {
	stage, err := pedigree.ParseVersionStage(text)
	if err != nil {
		return "", invalid("Invalid Model Version stage: %s. Value must be one of None, Staging, Production, Archived.", clip(text))
	}
	return stage, nil
}

func (d *Dialect) transition(c *call) error {
	var in struct {
		Name    string `json:"name" mlflow:"required"`
		Version string `json:"version" mlflow:"required"`
		Stage   string `json:"stage" mlflow:"required"`
		Archive bool   `json:"archive_existing_versions"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	stage, err := checkStage(in.Stage)
	if err != nil {
		return err
	}
	if in.Archive && !pedigree.ActiveStage(stage) {
		return invalid("Model version transition cannot archive existing model versions because '%s' is not an Active stage. Valid stages are ['Staging', 'Production']", in.Stage)
	}
	ref, err := c.reference(in.Name, in.Version)
	if err != nil {
		return err
	}
	card, err := d.registrar.Transition(c.ctx(), c.principal, ref, stage, in.Archive)
	return c.answer(versionAnswer{wireVersion(&card)}, ofVersion(ref, err))
}
