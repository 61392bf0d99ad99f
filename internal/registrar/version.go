package registrar

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/gate"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Register registers the next version of a model. The bytes of a stored artifact and
// of evidence files must be there (see [Registrar.MissingBlobs]). It returns
// [pedigree.CodePrecondition] where one is not, [pedigree.CodeNotFound] where the
// model is not there and the registration does not ask to make it, and
// [pedigree.CodeExists] for a number that can't be given any more.
func (r *Registrar) Register(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, reg pedigree.Registration) (pedigree.Registered, error) {
	var out pedigree.Registered
	if err := reg.Record.Normalize(); err != nil {
		return out, err
	}
	for _, alias := range reg.Aliases { // null in JSON passes by the parser
		if _, err := pedigree.ParseAlias(string(alias)); err != nil {
			return out, err
		}
	}
	blobs, err := reg.Record.Blobs()
	if err != nil {
		return out, err
	}
	if err := r.putManifest(ctx, p, project, &reg.Record.Artifact); err != nil {
		return out, err
	}
	undecided := false
	appended, err := r.recall(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.VersionsWrite, project); err != nil {
			return decision{}, err
		}
		if len(reg.Aliases) > 0 {
			if err := r.authorise(ctx, tx, p, pedigree.AliasesWrite, project); err != nil {
				return decision{}, err
			}
		}
		if reg.Imported != nil {
			if err := r.authorise(ctx, tx, p, pedigree.ImportsWrite, project); err != nil {
				return decision{}, err
			}
		}
		projectID, err := tx.ProjectID(ctx, project)
		if err != nil {
			return decision{}, err
		}
		policies, err := tx.Policies(ctx, projectID, project)
		if err != nil {
			return decision{}, err
		}
		undecided = policies.Satisfied(nil)
		if err := newHandles(ctx, tx, projectID, project, name, &reg); err != nil {
			return decision{}, err
		}
		id, err := tx.ModelID(ctx, projectID, name)
		if err != nil {
			return decision{}, err
		}
		var drafts []pedigree.Draft
		out.Similar = "" // of an earlier try
		if id == "" {
			if !reg.CreateModel {
				_, _, err := modelID(ctx, tx, project, name)
				return decision{}, err
			}
			if id, drafts, err = r.createFor(ctx, tx, projectID, name, &out); err != nil {
				return decision{}, err
			}
		}
		if err := r.resolveParents(ctx, tx, p, project, reg.Record.Parents); err != nil {
			return decision{}, err
		}
		registered, err := pedigree.RegisterVersion(id, reg)
		return decision{drafts: append(drafts, registered...), project: projectID, blobs: blobs}, err
	})
	if err != nil {
		return out, err
	}
	return out, r.registered(ctx, project, name, appended, undecided, &out)
}

// createFor decides the creation of the model that a registration asks for.
func (r *Registrar) createFor(ctx context.Context, tx *sqlstore.Tx, projectID string, name pedigree.Name, out *pedigree.Registered) (string, []pedigree.Draft, error) {
	names, _, err := tx.ModelNames(ctx, projectID, "", pedigree.MaxLimit)
	if err != nil {
		return "", nil, err
	}
	out.Similar = pedigree.SimilarName(name, names)
	id := r.newID("mdl")
	drafts, err := pedigree.CreateModel(pedigree.Project{ID: projectID}, id, name, pedigree.ModelEdit{})
	return id, drafts, err
}

// registered fills the answer from the events of the append: no need to read again
// what was just written, unless the append only repeats an old answer.
// undecided says whether a version without an approval has what it needs.
func (r *Registrar) registered(ctx context.Context, project pedigree.ProjectName, name pedigree.Name, a *sqlstore.Appended, undecided bool, out *pedigree.Registered) error {
	for i := range a.Events {
		e := &a.Events[i]
		switch e.Type {
		case pedigree.ModelCreated:
			out.CreatedModel = true
		case pedigree.AliasMoved:
			if a := pedigree.Alias(e.String("alias")); !slices.Contains(out.Aliases, a) {
				out.Aliases = append(out.Aliases, a)
			}
		case pedigree.VersionRegistered:
			id, n, _ := pedigree.SplitVersionSubject(e.Subject)
			if a.Replayed {
				v, err := r.versionByID(ctx, project, name, id, n, seqAt(a.Last()))
				out.Version = v
				return err
			}
			out.Version = pedigree.Version{Project: project, Model: name, ModelID: id, Number: n, Seq: e.Seq, Changed: e.Seq}
			if err := pedigree.FoldRecord(&out.Version, a.Events[i:i+1]); err != nil {
				return err
			}
			if _, err := e.Decode("tags", &out.Tags); err != nil {
				return err
			}
			out.Description = e.String("description")
			out.Completeness = out.Complete(undecided)
		}
	}
	return nil
}

