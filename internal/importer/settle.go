package importer

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// settle compares what is said of a model and of its versions with what is said there:
// what was never said here is said now, and what differs is kept or overwritten.
func (j *mlflowImport) settle(ctx context.Context, here *pedigree.Model, there upstream.Model, versions []upstream.Version, numbers map[int64]pedigree.VersionNumber, out *Model) error {
	if here.ID != "" { // again: registrations may have moved aliases
		var err error
		if *here, err = j.to.Model(ctx, here.Name, pedigree.At{}); err != nil {
			return err
		}
		if err := j.settleModel(ctx, here, there, out); err != nil {
			return err
		}
	}
	for i, done := range out.Versions {
		if done.Action == Present {
			if err := j.settleVersion(ctx, here, versions[i], done.Number, out); err != nil {
				return err
			}
		}
	}
	return j.settleAliases(ctx, here, there, numbers, out)
}

// differing lists what a map says there that it does not say here.
func differing(here, there map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range there {
		if have, ok := here[key]; !ok || have != value {
			out[key] = value
		}
	}
	return out
}

// note says that something differs, and whether it is made as it is there.
func (j *mlflowImport) differs(out *Model, format string, args ...any) (overwrite bool) {
	text := fmt.Sprintf(format, args...)
	if j.Overwrite {
		out.Changed = append(out.Changed, text)
	} else {
		out.Kept = append(out.Kept, text)
	}
	return j.Overwrite && !j.DryRun
}

func (j *mlflowImport) settleModel(ctx context.Context, here *pedigree.Model, there upstream.Model, out *Model) error {
	tags, _ := fitTags(there.Tags)
	edit := pedigree.ModelEdit{Tags: differing(here.Tags, tags)}
	changed := false
	for _, key := range slices.Sorted(maps.Keys(edit.Tags)) {
		changed = j.differs(out, "tag %s of the model", key)
	}
	if there.Description != here.Description {
		edit.Description = &there.Description
		changed = j.differs(out, "description of the model")
	}
	if !changed {
		return nil
	}
	_, err := j.to.EditModel(ctx, here.Name, edit, nil)
	return err
}

func (j *mlflowImport) settleVersion(ctx context.Context, here *pedigree.Model, there upstream.Version, n pedigree.VersionNumber, out *Model) error {
	ref := pedigree.Reference{Model: here.Name, Version: n}
	v, err := j.to.Version(ctx, ref, pedigree.At{})
	if err != nil {
		return err
	}
	tags, _ := fitTags(there.Tags)
	stage := v.Tags[pedigree.StageTag]
	if stage == "" {
		stage = pedigree.StagedNone
	}
	if there.Stage != "" && there.Stage != stage {
		tags[pedigree.StageTag] = there.Stage
	}
	edit := pedigree.VersionEdit{Tags: differing(v.Tags, tags)}
	changed := false
	for _, key := range slices.Sorted(maps.Keys(edit.Tags)) {
		if key == pedigree.StageTag {
			changed = j.differs(out, "stage of version %d: %s there, %s here", n, there.Stage, stage)
		} else {
			changed = j.differs(out, "tag %s of version %d", key, n)
		}
	}
	if there.Description != v.Description {
		edit.Description = &there.Description
		changed = j.differs(out, "description of version %d", n)
	}
	if !changed {
		return nil
	}
	_, err = j.to.EditVersion(ctx, ref, edit, nil)
	return err
}

func (j *mlflowImport) settleAliases(ctx context.Context, here *pedigree.Model, there upstream.Model, numbers map[int64]pedigree.VersionNumber, out *Model) error {
	for _, name := range slices.Sorted(maps.Keys(there.Aliases)) {
		alias, err := pedigree.ParseAlias(name)
		if err != nil {
			out.note("left out the alias %q: %v", name, err)
			continue
		}
		n := numbers[there.Aliases[name]]
		if n == 0 {
			if !j.DryRun || here.ID != "" {
				out.note("left out the alias %s: version %d, which it names there, is not here", name, there.Aliases[name])
			}
			continue
		}
		now := here.Aliases[alias]
		if now == n || here.ID == "" {
			continue
		}
		set := !j.DryRun
		if now != 0 {
			set = j.differs(out, "alias %s: version %d there, %d here", name, n, now)
		} else if removed, err := j.removed(ctx, here.Name, alias); err != nil {
			return err
		} else if removed {
			set = j.differs(out, "alias %s: version %d there, removed here", name, n)
		} else {
			out.Changed = append(out.Changed, fmt.Sprintf("alias %s → version %d", name, n))
		}
		if set {
			if _, err := j.to.SetAlias(ctx, pedigree.Reference{Model: here.Name, Version: n}, alias, nil, "as at "+string(j.report.From)); err != nil {
				return err
			}
		}
	}
	return nil
}

// removed says whether an alias that names nothing named something once.
func (j *mlflowImport) removed(ctx context.Context, name pedigree.Name, alias pedigree.Alias) (bool, error) {
	list, err := j.to.AliasHistory(ctx, name, alias, pedigree.Page{Limit: 1}, pedigree.At{})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return false, nil
	}
	return len(list.Items) > 0, err
}
