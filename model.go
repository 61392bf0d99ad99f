package pedigree

import (
	"maps"
	"slices"
	"time"
)

// Tier is how much harm a model can do.
type Tier string

// The risk tiers; "" means that nobody said.
const (
	TierLow    Tier = "low"
	TierMedium Tier = "medium"
	TierHigh   Tier = "high"
)

// LifeState says where a model is in its life.
type LifeState string

// The life states.
const (
	StateDevelopment LifeState = "development"
	StateInUse       LifeState = "in_use"
	StateRetired     LifeState = "retired"
)

// Model is a line of versions under one name. MLflow calls it a registered model.
type Model struct {
	// ID is opaque, "mdl_…"; the name is an interval that points at it.
	ID           string            `json:"id"`
	Project      ProjectName       `json:"project"`
	Name         Name              `json:"name"`
	Owner        string            `json:"owner,omitempty"`
	Purpose      string            `json:"purpose,omitempty"`
	PermittedUse string            `json:"permitted_use,omitempty"`
	Restrictions string            `json:"restrictions,omitempty"`
	Tier         Tier              `json:"tier,omitempty"`
	State        LifeState         `json:"state"`
	Description  string            `json:"description,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	// Aliases maps each alias to the version that it names.
	Aliases map[Alias]VersionNumber `json:"aliases,omitempty"`
	// Latest is the newest version that is neither archived nor deleted, 0 without one.
	Latest    VersionNumber `json:"latest,omitempty"`
	CreatedAt time.Time     `json:"created_at"`
	CreatedBy string        `json:"created_by"`
	// Seq is the event that created the model, Changed the last one that changed
	// it; Changed is its ETag.
	Seq     int64 `json:"seq"`
	Changed int64 `json:"changed"`
	// Former are the ids of other models that had this name before.
	Former []string `json:"former,omitempty"`
	// Erased are the fields whose values were erased by law.
	Erased []string `json:"erased,omitempty"`
	Named
}

// ModelEdit changes what is said of a model; a nil field stays as it is, an empty
// text removes the value.
type ModelEdit struct {
	Owner        *string           `json:"owner,omitempty"`
	Purpose      *string           `json:"purpose,omitempty"`
	PermittedUse *string           `json:"permitted_use,omitempty"`
	Restrictions *string           `json:"restrictions,omitempty"`
	Tier         *Tier             `json:"tier,omitempty"`
	State        *LifeState        `json:"state,omitempty"`
	Description  *string           `json:"description,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
}

// check returns [CodeInvalid] for a value that a model can't have.
func (e *ModelEdit) check() error {
	c := &checker{}
	for _, f := range []struct {
		what  string
		value *string
		limit int
	}{
		{"owner", e.Owner, MaxName},
		{"purpose", e.Purpose, MaxText},
		{"permitted use", e.PermittedUse, MaxText},
		{"restrictions", e.Restrictions, MaxText},
		{"description", e.Description, MaxText},
	} {
		if f.value != nil {
			c.text(f.what, *f.value, f.limit)
		}
	}
	if e.Tier != nil {
		switch *e.Tier {
		case "", TierLow, TierMedium, TierHigh:
		default:
			c.check(false, "risk tier %q: want low, medium or high", *e.Tier)
		}
	}
	if e.State != nil {
		switch *e.State {
		case StateDevelopment, StateInUse, StateRetired:
		default:
			c.check(false, "life state %q: want development, in_use or retired", *e.State)
		}
	}
	c.err(CheckTags(e.Tags))
	return c.failed
}

// payload holds the fields that the edit sets, without tags.
func (e *ModelEdit) payload() Payload {
	p := Payload{}
	for key, value := range map[string]*string{
		"owner": e.Owner, "purpose": e.Purpose, "permitted_use": e.PermittedUse,
		"restrictions": e.Restrictions, "description": e.Description,
		"tier": (*string)(e.Tier), "state": (*string)(e.State),
	} {
		if value != nil {
			p[key] = *value
		}
	}
	return p
}