func (r *Registrar) versionByID(ctx context.Context, project pedigree.ProjectName, name pedigree.Name, id string, n pedigree.VersionNumber, at pedigree.At) (v pedigree.Version, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		v, err = tx.Version(ctx, project, name, id, n)
		return err
	})
	return v, err
}

// resolveParents turns the references of parents into ids that stay true when names
// change.
func (r *Registrar) resolveParents(ctx context.Context, tx *sqlstore.Tx, by pedigree.Principal, project pedigree.ProjectName, parents []pedigree.Parent) error {
	for i := range parents {
		p := &parents[i]
		if p.Reference == "" {
			if p.ModelID != "" { // an id says nothing of whether the caller may know of it
				return pedigree.Errorf(pedigree.CodeInvalid, "name a parent by reference, as in fraud/6")
			}
			continue
		}
		ref, err := pedigree.ParseReference(p.Reference)
		if err != nil {
			return err
		}
		ref = ref.In(project)
		if err := r.authorise(ctx, tx, by, pedigree.RecordsRead, ref.Project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err != nil {
			return err
		}
		found, err := tx.Resolve(ctx, id, ref)
		if err != nil {
			return err
		}
		p.ModelID, p.Version, p.Digest = id, found.Number, found.Digest
		ref.Version, ref.Alias, ref.Digest = found.Number, "", ""
		p.Reference = ref.String()
	}
	return nil
}

// Version reads the version that ref names at a moment. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) Version(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (v pedigree.Version, err error) {
	return r.version(ctx, p, pedigree.RecordsRead, ref, at)
}

// version is [Registrar.Version] for a caller that needs a permission.
func (r *Registrar) version(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, ref pedigree.Reference, at pedigree.At) (v pedigree.Version, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, permission, ref.Project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err != nil {
			return err
		}
		found, err := tx.Resolve(ctx, id, ref)
		if err != nil {
			return err
		}
		v, err = tx.Version(ctx, ref.Project, ref.Model, id, found.Number)
		return err
	})
	return v, err
}

// changeVersion loads a version, checks what the caller believes of it, and decides.
func (r *Registrar) changeVersion(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, ref pedigree.Reference, ifMatch *int64,
	f func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error),
) (pedigree.Version, error) {
	var before pedigree.Version
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, permission, ref.Project); err != nil {
			return decision{}, err
		}
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err != nil {
			return decision{}, err
		}
		found, err := tx.Resolve(ctx, id, ref)
		if err != nil {
			return decision{}, err
		}
		if before, err = tx.Version(ctx, ref.Project, ref.Model, id, found.Number); err != nil {
			return decision{}, err
		}
		if err := checkMatch(before.Reference().String(), ifMatch, before.Changed); err != nil {
			return decision{}, err
		}
		return f(tx, &before)
	})
	if err != nil || appended == nil {
		return before, err
	}
	last := appended.Events[len(appended.Events)-1]
	id, n, _ := pedigree.SplitVersionSubject(last.Subject)
	if last.Type == pedigree.VersionDeleted { // gone afterwards: show it as it was
		return r.versionByID(ctx, ref.Project, ref.Model, id, n, seqAt(appended.Events[0].Seq-1))
	}
	return r.versionByID(ctx, ref.Project, ref.Model, id, n, seqAt(last.Seq))
}

