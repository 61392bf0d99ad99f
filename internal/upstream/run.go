package upstream

import (
	"context"
	"math"
	"net/url"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
)

type wireMetric struct {
	Key     string         `json:"key"`
	Value   pedigree.Float `json:"value"`
	Dataset string         `json:"dataset_name"`
	Time    integer        `json:"timestamp"`
	Step    integer        `json:"step"`
	Run     string         `json:"run_id"`
}

func recorded(metrics []wireMetric) []mlrecord.Metric {
	out := make([]mlrecord.Metric, len(metrics))
	for i, m := range metrics {
		out[i] = mlrecord.Metric{Key: m.Key, Value: float64(m.Value), Dataset: m.Dataset, Step: int64(m.Step), Time: int64(m.Time)}
	}
	return out
}

// datasetContext is the tag that says what a run used a data set for.
const datasetContext = "mlflow.data.context"

// Run reads a run, deleted or not. It returns [pedigree.CodeNotFound].
func (c *Client) Run(ctx context.Context, id string) (*mlrecord.Run, error) {
	var out struct {
		Run struct {
			Info struct {
				ID          string   `json:"run_id"`
				Name        string   `json:"run_name"`
				User        string   `json:"user_id"`
				Start       integer  `json:"start_time"`
				End         *integer `json:"end_time"`
				ArtifactURI string   `json:"artifact_uri"`
			} `json:"info"`
			Data struct {
				Metrics []wireMetric        `json:"metrics"`
				Params  []mlrecord.KeyValue `json:"params"`
				Tags    []mlrecord.KeyValue `json:"tags"`
			} `json:"data"`
			Inputs struct {
				Datasets []struct {
					Tags    []mlrecord.KeyValue `json:"tags"`
					Dataset struct {
						Name   string `json:"name"`
						Digest string `json:"digest"`
						Source string `json:"source"`
					} `json:"dataset"`
				} `json:"dataset_inputs"`
			} `json:"inputs"`
			Outputs struct {
				Models []struct {
					ID string `json:"model_id"`
				} `json:"model_outputs"`
			} `json:"outputs"`
		} `json:"run"`
	}
	if err := c.get(ctx, api+"/runs/get", url.Values{"run_id": {id}}, &out); err != nil {
		return nil, err
	}
	info, data := out.Run.Info, out.Run.Data
	run := &mlrecord.Run{
		ID: info.ID, Name: info.Name, User: info.User, Start: int64(info.Start), ArtifactURI: info.ArtifactURI,
		Tags: data.Tags, Params: data.Params, Metrics: recorded(data.Metrics),
	}
	if info.End != nil && *info.End > 0 {
		end := int64(*info.End)
		run.End = &end
	}
	for _, in := range out.Run.Inputs.Datasets {
		set := mlrecord.Dataset{Name: in.Dataset.Name, Digest: in.Dataset.Digest, Source: in.Dataset.Source}
		for _, t := range in.Tags {
			if t.Key == datasetContext {
				set.Context = t.Value
			}
		}
		run.Datasets = append(run.Datasets, set)
	}
	for _, m := range out.Run.Outputs.Models {
		run.Models = append(run.Models, m.ID)
	}
	return run, nil
}

// LoggedModel reads a logged model. It returns [pedigree.CodeNotFound], also for a server
// of MLflow 2, which knows none.
func (c *Client) LoggedModel(ctx context.Context, id string) (*mlrecord.Model, error) {
	var out struct {
		Model struct {
			Info struct {
				ID          string              `json:"model_id"`
				Name        string              `json:"name"`
				Run         string              `json:"source_run_id"`
				ArtifactURI string              `json:"artifact_uri"`
				Tags        []mlrecord.KeyValue `json:"tags"`
			} `json:"info"`
			Data struct {
				Params  []mlrecord.KeyValue `json:"params"`
				Metrics []wireMetric        `json:"metrics"`
			} `json:"data"`
		} `json:"model"`
	}
	if err := c.get(ctx, api+"/logged-models/"+url.PathEscape(id), nil, &out); err != nil {
		return nil, err
	}
	for i := range out.Model.Data.Metrics {
		if err := c.restoreNaN(ctx, &out.Model.Data.Metrics[i]); err != nil {
			return nil, err
		}
	}
	info := out.Model.Info
	return &mlrecord.Model{
		ID: info.ID, Name: info.Name, Run: info.Run, ArtifactURI: info.ArtifactURI,
		Tags: info.Tags, Params: out.Model.Data.Params, Metrics: recorded(out.Model.Data.Metrics),
	}, nil
}

// restoreNaN makes a metric of a logged model NaN again where it was: MLflow's server has 0
// there for it, and only the history of the run that measured it knows better. A record
// must not say of a model that went astray that its loss is 0.
func (c *Client) restoreNaN(ctx context.Context, m *wireMetric) error {
	if m.Value != 0 || m.Run == "" {
		return nil
	}
	query := url.Values{"run_id": {m.Run}, "metric_key": {m.Key}, "max_results": {"25000"}}
	err := pages(query, func(query url.Values) (string, error) {
		var page struct {
			Metrics []wireMetric `json:"metrics"`
			Next    string       `json:"next_page_token"`
		}
		err := c.get(ctx, api+"/metrics/get-history", query, &page)
		for _, h := range page.Metrics {
			if h.Time == m.Time && h.Step == m.Step && math.IsNaN(float64(h.Value)) {
				m.Value = h.Value
			}
		}
		return page.Next, err
	})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // its run was deleted for good
		return nil
	}
	return err
}