// CreateModel decides the creation of a model in a project, under a new id. The
// caller has made sure that the name is free. It returns [CodeInvalid].
func CreateModel(project Project, id string, name Name, spec ModelEdit) ([]Draft, error) {
	if _, err := ParseName(string(name)); err != nil {
		return nil, err
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	p := spec.payload()
	p["project"], p["name"] = project.ID, name
	if len(spec.Tags) > 0 {
		p["tags"] = spec.Tags
	}
	return []Draft{{Type: ModelCreated, Subject: id, Refs: []string{project.ID}, Payload: p}}, nil
}

// Edit decides a change of what is said of m: one event for its fields and one a
// tag that is set. Without any change it returns no event. It returns [CodeInvalid].
func (m *Model) Edit(edit ModelEdit) ([]Draft, error) {
	if err := edit.check(); err != nil {
		return nil, err
	}
	now := map[string]string{
		"owner": m.Owner, "purpose": m.Purpose, "permitted_use": m.PermittedUse,
		"restrictions": m.Restrictions, "description": m.Description,
		"tier": string(m.Tier), "state": string(m.State),
	}
	p := edit.payload()
	maps.DeleteFunc(p, func(key string, value any) bool { return now[key] == value })
	var drafts []Draft
	if len(p) > 0 {
		drafts = append(drafts, Draft{Type: ModelEdited, Subject: m.ID, Payload: p})
	}
	return append(drafts, tagDrafts(ModelTagged, m.ID, m.Tags, edit.Tags)...), nil
}

// Rename decides a new name within the project. The caller has made sure that it
// is free. It returns [CodeInvalid].
func (m *Model) Rename(project Project, to Name) ([]Draft, error) {
	if _, err := ParseName(string(to)); err != nil {
		return nil, err
	}
	if to == m.Name {
		return nil, nil
	}
	return []Draft{{Type: ModelRenamed, Subject: m.ID, Payload: Payload{"project": project.ID, "from": m.Name, "to": to}}}, nil
}

// Delete decides that the model is hidden and its name freed. Bytes and history
// stay. It returns [CodeRefused] while an alias names one of its versions, unless
// force says that this is known.
func (m *Model) Delete(project Project, reason string, force bool) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if len(m.Aliases) > 0 && !force {
		alias := slices.Min(slices.Collect(maps.Keys(m.Aliases)))
		return nil, Errorf(CodeRefused, "model %s is in use: alias %s names version %d", m.Name, alias, m.Aliases[alias]).
			WithFix("remove its aliases first, or delete with --force")
	}
	return []Draft{{
		Type: ModelDeleted, Subject: m.ID,
		Payload: Payload{"project": project.ID, "name": m.Name}.with("reason", reason),
	}}, nil
}

// SetAlias decides that alias points to v. Without a change it returns no event.
// It returns [CodeRefused] for an archived version.
func (m *Model) SetAlias(alias Alias, v *Version, note string) ([]Draft, error) {
	if err := checkText("note", note, MaxText); err != nil {
		return nil, err
	}
	if v.Archived {
		return nil, Errorf(CodeRefused, "%s is archived and can't take an alias", v.Reference()).
			WithFix("pedigree restore %s", v.Reference())
	}
	if v.Withdrawn != nil {
		return nil, Errorf(CodeRefused, "%s is withdrawn and can't take an alias", v.Reference()).
			WithFix("take another version; pedigree show %s says why", v.Reference())
	}
	if m.Aliases[alias] == v.Number {
		return nil, nil
	}
	return []Draft{{
		Type: AliasMoved, Subject: m.ID, Refs: []string{VersionSubject(m.ID, v.Number)},
		Payload: Payload{"alias": alias, "version": v.Number}.with("note", note),
	}}, nil
}

// RemoveAlias decides that alias names nothing any more. It returns [CodeNotFound]
// where it does not now.
func (m *Model) RemoveAlias(alias Alias, note string) ([]Draft, error) {
	if err := checkText("note", note, MaxText); err != nil {
		return nil, err
	}
	n, ok := m.Aliases[alias]
	if !ok {
		return nil, Errorf(CodeNotFound, "model %s has no alias %s", m.Name, alias)
	}
	return []Draft{{
		Type: AliasRemoved, Subject: m.ID, Refs: []string{VersionSubject(m.ID, n)},
		Payload: Payload{"alias": alias}.with("note", note),
	}}, nil
}

// Untag decides that a tag of the model is removed. It returns [CodeNotFound]
// where it is not set.
func (m *Model) Untag(key string) ([]Draft, error) {
	if _, ok := m.Tags[key]; !ok {
		return nil, Errorf(CodeNotFound, "model %s has no tag %q", m.Name, clip(key))
	}
	return []Draft{{Type: ModelUntagged, Subject: m.ID, Payload: Payload{"key": key}}}, nil
}
