package mlflow

import (
	"io"
	"slices"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// record makes the record of a version from all that is known of its source: the run,
// the logged model, the files, and the tags, of which those of the version itself come
// last.
func (d *Dialect) record(c *call, o *origin, tags map[string]string, runLink string) (pedigree.Record, error) {
	r := pedigree.Record{}
	source, err := pedigree.ParseSafeURI(o.source)
	if err != nil {
		return r, err
	}
	if o.copied != nil {
		r = o.copied.Record
		r.Parents = append(slices.Clone(r.Parents), pedigree.Parent{Relation: pedigree.DerivedFrom, Reference: o.copied.Reference().In(c.project).String()})
	}
	if o.run != nil {
		mlrecord.FillRun(&r, o.run)
	}
	if o.model != nil {
		mlrecord.FillModel(&r, o.model)
	}
	if err := d.fillFiles(c, &r, o); err != nil {
		return r, err
	}
	if o.run != nil {
		mlrecord.AddTables(&r, o.run, o.source)
	}
	if o.linked {
		r.Artifact.Kind = pedigree.ArtifactLinked
	}
	r.Artifact.URI = source
	if o.runID != "" || runLink != "" {
		run := pedigree.Run{ID: o.runID, System: mlrecord.System}
		if r.Run != nil {
			run = *r.Run
		}
		if run.URI, err = pedigree.ParseSafeURI(runLink); err != nil {
			return r, err
		}
		r.Run = &run
	}
	for _, key := range sortedKeys(tags) {
		if _, err := mlrecord.ApplyTag(&r, key, tags[key]); err != nil {
			return r, err
		}
	}
	return r, nil
}

// recordedRun is what a record takes from a run that is here.
func recordedRun(run *registrar.Run) *mlrecord.Run {
	out := &mlrecord.Run{
		ID: run.ID, Name: run.Name, User: run.User, Start: run.Start, End: run.End, ArtifactURI: run.ArtifactURI,
		Tags: recordedPairs(run.Tags), Params: recordedPairs(run.Params), Metrics: recordedMetrics(run.Metrics),
	}
	for _, set := range run.Datasets {
		d := mlrecord.Dataset{Name: set.Name, Digest: set.Digest, Source: set.Source}
		for _, t := range set.Tags {
			if t.Key == registrar.DatasetContext {
				d.Context = t.Value
			}
		}
		out.Datasets = append(out.Datasets, d)
	}
	return out
}

// recordedModel is what a record takes from a logged model that is here.
func recordedModel(m *registrar.LoggedModel) *mlrecord.Model {
	return &mlrecord.Model{
		ID: m.ID, Name: m.Name, Run: m.SourceRun, ArtifactURI: m.ArtifactURI,
		Tags: recordedPairs(m.Tags), Params: recordedPairs(m.Params), Metrics: recordedMetrics(m.Metrics),
	}
}

func recordedPairs(pairs []registrar.KeyValue) []mlrecord.KeyValue {
	out := make([]mlrecord.KeyValue, len(pairs))
	for i, p := range pairs {
		out[i] = mlrecord.KeyValue{Key: p.Key, Value: p.Value}
	}
	return out
}

func recordedMetrics(metrics []registrar.RunMetric) []mlrecord.Metric {
	out := make([]mlrecord.Metric, len(metrics))
	for i, m := range metrics {
		out[i] = mlrecord.Metric{Key: m.Key, Value: m.Value, Dataset: m.Dataset, Step: m.Step, Time: m.Time}
	}
	return out
}

// fillFiles makes a stored artifact of the files of a source, and takes what they say of
// signature, environment and data.
func (d *Dialect) fillFiles(c *call, r *pedigree.Record, o *origin) error {
	if o.away != nil {
		return d.fillFetched(c, r, o)
	}
	if o.files == "" {
		return nil
	}
	files, err := d.registrar.FilesUnder(c.ctx(), c.principal, c.project, o.files)
	switch pedigree.CodeOf(err) {
	case pedigree.CodeNotFound:
		return nil
	case pedigree.CodeUnsupported: // a run whose files are elsewhere
		o.linked = true
		return nil
	}
	if err != nil || len(files) == 0 {
		return err
	}
	r.Artifact = pedigree.Artifact{Kind: pedigree.ArtifactStored, Files: files}
	for _, f := range files {
		mlrecord.AddCopy(r, f)
		if !mlrecord.Described(f) {
			continue
		}
		b, err := d.registrar.OpenUnder(c.ctx(), c.principal, c.project, o.files, f.Path)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(b, mlrecord.MaxFile))
		_ = b.Close()
		if err != nil {
			return err
		}
		mlrecord.FillFile(r, f, text)
	}
	return nil
}
