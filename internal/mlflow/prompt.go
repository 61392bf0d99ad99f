package mlflow

import (
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// Prompts are registered models and versions with tags of their own: the endpoints are
// the same, and their versions have no artifact.

// Tags of prompts: that it is one, and its text.
const (
	promptTag     = pedigree.PromptTag
	promptTextTag = "mlflow.prompt.text"
)

// promptSources are what MLflow's clients name as the source of a prompt.
var promptSources = map[string]bool{"dummy-source": true, "prompt-template": true}

// checkPromptSource returns MLflow's error for a prompt that names another source.
func checkPromptSource(source string) error {
	if !promptSources[source] {
		return invalid("Invalid prompt source: '%s'. Prompt sources must use an MLflow placeholder.", clip(source))
	}
	return nil
}

func (cl *clause) isPrompt() bool { return cl.tag && cl.key == promptTag }

// asksForPrompts says whether a filter is one for prompts: its first comparison of their
// tag decides.
func asksForPrompts(clauses []clause) bool {
	for _, cl := range clauses {
		if cl.isPrompt() {
			text := strings.ToLower(cl.text)
			return cl.cmp == "=" && text == "true" || cl.cmp == "!=" && text == "false"
		}
	}
	return false
}
