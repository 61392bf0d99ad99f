package pedigree

import "time"

// Project is the namespace of a team: models, and later targets, policies and
// members, live in one.
type Project struct {
	// ID is opaque: "prj_…".
	ID          string      `json:"id"`
	Name        ProjectName `json:"name"`
	Description string      `json:"description,omitempty"`
	CreatedAt   time.Time   `json:"created_at"`
	CreatedBy   string      `json:"created_by"`
	// Seq is the event that created it, Changed the last one that changed it.
	Seq     int64 `json:"seq"`
	Changed int64 `json:"changed"`
	Named
}

// CreateProject decides the creation of a project under a new id. It returns
// [CodeInvalid].
func CreateProject(id string, name ProjectName, description string) ([]Draft, error) {
	if _, err := ParseProjectName(string(name)); err != nil {
		return nil, err
	}
	if name == InstanceScope {
		return nil, Errorf(CodeInvalid, "a project can't be called %s: that is what policies call the whole registry", name)
	}
	if err := checkText("description", description, MaxText); err != nil {
		return nil, err
	}
	return []Draft{{
		Type: ProjectCreated, Subject: id,
		Payload: Payload{"name": name}.with("description", description),
	}}, nil
}