// Amend changes the record of a version; both the old and the new stay readable.
// ifMatch, where not nil, is the Changed that the caller has seen.
func (r *Registrar) Amend(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, amend pedigree.Amend, ifMatch *int64) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.VersionsWrite, ref, ifMatch, func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		if err := r.resolveParents(ctx, tx, p, ref.Project, amend.Record.Parents); err != nil {
			return decision{}, err
		}
		drafts, err := v.Amend(amend)
		if err != nil {
			return decision{}, err
		}
		project, err := tx.ProjectID(ctx, ref.Project)
		if err != nil {
			return decision{}, err
		}
		if err := staleApproval(ctx, tx, v, project, drafts); err != nil {
			return decision{}, err
		}
		evidence := pedigree.Record{Evidence: amend.Record.Evidence}
		blobs, err := evidence.Blobs()
		return decision{drafts: drafts, project: project, blobs: blobs}, err
	})
}

// staleApproval notes in the amendments of a version that what was approved is not what is
// there any more.
func staleApproval(ctx context.Context, tx *sqlstore.Tx, v *pedigree.Version, projectID string, drafts []pedigree.Draft) error {
	if v.Approval == nil || len(v.Approval.Opinions) == 0 {
		return nil
	}
	policies, err := tx.Policies(ctx, projectID, v.Project)
	if err != nil {
		return err
	}
	reads := gate.Reads(policies)
	for i := range drafts {
		drafts[i].Stale(reads)
	}
	return nil
}

// EditVersion changes the description of a version and sets tags on it.
func (r *Registrar) EditVersion(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, edit pedigree.VersionEdit, ifMatch *int64) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.VersionsWrite, ref, ifMatch, func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		drafts, err := v.Tag(edit.Tags)
		if err != nil {
			return decision{}, err
		}
		if text, ok := edit.Tags[pedigree.StageTag]; ok && pedigree.StageOf(text) != pedigree.StageOf(v.Tags[pedigree.StageTag]) {
			projectID, err := tx.ProjectID(ctx, ref.Project)
			if err != nil {
				return decision{}, err
			}
			if err := r.leaveStage(ctx, tx, p, projectID, v); err != nil {
				return decision{}, err
			}
			if err := r.guardStage(ctx, tx, p, projectID, v, pedigree.StageOf(text)); err != nil {
				return decision{}, err
			}
		}
		if edit.Description != nil {
			var described []pedigree.Draft
			described, err = v.Describe(*edit.Description)
			drafts = append(drafts, described...)
		}
		return decision{drafts: drafts}, err
	})
}

// UntagVersion removes a tag. It returns [pedigree.CodeNotFound] where it is not set.
func (r *Registrar) UntagVersion(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, key string) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.VersionsWrite, ref, nil, func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		if key == pedigree.StageTag {
			projectID, err := tx.ProjectID(ctx, ref.Project)
			if err != nil {
				return decision{}, err
			}
			if err := r.leaveStage(ctx, tx, p, projectID, v); err != nil {
				return decision{}, err
			}
		}
		drafts, err := v.Untag(key)
		return decision{drafts: drafts}, err
	})
}

// ArchiveVersion hides a version from lists, and from its stage. It returns
// [pedigree.CodeRefused] while an alias names it.
func (r *Registrar) ArchiveVersion(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, reason string) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.VersionsWrite, ref, nil, func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		if err := standsAlone(ctx, tx, v.ModelID, v.Number); err != nil {
			return decision{}, err
		}
		if _, err := tx.Watch(ctx, pedigree.AliasesKey(v.ModelID)); err != nil {
			return decision{}, err
		}
		drafts, err := v.Archive(reason)
		if err != nil || len(drafts) == 0 {
			return decision{}, err
		}
		projectID, err := tx.ProjectID(ctx, ref.Project)
		if err != nil {
			return decision{}, err
		}
		return decision{drafts: drafts}, r.leaveStage(ctx, tx, p, projectID, v)
	})
}

