package pedigree

// PromptTag is the tag by which MLflow's clients keep a prompt as a model: "true" on the
// model and on its versions. Lists leave prompts out unless they are asked for.
const PromptTag = "mlflow.prompt.is_prompt"

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
