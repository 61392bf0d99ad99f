package importer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// Options choose what an import brings.
type Options struct {
	// Models are the names of the registered models; none means all.
	Models []string
	// DryRun changes nothing, and reads no file.
	DryRun bool
	// Merge lets versions be added to a model that has others than those of this import.
	Merge bool
	// Overwrite makes aliases, stages, tags and descriptions of what an earlier import
	// brought as they are there now; without it they are kept as they are here.
	Overwrite bool
	// LinkUnreadable registers a version whose files can't be read as a link to them.
	LinkUnreadable bool
	// Scratch is the folder for files on their way, one at a time and worker; "" is the
	// system's.
	Scratch string
	// Progress is told how the files of a version arrive; nil is told nothing.
	Progress client.Progress
	// Note is told each version that is done; nil is told nothing.
	Note func(v Version)
}

// left is what an import from MLflow never carries.
var left = []string{
	"experiments, and runs as such: what a version's run says is in the version's record, its metrics with their last value",
	"runs, logged models and traces that no version belongs to",
	"versions and models that were deleted there",
	"the times of aliases, tags and stages: here they have the time of the import",
	"webhooks, users and permissions",
}

// MLflow brings the registered models of an MLflow server into the project of c. It
// returns a report of all that it did so far also beside an error: one of the context, or
// that one of the two servers does not answer. What concerns one model or version alone
// is in the report; see [Report.Err].
func MLflow(ctx context.Context, from *upstream.Client, to *client.Client, opts Options) (Report, error) {
	address, err := pedigree.ParseSafeURI(from.URL())
	if err != nil {
		return Report{}, err
	}
	job := &mlflowImport{Options: opts, from: from, to: to, report: Report{From: address, DryRun: opts.DryRun, Models: []Model{}, Left: left}, trees: map[string][]mlrecord.Content{}}
	err = job.run(ctx)
	return job.report, err
}

type mlflowImport struct {
	Options
	from   *upstream.Client
	to     *client.Client
	report Report
	// trees are the files that were brought, by where they were: several versions may
	// have been registered from one place.
	trees map[string][]mlrecord.Content
}

// fatal says that an error concerns more than what was just tried.
func fatal(ctx context.Context, err error) bool {
	switch pedigree.CodeOf(err) {
	case pedigree.CodeUnavailable, pedigree.CodeForbidden, pedigree.CodeUnauthenticated:
		return true
	}
	return ctx.Err() != nil
}

func (j *mlflowImport) run(ctx context.Context) error {
	var err error
	if j.report.Server, err = j.from.ServerVersion(ctx); err != nil {
		return err
	}
	models, err := j.models(ctx)
	if err != nil {
		return err
	}
	for _, m := range models {
		out := Model{Name: m.Name}
		err := j.model(ctx, m, &out)
		if err != nil {
			out.Action = Failed
			out.note("%v", err)
		}
		j.report.Models = append(j.report.Models, out)
		if err != nil && fatal(ctx, err) {
			return err
		}
	}
	return nil
}

