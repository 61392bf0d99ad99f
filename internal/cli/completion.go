package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

// completionTime is how long a press of the tab key may take.
const completionTime = 2 * time.Second

// completeModels completes names of models.
func (a *app) completeModels(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.modelNames(cmd.Context(), cmd), cobra.ShellCompDirectiveNoFileComp
}

// completeThenFiles completes a reference, then a path.
func (a *app) completeThenFiles(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeReferences(cmd, args, word)
}

// completeReferences completes a model's name, and once that is whole its aliases.
// Whatever goes wrong is no completion: a press of a key must not print errors.
func (a *app) completeReferences(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	name, _, chosen := strings.Cut(word, "@")
	if !chosen {
		return a.modelNames(cmd.Context(), cmd), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	ref, err := pedigree.ParseReference(name)
	if err != nil || a.settle(cmd) != nil || a.enter(ref.Project) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := c.Aliases(ctx, ref.Model, pedigree.At{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, m := range list.Items {
		out = append(out, name+"@"+string(m.Alias)+"\tversion "+m.Version.String())
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) modelNames(ctx context.Context, cmd *cobra.Command) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	if a.settle(cmd) != nil {
		return nil
	}
	c, err := a.client(ctx)
	if err != nil {
		return nil
	}
	list, err := c.Models(ctx, pedigree.Page{Limit: pedigree.MaxLimit}, pedigree.At{})
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range list.Items {
		out = append(out, pedigree.Reference{Model: m.Name}.String())
	}
	return out
}