// RestoreVersion undoes [Registrar.ArchiveVersion] and [Registrar.Withdraw]; the latter asks
// for the right to withdraw. What was archived comes back into its stage through the gates.
func (r *Registrar) RestoreVersion(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, reason string) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.RecordsRead, ref, nil, func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		restored, err := v.Restore(reason)
		if err != nil {
			return decision{}, err
		}
		reinstated, err := v.Reinstate(reason)
		if err != nil {
			return decision{}, err
		}
		permission := pedigree.VersionsWrite
		if len(reinstated) > 0 {
			permission = pedigree.VersionsWithdraw
		}
		if err := r.authorise(ctx, tx, p, permission, ref.Project); err != nil {
			return decision{}, err
		}
		if len(restored) > 0 {
			stage, err := tx.Stage(ctx, v.ModelID, v.Number)
			if err != nil {
				return decision{}, err
			}
			projectID, err := tx.ProjectID(ctx, ref.Project)
			if err != nil {
				return decision{}, err
			}
			back := *v
			back.Archived, back.Withdrawn = false, nil
			if err := r.guardStage(ctx, tx, p, projectID, &back, stage); err != nil {
				return decision{}, err
			}
		}
		return decision{drafts: append(restored, reinstated...)}, nil
	})
}

// DeleteVersion takes a version out of every list; its history stays. It returns
// [pedigree.CodeRefused] while an alias names it and force is false.
func (r *Registrar) DeleteVersion(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, reason string, force bool, ifMatch *int64) (pedigree.Version, error) {
	return r.changeVersion(ctx, p, pedigree.VersionsWrite, ref, ifMatch, func(tx *sqlstore.Tx, v *pedigree.Version) (decision, error) {
		projectID, err := tx.ProjectID(ctx, ref.Project)
		if err != nil {
			return decision{}, err
		}
		if _, err := tx.Watch(ctx, pedigree.AliasesKey(v.ModelID)); err != nil {
			return decision{}, err
		}
		if err := unused(ctx, tx, projectID, ref.Project, v.ModelID, v.Number, v.Aliases); err != nil {
			return decision{}, err
		}
		if err := r.leaveStage(ctx, tx, p, projectID, v); err != nil {
			return decision{}, err
		}
		drafts, err := v.Delete(reason, force)
		return decision{drafts: drafts}, err
	})
}

// searchCursor is where the next page of a search begins, and what it searches.
type searchCursor struct {
	Query pedigree.Digest     `json:"q"`
	Key   *sqlstore.SearchKey `json:"k"`
	// AsOf and Time keep the pages of one search at one moment.
	AsOf int64     `json:"s"`
	Time time.Time `json:"t"`
}

// Search lists the versions that a filter chooses. project "" means all projects.
// Archived versions are listed only where the filter asks for them, prompts also where it
// names their model. The pages of one search show one moment, that of the first.
func (r *Registrar) Search(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, filter, order string, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Summary], error) {
	out := pedigree.List[pedigree.Summary]{Items: []pedigree.Summary{}}
	f, err := pedigree.ParseFilter(filter)
	if err != nil {
		return out, err
	}
	if !f.NamesModel() { // whoever asks for one by name knows what it is
		f = f.WithoutPrompts()
	}
	by, err := pedigree.ParseOrder(order)
	if err != nil {
		return out, err
	}
	text, err := json.Marshal([]string{string(project), filter, order})
	if err != nil {
		return out, err
	}
	cursor := searchCursor{Query: pedigree.DigestBytes(text)}
	if err := decodeCursor(page.Cursor, &cursor); err != nil {
		return out, err
	}
	if cursor.Query != pedigree.DigestBytes(text) {
		return out, pedigree.Errorf(pedigree.CodeInvalid, "the page cursor belongs to another search").WithFix("begin again without a cursor")
	}
	last := int64(-1)
	if page.Cursor != "" {
		last = cursor.AsOf
	}
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if last >= 0 {
			tx.Upto(last, cursor.Time)
		}
		moment, err := tx.Time(ctx)
		if err != nil {
			return err
		}
		if project != "" {
			if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
				return err
			}
		}
		reach, err := r.reach(ctx, tx, p, pedigree.RecordsRead)
		if err != nil {
			return err
		}
		q := sqlstore.Search{Filter: f, Order: by, After: cursor.Key, Limit: page.Size(), Now: r.now(), Within: reach.projects}
		if project != "" {
			if q.Project, err = tx.ProjectID(ctx, project); err != nil {
				return err
			}
		}
		seqs, next, err := tx.Search(ctx, q)
		if err != nil {
			return err
		}
		items, err := tx.Summaries(ctx, seqs)
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		if next != nil {
			out.Next = encodeCursor(searchCursor{Query: cursor.Query, Key: next, AsOf: tx.AsOf(), Time: moment})
		}
		return err
	})
	return out, err
}
