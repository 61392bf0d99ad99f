package pedigree

import "strings"

// StageTag is the tag that says in which of MLflow's stages a version is. Aliases have
// taken the place of stages; they are kept for the clients that still use them.
const StageTag = "pedigree.stage"

// MLflow's stages. A version without the tag, or with another text in it, is in none.
const (
	StagedNone       = "None"
	StagedStaging    = "Staging"
	StagedProduction = "Production"
	StagedArchived   = "Archived"
)

// VersionStages lists the stages in MLflow's order.
var VersionStages = []string{StagedNone, StagedStaging, StagedProduction, StagedArchived}

// ParseVersionStage reads a stage in any case. It returns [CodeInvalid].
func ParseVersionStage(s string) (string, error) {
	for _, stage := range VersionStages {
		if strings.EqualFold(s, stage) {
			return stage, nil
		}
	}
	return "", Errorf(CodeInvalid, "%q is not a stage: want None, Staging, Production or Archived", clip(s))
}

// StageOf is the stage that the text of a [StageTag] says, in any case: None for one that
// says none.
func StageOf(text string) string {
	stage, err := ParseVersionStage(text)
	if err != nil {
		return StagedNone
	}
	return stage
}

// ActiveStage says whether versions are handed out by a stage: by Staging and Production, as
// MLflow has it.
func ActiveStage(stage string) bool { return stage == StagedStaging || stage == StagedProduction }

// Transition decides that v is in a stage. It is an event also where v was there
// before: somebody said so again. It returns [CodeRefused] for a withdrawn version.
func (v *Version) Transition(stage string) ([]Draft, error) {
	return []Draft{{Type: VersionTagged, Subject: v.Subject(), Payload: Payload{"key": StageTag, "value": stage}}}, v.enter(stage)
}

// enter refuses to put a withdrawn version into a stage by which it would be handed out.
func (v *Version) enter(stage string) error {
	if v.Withdrawn == nil || !ActiveStage(stage) {
		return nil
	}
	return Errorf(CodeRefused, "%s is withdrawn and can't be put into the stage %s", v.Reference(), stage).
		WithFix("take another version; pedigree show %s says why", v.Reference())
}

// StagesKey is the concurrency subject of the stages of a model's versions: for a
// decision that rests on which versions are in one.
func StagesKey(modelID string) string { return "stages:" + modelID }
