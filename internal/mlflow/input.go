package mlflow

import (
	"strconv"

	"github.com/pedigree-ml/pedigree/internal/registrar"
)

func (d *Dialect) inputRoutes() []Route {
	return []Route{
		{Method: post, Pattern: api + "/runs/log-inputs", Support: Full, Limit: bodyOfInputs, handle: logInputs},
		{Method: post, Pattern: api + "/runs/outputs", Support: Full, handle: logOutputs},
	}
}

// dataset, datasetInput, modelInput and modelOutput are what a run read and made, on the
// wire.
type dataset struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	SourceType string `json:"source_type"`
	Source     string `json:"source"`
	Schema     string `json:"schema,omitempty"`
	Profile    string `json:"profile,omitempty"`
}

type datasetInput struct {
	Tags    []pairOut `json:"tags,omitempty"`
	Dataset dataset   `json:"dataset"`
}

type modelInput struct {
	Model string `json:"model_id"`
}

type modelOutput struct {
	Model string `json:"model_id"`
	Step  int64  `json:"step"`
}

func outDataset(d registrar.RunDataset) datasetInput {
	return datasetInput{
		Tags:    pairsOut(d.Tags),
		Dataset: dataset{Name: d.Name, Digest: d.Digest, SourceType: d.SourceType, Source: d.Source, Schema: d.Schema, Profile: d.Profile},
	}
}

func logInputs(c *call) error {
	var in struct {
		ID       string `json:"run_id" mlflow:"required"`
		Datasets []struct {
			Tags    []pair `json:"tags"`
			Dataset *struct {
				Name       *string `json:"name"`
				Digest     *string `json:"digest"`
				SourceType *string `json:"source_type"`
				Source     *string `json:"source"`
				Schema     string  `json:"schema"`
				Profile    string  `json:"profile"`
			} `json:"dataset"`
		} `json:"datasets"`
		Models []modelInput `json:"models"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if err := checkRunID(in.ID); err != nil {
		return err
	}
	var datasets []registrar.RunDataset
	for i, item := range in.Datasets {
		d := item.Dataset
		if d == nil {
			return invalid("Dataset input must have a dataset associated with it.")
		}
		for _, want := range []struct {
			name string
			text *string
		}{{"name", d.Name}, {"digest", d.Digest}, {"source_type", d.SourceType}, {"source", d.Source}} {
			if want.text == nil {
				return invalid("Dataset %s cannot be None", want.name)
			}
		}
		tags, err := pairsIn("datasets["+strconv.Itoa(i)+"].tags", item.Tags, checkInputTag)
		if err != nil {
			return err
		}
		out := registrar.RunDataset{Name: *d.Name, Digest: *d.Digest, SourceType: *d.SourceType, Source: *d.Source, Schema: d.Schema, Profile: d.Profile, Tags: tags}
		if err := checkDataset(out); err != nil {
			return err
		}
		datasets = append(datasets, out)
	}
	var models []registrar.RunModel
	for _, m := range in.Models {
		if err := checkLength("model_id", maxKey, m.Model); err != nil {
			return err
		}
		models = append(models, registrar.RunModel{Model: m.Model})
	}
	return c.answerNothing(c.d.registrar.LogInputs(c.ctx(), c.principal, c.project, in.ID, datasets, models))
}

func checkInputTag(_, key, value string) (registrar.KeyValue, error) {
	if err := checkLength("key", maxInputTagKey, key); err != nil {
		return registrar.KeyValue{}, err
	}
	return registrar.KeyValue{Key: key, Value: value}, checkLength("value", maxInputTagValue, value)
}

func checkDataset(d registrar.RunDataset) error {
	for _, limit := range []struct {
		name  string
		most  int
		value string
	}{
		{"name", maxDatasetName, d.Name},
		{"digest", maxDatasetDigest, d.Digest},
		{"source", maxDatasetSource, d.Source},
		{"schema", maxDatasetSchema, d.Schema},
		{"profile", maxDatasetProfile, d.Profile},
	} {
		if err := checkLength(limit.name, limit.most, limit.value); err != nil {
			return err
		}
	}
	return nil
}

func logOutputs(c *call) error {
	var in struct {
		ID     string        `json:"run_id" mlflow:"required"`
		Models []modelOutput `json:"models" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	var models []registrar.RunModel
	for _, m := range in.Models {
		if err := checkLength("model_id", maxKey, m.Model); err != nil {
			return err
		}
		models = append(models, registrar.RunModel{Model: m.Model, Step: m.Step})
	}
	return c.answerNothing(c.d.registrar.LogOutputs(c.ctx(), c.principal, c.project, in.ID, models))
}
