// Package importer brings what another registry holds into this one: models, versions
// with their numbers, times and authors, records, and bytes.
//
// It owns what an import promises: that running it again changes nothing, that one that
// was interrupted goes on where it stopped, and that its [Report] says of everything
// whether it was carried, and why not. It reads the other registry through package
// upstream and writes through package client, as any caller does.
//
// It must never change a version that was not imported from the same place, and never
// anything at the other registry.
//
// Invariant: the versions of a model are registered in the order of their numbers, and an
// import that can't register one leaves the later ones of that model for the next try: a
// number that was passed over can't be given any more.
package importer

import (
	"fmt"

	"github.com/pedigree-ml/pedigree"
)

// Action says what became of a model or a version.
type Action string

// The actions. In a dry run they say what would become of it.
const (
	Registered Action = "registered" // it is here now
	Present    Action = "present"    // an earlier import brought it
	Deleted    Action = "deleted"    // an earlier import brought it, and it was deleted here since
	Skipped    Action = "skipped"    // it was left out; a note says why
	Failed     Action = "failed"     // it could not be brought; a note says why
)

// Report says what an import did.
type Report struct {
	// From is the address of the other registry, Server what it says of itself.
	From   pedigree.SafeURI `json:"from"`
	Server string           `json:"server,omitempty"`
	// DryRun says that nothing was changed.
	DryRun bool    `json:"dry_run,omitempty"`
	Models []Model `json:"models"`
	// Left names what an import never carries, and why.
	Left []string `json:"left"`
}

// Model is what became of one model.
type Model struct {
	Name     string    `json:"name"`
	Action   Action    `json:"action"`
	Versions []Version `json:"versions,omitempty"`
	// Changed says what was made as it is there, Kept what differs and was left as it is
	// here.
	Changed []string `json:"changed,omitempty"`
	Kept    []string `json:"kept,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// Version is what became of one version.
type Version struct {
	// ID is its name there, "fraud/3"; Number is its number here.
	ID     string                 `json:"id"`
	Number pedigree.VersionNumber `json:"version,omitempty"`
	Action Action                 `json:"action"`
	// Kind says whether its bytes came along; Files and Bytes count them.
	Kind  pedigree.ArtifactKind `json:"kind,omitempty"`
	Files int                   `json:"files,omitempty"`
	Bytes int64                 `json:"bytes,omitempty"`
	Notes []string              `json:"notes,omitempty"`
}

func (v *Version) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

func (m *Model) note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}

// Count counts the versions that an action befell.
func (r *Report) Count(action Action) int {
	n := 0
	for _, m := range r.Models {
		for _, v := range m.Versions {
			if v.Action == action {
				n++
			}
		}
	}
	return n
}

func (r *Report) versions() int {
	n := 0
	for _, m := range r.Models {
		n += len(m.Versions)
	}
	return n
}

// Err is nil where everything was carried that an import can carry, and otherwise says
// how much was not: [pedigree.CodeUnavailable] where something failed, else
// [pedigree.CodeRefused] where something was skipped.
func (r *Report) Err() error {
	skipped := 0
	for _, m := range r.Models {
		if m.Action == Failed {
			return pedigree.Errorf(pedigree.CodeUnavailable, "%s was not brought: %s", m.Name, last(m.Notes)).WithFix("mend that and run the import again; it goes on where it stopped")
		}
		if m.Action == Skipped {
			skipped++
		}
	}
	if n := r.Count(Failed); n > 0 {
		return pedigree.Errorf(pedigree.CodeUnavailable, "%d of %d versions were not brought; the report says why", n, r.versions()).WithFix("mend that and run the import again; it goes on where it stopped")
	}
	if skipped > 0 {
		return pedigree.Errorf(pedigree.CodeRefused, "%d of %d models were skipped; the report says why", skipped, len(r.Models))
	}
	return nil
}

func last(notes []string) string {
	if len(notes) == 0 {
		return "it is not known why"
	}
	return notes[len(notes)-1]
}
