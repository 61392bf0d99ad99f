package pedigree

import "strings"

// PromptTag is the tag by which MLflow's clients keep a prompt as a model: "true" on the
// model and on its versions. Lists leave prompts out unless they are asked for.
const PromptTag = "mlflow.prompt.is_prompt"

// IsPrompt says whether tags are those of a prompt.
func IsPrompt(tags map[string]string) bool { return strings.EqualFold(tags[PromptTag], "true") }

// Complete computes the completeness of v for each stage, see [Record.Complete]. A
// prompt is nothing that is trained or deployed: it has none.
func (v *Version) Complete(approved bool) []Completeness {
	if IsPrompt(v.Tags) {
		return nil
	}
	return v.Record.Complete(approved)
}

// NamesModel says whether f lets the versions of one model alone pass.
func (f *Filter) NamesModel() bool {
	if f.Root == nil {
		return false
	}
	all := []*FilterNode{f.Root}
	if f.Root.Op == And {
		all = f.Root.Args
	}
	for _, n := range all {
		if n.Op == Compare && n.Cmp == CmpEqual && n.Field == (FilterField{Kind: KindAttribute, Key: "model"}) {
			return true
		}
	}
	return false
}

// WithoutPrompts returns f with the condition that what it finds is no prompt; f itself
// where it speaks of them.
func (f *Filter) WithoutPrompts() *Filter {
	field := FilterField{Kind: KindTags, Key: PromptTag}
	for _, n := range f.Comparisons() {
		if n.Field == field {
			return f
		}
	}
	is := &FilterNode{Op: Compare, Field: field, Cmp: CmpEqual, Values: []FilterValue{{Text: "true"}}}
	no := &FilterNode{Op: Not, Args: []*FilterNode{is}}
	switch {
	case f.Root == nil:
		return &Filter{Root: no}
	case f.Root.Op == And:
		return &Filter{Root: &FilterNode{Op: And, Args: append(f.Root.Args[:len(f.Root.Args):len(f.Root.Args)], no), Pos: f.Root.Pos}}
	}
	return &Filter{Root: &FilterNode{Op: And, Args: []*FilterNode{f.Root, no}, Pos: f.Root.Pos}}
}