// models lists what is to be brought.
func (j *mlflowImport) models(ctx context.Context) ([]upstream.Model, error) {
	if len(j.Models) == 0 {
		return j.from.Models(ctx)
	}
	var out []upstream.Model
	for _, name := range slices.Compact(slices.Sorted(slices.Values(j.Models))) {
		m, err := j.from.Model(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// model brings one registered model.
func (j *mlflowImport) model(ctx context.Context, there upstream.Model, out *Model) error {
	name, err := pedigree.ParseName(there.Name)
	if err != nil {
		out.Action = Skipped
		out.note("%v", err)
		return nil
	}
	if there, err = j.from.Model(ctx, there.Name); err != nil { // its aliases, which lists may lack
		return err
	}
	versions, err := j.from.Versions(ctx, there)
	if err != nil {
		return err
	}
	here, err := j.to.Model(ctx, name, pedigree.At{})
	switch pedigree.CodeOf(err) {
	case "":
		out.Action = Present
		if foreign, err := j.foreign(ctx, name); err != nil {
			return err
		} else if foreign && !j.Merge {
			out.Action = Skipped
			out.note("there is a model %s here with versions that are not from %s: rename it, import into another project (-p), or add to it with --merge", name, j.report.From)
			return nil
		}
	case pedigree.CodeNotFound:
		out.Action = Registered
		if here, err = j.create(ctx, name, there, out); err != nil {
			return err
		}
	default:
		return err
	}
	numbers := map[int64]pedigree.VersionNumber{}
	for _, v := range versions {
		done := Version{ID: fmt.Sprintf("%s/%d", there.Name, v.Number)}
		err := j.version(ctx, &here, there, v, &done)
		if err != nil {
			done.Action = Failed
			done.note("%v", err)
		}
		out.Versions = append(out.Versions, done)
		if j.Note != nil {
			j.Note(done)
		}
		if err != nil {
			if !fatal(ctx, err) {
				out.note("the versions after %s wait for it, so that every number stays what it was", done.ID)
				return nil
			}
			return err
		}
		numbers[v.Number] = done.Number
	}
	return j.settle(ctx, &here, there, versions, numbers, out)
}

// quoted is a text in a filter.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// anyOf is the filter of all versions of a model, archived ones among them.
func anyOf(name pedigree.Name) string {
	return "model = " + quoted(string(name)) + " AND (archived = true OR archived = false)"
}

// ours says whether v was imported from where this import reads, however that was spelled.
func (j *mlflowImport) ours(v *pedigree.Version) bool {
	if v.Imported == nil {
		return false
	}
	address, err := upstream.Address(string(v.Imported.From))
	return err == nil && address == string(j.report.From)
}

// foreign says whether a model here has versions from elsewhere.
func (j *mlflowImport) foreign(ctx context.Context, name pedigree.Name) (bool, error) {
	filter := anyOf(name) + " AND NOT imported.from = " + quoted(string(j.report.From))
	for { // once, and again for each other spelling that was recorded
		list, err := j.to.Search(ctx, client.Query{Filter: filter, Page: pedigree.Page{Limit: 1}})
		if err != nil || len(list.Items) == 0 {
			return false, err
		}
		v, err := j.to.Version(ctx, pedigree.Reference{Model: name, Version: list.Items[0].Number}, pedigree.At{})
		if err != nil || !j.ours(&v) {
			return true, err
		}
		filter += " AND NOT imported.from = " + quoted(string(v.Imported.From))
	}
}

// create makes the model.
func (j *mlflowImport) create(ctx context.Context, name pedigree.Name, there upstream.Model, out *Model) (pedigree.Model, error) {
	tags, notes := fitTags(there.Tags)
	out.Notes = append(out.Notes, notes...)
	edit := pedigree.ModelEdit{Tags: tags}
	if there.Description != "" {
		edit.Description = &there.Description
	}
	if owner := tags[mlrecord.OwnerTag]; owner != "" {
		edit.Owner = &owner
	}
	if j.DryRun {
		return pedigree.Model{Name: name, Tags: tags, Description: there.Description}, nil
	}
	return j.to.CreateModel(ctx, name, edit)
}

// fitTags leaves out what can't be a tag here, and what this program computes.
func fitTags(tags map[string]string) (fit map[string]string, notes []string) {
	fit = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if key == "pedigree.complete" || key == "pedigree.warning" {
			continue
		}
		if err := pedigree.CheckTags(map[string]string{key: tags[key]}); err != nil {
			notes = append(notes, fmt.Sprintf("left out a tag: %v", err))
			continue
		}
		fit[key] = tags[key]
	}
	return fit, notes
}

// find looks for the version that an earlier import brought.
func (j *mlflowImport) find(ctx context.Context, here *pedigree.Model, n int64, id string) (*pedigree.Version, error) {
	ref := pedigree.Reference{Model: here.Name, Version: pedigree.VersionNumber(n)}
	v, err := j.to.Version(ctx, ref, pedigree.At{})
	if err == nil && j.ours(&v) && v.Imported.ID == id {
		return &v, nil
	}
	if err != nil && pedigree.CodeOf(err) != pedigree.CodeNotFound {
		return nil, err
	}
	var page pedigree.Page
	for {
		list, err := j.to.Search(ctx, client.Query{Filter: anyOf(here.Name) + " AND imported.id = " + quoted(id), Page: page})
		if err != nil {
			return nil, err
		}
		for _, s := range list.Items { // one, unless servers were merged in which the same had the same name
			ref.Version = s.Number
			if v, err = j.to.Version(ctx, ref, pedigree.At{}); err != nil || j.ours(&v) {
				return &v, err
			}
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			return nil, nil
		}
	}
}

// deleted says whether a version with a number was here and is no more.
func (j *mlflowImport) deleted(ctx context.Context, here *pedigree.Model, n int64) (bool, error) {
	if here.ID == "" {
		return false, nil
	}
	list, err := j.to.Events(ctx, pedigree.EventQuery{
		Subject: pedigree.VersionSubject(here.ID, pedigree.VersionNumber(n)), Types: []pedigree.EventType{pedigree.VersionDeleted}, After: -1, Limit: 1,
	})
	return len(list.Items) > 0, err
}

// version brings one version.
func (j *mlflowImport) version(ctx context.Context, here *pedigree.Model, there upstream.Model, v upstream.Version, out *Version) error {
	if here.ID != "" {
		found, err := j.find(ctx, here, v.Number, out.ID)
		if err != nil {
			return err
		}
		if found != nil {
			out.Action, out.Number = Present, found.Number
			out.Kind, out.Files = found.Record.Artifact.Kind, len(found.Record.Artifact.Files)
			return nil
		}
		gone, err := j.deleted(ctx, here, v.Number)
		if err != nil {
			return err
		}
		if gone {
			out.Action = Deleted
			return nil
		}
	}
	if v.Status != "" && v.Status != "READY" {
		out.note("its status there is %s", v.Status)
	}
	reg, err := j.registration(ctx, v, out)
	if err != nil {
		return err
	}
	if len(here.Aliases) == 0 || j.Overwrite { // else settle says what to do
		for _, alias := range slices.Sorted(maps.Keys(there.Aliases)) {
			if parsed, err := pedigree.ParseAlias(alias); err == nil && there.Aliases[alias] == v.Number {
				reg.Aliases = append(reg.Aliases, parsed)
			}
		}
	}
	out.Action = Registered
	if j.DryRun {
		out.Number = reg.Number
		return reg.Record.Normalize()
	}
	got, err := j.to.Register(ctx, here.Name, reg)
	if pedigree.CodeOf(err) == pedigree.CodeExists { // the model has gone on beyond it
		reg.Number = 0
		got, err = j.to.Register(ctx, here.Name, reg)
		out.note("its number was given already; it is %d here", got.Number)
	}
	out.Number = got.Number
	return err
}

// registration makes what is registered of a version, and brings its bytes.
func (j *mlflowImport) registration(ctx context.Context, v upstream.Version, out *Version) (pedigree.Registration, error) {
	reg := pedigree.Registration{Number: pedigree.VersionNumber(v.Number), Description: v.Description}
	location, err := j.from.DownloadURI(ctx, v.Model, v.Number)
	if err != nil {
		return reg, err
	}
	logged := v.LoggedModel
	if id, ok := strings.CutPrefix(v.Source, "models:/m-"); ok && logged == "" {
		logged = "m-" + strings.Trim(id, "/")
	}
	origin, err := j.from.Origin(ctx, location, v.Run, logged)
	if err != nil {
		return reg, err
	}
	r := &reg.Record
	if r.Artifact.URI, err = pedigree.ParseSafeURI(v.Source); err != nil {
		out.note("left out its source: %v", err)
	}
	switch {
	case origin.Run != nil:
		mlrecord.FillRun(r, origin.Run)
	case v.Run != "":
		r.Run = &pedigree.Run{ID: v.Run, System: mlrecord.System}
		out.note("its run %s is not there any more", v.Run)
	}
	if origin.Model != nil {
		mlrecord.FillModel(r, origin.Model)
	}
	if v.RunLink != "" && r.Run != nil {
		if r.Run.URI, err = pedigree.ParseSafeURI(v.RunLink); err != nil {
			out.note("left out the link to its run: %v", err)
		}
	}
	if strings.EqualFold(v.Tags[pedigree.PromptTag], "true") {
		out.Kind = pedigree.ArtifactNone
	} else if err := j.bytes(ctx, location, &origin, r, out); err != nil {
		return reg, err
	}
	if origin.Run != nil {
		mlrecord.AddTables(r, origin.Run, location)
	}
	var notes []string
	reg.Tags, notes = fitTags(v.Tags)
	out.Notes = append(out.Notes, notes...)
	for _, key := range slices.Sorted(maps.Keys(reg.Tags)) {
		next := *r
		if typed, err := mlrecord.ApplyTag(&next, key, reg.Tags[key]); err != nil {
			out.note("the tag %s is a tag only: %v", key, err)
		} else if typed {
			*r = next
		}
	}
	if v.Stage != "" && v.Stage != pedigree.StagedNone {
		reg.Tags[pedigree.StageTag] = v.Stage
	}
	reg.Imported = &pedigree.Imported{From: j.report.From, ID: out.ID, Author: v.User, CreatedAt: moment(v.Created), ChangedAt: moment(v.Updated)}
	if reg.Imported.Author == "" && r.Run != nil { // MLflow seldom says it of a version
		reg.Imported.Author = r.Run.User
	}
	return reg, nil
}

func moment(ms int64) *time.Time {
	if ms <= 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// bytes brings the files of a version, where the server hands them out.
func (j *mlflowImport) bytes(ctx context.Context, location string, origin *upstream.Origin, r *pedigree.Record, out *Version) error {
	if origin.Tree == nil {
		linkTo(r, out, "its bytes are linked, not stored: the server hands out no files of "+location)
		return nil
	}
	content, err := j.content(ctx, location, origin.Tree, out)
	switch {
	case err != nil && j.LinkUnreadable && !fatal(ctx, err):
		linkTo(r, out, "its bytes are linked, not stored: "+err.Error())
		return nil
	case err != nil:
		return err
	case out.Files == 0:
		linkTo(r, out, "it has no files there any more")
		return nil
	}
	out.Kind = pedigree.ArtifactStored
	if !j.DryRun {
		mlrecord.FillContent(r, content)
	}
	return nil
}

// linkTo makes the artifact a link to the source that it had.
func linkTo(r *pedigree.Record, out *Version, why string) {
	out.Files, out.Bytes = 0, 0
	out.Kind = pedigree.ArtifactNone
	if r.Artifact.URI != "" {
		out.Kind = pedigree.ArtifactLinked
	}
	r.Artifact.Kind = out.Kind
	out.note("%s", why)
}

// content brings the files of a tree, once, and counts them; in a dry run it only counts.
func (j *mlflowImport) content(ctx context.Context, location string, tree *upstream.Tree, out *Version) ([]mlrecord.Content, error) {
	content, ok := j.trees[location]
	if !ok {
		files, err := tree.Files(ctx)
		if err != nil {
			return nil, err
		}
		if j.DryRun {
			out.Files = len(files)
			for _, f := range files {
				out.Bytes += max(f.Size, 0)
			}
			return nil, nil
		}
		if content, err = j.bring(ctx, out.ID, tree, files); err != nil {
			return nil, err
		}
		j.trees[location] = content
	}
	out.Files = len(content)
	for _, f := range content {
		out.Bytes += f.Size
	}
	return content, nil
}

// parallel is how many files are on their way at a time.
const parallel = 4

// bring uploads files.
func (j *mlflowImport) bring(ctx context.Context, stage string, tree *upstream.Tree, files []upstream.File) ([]mlrecord.Content, error) {
	m := newMeter(j.Progress, stage, files)
	out := make([]mlrecord.Content, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, f := range files {
		g.Go(func() error {
			var err error
			for try := 0; ; try++ {
				out[i], err = j.file(ctx, tree, f, m)
				code := pedigree.CodeOf(err)
				if try == 2 || ctx.Err() != nil || code != pedigree.CodeUnavailable && code != pedigree.CodeConflict {
					break
				}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			m.add(f.Path, 0, true)
			return nil
		})
	}
	return out, g.Wait()
}

// file brings one file by way of the disk: its digest must be known before it is sent,
// and what the registry has is not sent again.
func (j *mlflowImport) file(ctx context.Context, tree *upstream.Tree, f upstream.File, m *meter) (mlrecord.Content, error) {
	out := mlrecord.Content{File: pedigree.File{Path: f.Path, Size: max(f.Size, 0)}}
	body, err := tree.Open(ctx, f)
	if err != nil {
		return out, err
	}
	defer func() { _ = body.Close() }()
	scratch, err := os.CreateTemp(j.Scratch, "pedigree-import-*")
	if err != nil {
		return out, fmt.Errorf("make a file on the way: %w", err)
	}
	defer func() {
		_ = scratch.Close()
		_ = os.Remove(scratch.Name())
	}()
	var text bytes.Buffer
	writers := []io.Writer{scratch, counter{m, f.Path}}
	described := f.Size >= 0 && mlrecord.Described(out.File)
	if described {
		writers = append(writers, &text)
	}
	out.Digest, out.Size, err = pedigree.DigestReader(io.TeeReader(body, io.MultiWriter(writers...)))
	if err != nil {
		return out, err
	}
	if described {
		out.Text = text.Bytes()
	}
	missing, err := j.to.MissingBlobs(ctx, []pedigree.Digest{out.Digest})
	if err != nil || len(missing) == 0 {
		return out, err
	}
	return out, j.to.PutFile(ctx, out.Digest, out.Size, func() (io.ReadCloser, error) { return os.Open(scratch.Name()) })
}
