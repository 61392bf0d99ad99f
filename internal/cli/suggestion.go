package cli

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

var (
	noModel   = regexp.MustCompile(`there is no model (.+) in project ([^ ]+)$`)
	noProject = regexp.MustCompile(`there is no project ([^ ]+)$`)
	noAlias   = regexp.MustCompile(`model (.+) has no alias ([^ ]+)$`)
)

// placed is an error that names the folder of the registry, not the URL that stands for
// it.
func (a *app) placed(err error) error {
	var e *pedigree.Error
	if a.registry == nil || a.registry.kind == kindServer || !errors.As(err, &e) || !strings.Contains(err.Error(), embeddedURL) {
		return err
	}
	out := *asError(err)
	out.Message = strings.ReplaceAll(out.Message, embeddedURL, a.registry.where)
	out.Fix = strings.ReplaceAll(out.Fix, embeddedURL, a.registry.where)
	return &out
}

// advise gives the error of a name that is not there the fix that fits this command: the
// nearest name, the log of what was deleted, or where names are listed. What fails on the
// way leaves the error as it was.
func (a *app) advise(ctx context.Context, err error, command string) error {
	var e *pedigree.Error
	if a.registry == nil || !errors.As(err, &e) {
		return err
	}
	if e.Code == pedigree.CodeNotRecorded && e.Fix == "" {
		if entry, eventErr := a.registry.client.Event(ctx, 0); eventErr == nil {
			if first, eventErr := entry.Event(); eventErr == nil {
				out := *e
				out.Fix = "the registry begins on " + stamp(first.Time) + " UTC; --at 0 is its first event"
				return &out
			}
		}
		return err
	}
	if e.Code != pedigree.CodeNotFound || strings.HasPrefix(e.Fix, "did you mean") {
		return err
	}
	c := a.registry.client
	fix := ""
	if m := noProject.FindStringSubmatch(e.Message); m != nil {
		fix = a.nearProject(ctx, c, m[1])
	} else if m := noAlias.FindStringSubmatch(e.Message); m != nil {
		fix = nearAlias(ctx, c, pedigree.Name(m[1]), m[2])
	} else if m := noModel.FindStringSubmatch(e.Message); m != nil && command != "push" {
		if fix = deletedModel(ctx, c, m[1], m[2]); fix == "" {
			fix = "pedigree ls lists the models"
			if m[2] != string(a.home) {
				fix = "pedigree ls -p " + m[2] + " lists the models"
			}
		}
	}
	if fix == "" {
		return err
	}
	out := *e
	out.Fix = printable(fix)
	return &out
}

func (a *app) nearProject(ctx context.Context, c *client.Client, name string) string {
	list, err := c.Projects(ctx, pedigree.Page{Limit: pedigree.MaxLimit}, pedigree.At{})
	if err != nil {
		return ""
	}
	var names []string
	for _, p := range list.Items {
		names = append(names, string(p.Name))
	}
	if n := pedigree.Misspelt(name, names, 5); n != "" {
		return "did you mean " + n + "?"
	}
	fix := "pedigree project ls lists those that you may see, and -p NAME works in one; pedigree project create " + name + " makes it"
	if _, err := c.In(a.home).Model(ctx, pedigree.Name(name), pedigree.At{}); err == nil {
		fix = "a version of the model " + name + " is a number, as in " + name + "/7; " + fix
	}
	return fix
}

func nearAlias(ctx context.Context, c *client.Client, model pedigree.Name, alias string) string {
	list, err := c.Aliases(ctx, model, pedigree.At{})
	if err != nil {
		return ""
	}
	var names []string
	for _, m := range list.Items {
		names = append(names, string(m.Alias))
	}
	if n := pedigree.Misspelt(alias, names, 5); n != "" {
		return "did you mean " + pedigree.Reference{Model: model, Alias: pedigree.Alias(n)}.String() + "?"
	}
	return "pedigree alias ls " + shellWord(string(model)) + " lists them"
}

// deletedModel is how to read the history of a model that had the name; "" where none
// had it.
func deletedModel(ctx context.Context, c *client.Client, name, project string) string {
	list, err := c.Events(ctx, pedigree.EventQuery{Types: []pedigree.EventType{pedigree.ModelDeleted}, After: -1, Newest: true, Limit: pedigree.MaxLimit})
	if err != nil {
		return ""
	}
	p, err := c.GetProject(ctx, pedigree.ProjectName(project), pedigree.At{})
	if err != nil {
		return ""
	}
	for i := range list.Items {
		if e, err := list.Items[i].Event(); err == nil && e.String("name") == name && e.String("project") == p.ID {
			return "a model of this name was deleted on " + stamp(e.Time) + " UTC; its history: pedigree log " + e.Subject
		}
	}
	return ""
}
