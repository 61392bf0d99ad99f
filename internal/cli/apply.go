package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// The actions of a plan.
const (
	actCreate = "create"
	actChange = "change"
	actRemove = "remove"
	actNone   = "unchanged"
)

// applyStep is what apply does about one thing.
type applyStep struct {
	Action  string               `json:"action"`
	Kind    string               `json:"kind"`
	Project pedigree.ProjectName `json:"project,omitempty"`
	Name    string               `json:"name"`
	// File and Line are where it is declared.
	File   string        `json:"file,omitempty"`
	Line   int           `json:"line,omitempty"`
	Fields []fieldChange `json:"fields,omitempty"`
	// Done says that it was done, Secret is that of a webhook that was made.
	Done   bool   `json:"done"`
	Secret string `json:"secret,omitempty"`
	// Curl are the lines that do the same; only a plan has them.
	Curl []string `json:"curl,omitempty"`

	do func(context.Context) error
}

// fieldChange is a field that differs between the registry and a file.
type fieldChange struct {
	Field string `json:"field"`
	From  any    `json:"from"`
	To    any    `json:"to"`
}

// applied is the answer of apply.
type applied struct {
	DryRun    bool         `json:"dry_run"`
	Created   int          `json:"create"`
	Changed   int          `json:"change"`
	Removed   int          `json:"remove"`
	Unchanged int          `json:"unchanged"`
	Steps     []*applyStep `json:"steps"`
}

func newApplyCommand(a *app) *cobra.Command {
	var files []string
	var prune, yes, allow bool
	var reason string
	cmd := &cobra.Command{
		Use:   "apply -f FILE|FOLDER",
		Short: "Make projects, roles, targets, policies and webhooks as files say",
		Long: `Apply reads YAML documents, several in a file, and makes what they name as they say. A document
says what it is by its kind: project, binding, target, policy or webhook; of a folder, every
.yaml and .yml file is read. First comes the plan: all files are read, names are looked up, and
expressions checked before anything changes. Then projects, roles, targets, policies and
webhooks are made or changed, in this order. What is like that already stays as it is: applying
twice changes nothing. A field of a target, a policy or a webhook that the file leaves out is
taken away.

With --prune, what else is in the projects that the files declare is removed: roles, targets,
the policy and webhooks, but never projects, and nothing of the whole instance. This takes
--yes. examples/registry is a folder to begin with.`,
		Example: `  pedigree apply -f registry/ --dry-run
  pedigree apply -f registry/
  pedigree apply -f registry/ --prune --yes --reason "registry.git at 1f3c9e2"`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return pedigree.Errorf(pedigree.CodeInvalid, "which files?").WithFix("pedigree apply -f FILE|FOLDER")
			}
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			declared, err := a.readDeclarations(files, allow)
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			p := &planner{client: c, reason: reason, exists: map[pedigree.ProjectName]bool{}}
			if err := p.plan(cmd.Context(), declared, prune); err != nil {
				return err
			}
			out := p.answer(a.dryRun)
			if !a.dryRun && out.Removed > 0 && !yes {
				if a.people() {
					out.DryRun = true // it is one, as things stand
					if err := a.rehearseSteps(cmd.Context(), out.Steps); err != nil {
						return err
					}
					out.write(a.stderr, false)
				}
				return pedigree.Errorf(pedigree.CodeRefused, "nothing was changed: %s would be removed", count(out.Removed, "thing")).WithFix("add --yes to remove them, or leave out --prune")
			}
			if a.dryRun {
				if err := a.rehearseSteps(cmd.Context(), out.Steps); err != nil {
					return err
				}
			}
			var failed error
			for _, s := range out.Steps {
				if a.dryRun || failed != nil || s.Action == actNone {
					continue
				}
				if failed = s.do(cmd.Context()); failed == nil {
					s.Done = true
				}
			}
			var names []string
			for _, s := range out.Steps {
				if s.Action != actNone && (a.dryRun || s.Done) {
					names = append(names, s.title())
				}
			}
			if err := a.print(answer{value: out, names: names, human: func(w io.Writer) { out.write(w, failed != nil) }}); err != nil {
				return err
			}
			return failed
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "`FILE` or folder to read; - is standard input; may be repeated")
	a.dryRunFlag(cmd)
	cmd.Flags().BoolVar(&prune, "prune", false, "remove what else is in the projects that the files declare")
	cmd.Flags().BoolVar(&yes, "yes", false, "remove what the plan says")
	cmd.Flags().StringVar(&reason, "reason", "", "why things are removed; it stays in the log")
	allowSecrets(cmd.Flags(), &allow)
	return cmd
}

// rehearseSteps finds the curl lines of a plan. They are in the order in which they must be
// sent, and none needs the answer of another.
func (a *app) rehearseSteps(ctx context.Context, steps []*applyStep) error {
	for _, s := range steps {
		if s.Action == actNone {
			continue
		}
		sent, err := a.rehearse(func() error { return s.do(ctx) })
		if err != nil {
			return err
		}
		s.Curl = curls(sent)
	}
	return nil
}

// title names the thing of a step.
func (s *applyStep) title() string {
	where := string(s.Project)
	switch {
	case s.Kind == kindProject || s.Kind == kindPolicy:
		return s.Kind + " " + s.Name
	case where == "":
		where = pedigree.InstanceScope
	}
	return s.Kind + " " + where + ": " + s.Name
}

// write shows a plan, or what was done of it; broken says that it was not done to its end.
func (out *applied) write(w io.Writer, broken bool) {
	for _, s := range out.Steps {
		note := ""
		if broken && s.Action != actNone && !s.Done {
			note = "  (NOT DONE)"
		}
		fmt.Fprintf(w, "%-9s  %s%s\n", s.Action, printable(s.title()), note)
		for _, f := range s.Fields {
			fmt.Fprintf(w, "             %s: %s → %s\n", printable(f.Field), fieldText(f.From), fieldText(f.To))
		}
		if s.Secret != "" {
			fmt.Fprintf(w, "             secret %s (shown this once: give it to the receiver)\n", s.Secret)
		}
	}
	switch total := out.Created + out.Changed + out.Removed; {
	case broken:
		fmt.Fprintln(w, "not all of it was done; applying it again goes on")
	case total == 0:
		fmt.Fprintf(w, "nothing to do: all %d are like that already\n", out.Unchanged)
	case out.DryRun:
		fmt.Fprintf(w, "would create %d, change %d, remove %d; %d unchanged\n", out.Created, out.Changed, out.Removed, out.Unchanged)
		fmt.Fprintln(w, "the same with curl, in this order:")
		for _, s := range out.Steps {
			for _, line := range s.Curl {
				fmt.Fprintln(w, "  "+line)
			}
		}
	default:
		fmt.Fprintf(w, "created %d, changed %d, removed %d; %d unchanged\n", out.Created, out.Changed, out.Removed, out.Unchanged)
	}
}

// fieldText is a value in a line of a plan.
func fieldText(v any) string {
	if v == nil {
		return "-"
	}
	if text, ok := v.(string); ok {
		return printable(cut(text, 60))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return printable(cut(string(text), 60))
}

// planner compares what is declared with what is there.
type planner struct {
	client *client.Client
	reason string
	steps  []*applyStep
	// exists are the projects that were there when they were looked up.
	exists map[pedigree.ProjectName]bool
	// made are the projects that the plan makes.
	made []pedigree.ProjectName
}

func (p *planner) answer(dryRun bool) *applied {
	out := &applied{DryRun: dryRun, Steps: p.steps}
	for _, s := range p.steps {
		switch s.Action {
		case actCreate:
			out.Created++
		case actChange:
			out.Changed++
		case actRemove:
			out.Removed++
		default:
			out.Unchanged++
		}
	}
	return out
}

// step adds what is to be done about d.
func (p *planner) step(d *declaration, action string, fields []fieldChange, do func(context.Context) error) *applyStep {
	s := &applyStep{Action: action, Kind: d.kind, Project: d.project, Name: d.name, File: d.file, Line: d.line, Fields: fields}
	if d.kind == kindBinding {
		s.Name = d.name + " is " + string(d.role)
	}
	s.do = func(ctx context.Context) error { return d.at(do(ctx)) }
	p.steps = append(p.steps, s)
	return s
}

func (p *planner) plan(ctx context.Context, declared []declaration, prune bool) error {
	for i := range declared {
		d := &declared[i]
		plan := map[string]func(context.Context, *declaration) error{
			kindProject: p.project, kindBinding: p.binding, kindTarget: p.target, kindPolicy: p.policy, kindWebhook: p.webhook,
		}[d.kind]
		if err := p.known(ctx, d); err != nil {
			return d.at(err)
		}
		if err := plan(ctx, d); err != nil {
			return d.at(err)
		}
	}
	if !prune {
		return nil
	}
	for i := range declared {
		if d := &declared[i]; d.kind == kindProject && p.exists[d.project] {
			if err := p.prune(ctx, d.project, declared); err != nil {
				return err
			}
		}
	}
	return nil
}

// known looks the project of d up, which must be there or be made by the plan.
func (p *planner) known(ctx context.Context, d *declaration) error {
	if d.project == "" || d.kind == kindProject || p.exists[d.project] || slices.Contains(p.made, d.project) {
		return nil
	}
	if _, err := p.client.GetProject(ctx, d.project, pedigree.At{}); err != nil {
		return err
	}
	p.exists[d.project] = true
	return nil
}

// fresh says that the project of d is only made by the plan: nothing is in it.
func (p *planner) fresh(d *declaration) bool { return slices.Contains(p.made, d.project) }

func (p *planner) project(ctx context.Context, d *declaration) error {
	now, err := p.client.GetProject(ctx, d.project, pedigree.At{})
	switch {
	case pedigree.CodeOf(err) == pedigree.CodeNotFound:
		p.made = append(p.made, d.project)
		p.step(d, actCreate, nil, func(ctx context.Context) error {
			_, err := p.client.CreateProject(ctx, d.project, d.description)
			return err
		})
		return nil
	case err != nil:
		return err
	case now.Description != d.description:
		return pedigree.Errorf(pedigree.CodeRefused, "project %s has another description, and it can't be changed", d.name).
			WithFix("write what is there: pedigree project show %s", d.name)
	}
	p.exists[d.project] = true
	p.step(d, actNone, nil, nil)
	return nil
}

// bindings reads who has which role.
func (p *planner) bindings(ctx context.Context, project pedigree.ProjectName) (pedigree.List[pedigree.Binding], error) {
	return gather(0, func(page pedigree.Page) (pedigree.List[pedigree.Binding], error) {
		return p.client.Bindings(ctx, project, page, pedigree.At{})
	})
}

// names says whether a declared member is that of a binding.
func (d *declaration) names(b *pedigree.Binding) bool {
	id := b.Member.ID
	if b.Member.Group {
		id = pedigree.GroupPrefix + id
	}
	return d.kind == kindBinding && d.role == b.Role && (d.name == b.Member.Label() || d.name == b.Member.ID || d.name == id)
}

func (p *planner) binding(ctx context.Context, d *declaration) error {
	if !p.fresh(d) {
		list, err := p.bindings(ctx, d.project)
		if err != nil {
			return err
		}
		for i := range list.Items {
			if d.names(&list.Items[i]) {
				p.step(d, actNone, nil, nil)
				return nil
			}
		}
	}
	// Who may not look members up learns from the change itself that one is not there.
	if group, ok := strings.CutPrefix(d.name, pedigree.GroupPrefix); ok {
		if _, err := p.client.GetGroup(ctx, group); pedigree.CodeOf(err) == pedigree.CodeNotFound {
			return pedigree.Errorf(pedigree.CodeNotFound, "there is no group %s", group).WithFix("pedigree group create %s", shellWord(group))
		}
	} else if _, err := p.client.GetAccount(ctx, d.name); pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return pedigree.Errorf(pedigree.CodeNotFound, "there is no account %s", d.name).WithFix("pedigree account create %s", shellWord(d.name))
	}
	p.step(d, actCreate, nil, func(ctx context.Context) error {
		_, err := p.client.AddBinding(ctx, d.project, pedigree.NewBinding{Role: d.role, Member: d.name})
		return err
	})
	return nil
}

func (p *planner) target(ctx context.Context, d *declaration) error {
	name, c := pedigree.TargetName(d.name), p.client.In(d.project)
	create := func(ctx context.Context) error {
		_, err := c.CreateTarget(ctx, name, d.target)
		return err
	}
	if p.fresh(d) {
		p.step(d, actCreate, nil, create)
		return nil
	}
	now, err := c.Target(ctx, name, pedigree.At{})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		p.step(d, actCreate, nil, create)
		return nil
	}
	if err != nil {
		return err
	}
	if err := now.Normalize(); err != nil {
		return err
	}
	changes, err := differences(now.TargetSpec, d.target)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		p.step(d, actNone, nil, nil)
		return nil
	}
	edit := map[string]any{}
	for _, f := range changes {
		edit[f.Field] = f.To
	}
	if _, ok := edit["log_schema"]; ok && len(d.target.LogSchema) > 0 {
		edit["log_schema"] = d.target.LogSchema // as it is written, whatever JSON does to numbers
	}
	p.step(d, actChange, changes, func(ctx context.Context) error {
		_, err := c.EditTarget(ctx, name, edit, &now.Changed)
		return err
	})
	return nil
}

func (p *planner) policy(ctx context.Context, d *declaration) error {
	next := d.policy.policy
	probe := next
	if p.fresh(d) {
		probe.Project = "" // expressions are the same everywhere, and the project is not there yet
	}
	_, changed, err := p.client.ApplyPolicy(ctx, probe, true)
	if err != nil {
		return d.policy.place(err)
	}
	apply := func(ctx context.Context) error {
		_, _, err := p.client.ApplyPolicy(ctx, next, false)
		return d.policy.place(err)
	}
	if p.fresh(d) {
		p.step(d, actCreate, nil, apply)
		return nil
	}
	now, err := p.client.Policy(ctx, d.project, pedigree.At{})
	switch {
	case pedigree.CodeOf(err) == pedigree.CodeNotFound:
		p.step(d, actCreate, nil, apply)
		return nil
	case err != nil:
		return err
	case !changed:
		p.step(d, actNone, nil, nil)
		return nil
	}
	changes, err := differences(policyFields(now), policyFields(next))
	if err != nil {
		return err
	}
	p.step(d, actChange, changes, apply)
	return nil
}

// policyFields are the fields of a policy with each gate by its name, to be compared.
func policyFields(p pedigree.Policy) map[string]any {
	out := map[string]any{"description": p.Description, "approvals": p.Approvals, "override": p.Override, "protected.aliases": p.Protected.Aliases, "protected.targets": p.Protected.Targets}
	for i := range p.Gates {
		out["gates."+p.Gates[i].Name] = p.Gates[i]
	}
	return out
}

// webhooks reads the webhooks of a project, or of the instance.
func (p *planner) webhooks(ctx context.Context, project pedigree.ProjectName) (pedigree.List[pedigree.Webhook], error) {
	return gather(0, func(page pedigree.Page) (pedigree.List[pedigree.Webhook], error) {
		return p.client.Webhooks(ctx, project, page)
	})
}

// webhookFields are what a file can say of a webhook.
type webhookFields struct {
	Description string   `json:"description,omitempty"`
	URL         string   `json:"url"`
	Types       []string `json:"types,omitempty"`
	Models      []string `json:"models,omitempty"`
	Active      bool     `json:"active"`
}

func (p *planner) webhook(ctx context.Context, d *declaration) error {
	next := webhookFields{d.webhook.Description, d.webhook.URL, d.webhook.Types, nil, d.webhook.Active == nil || *d.webhook.Active}
	for _, text := range d.webhook.Models {
		id := text
		if !strings.HasPrefix(text, "mdl_") {
			ref, err := pedigree.ParseReference(text)
			if err != nil {
				return err
			}
			if ref.Project == "" {
				ref.Project = d.project
			}
			m, err := p.client.In(ref.Project).Model(ctx, ref.Model, pedigree.At{})
			if err != nil {
				return err
			}
			id = m.ID
		}
		next.Models = append(next.Models, id)
	}
	slices.Sort(next.Models)
	next.Models = slices.Compact(next.Models)
	var found []pedigree.Webhook
	if !p.fresh(d) {
		list, err := p.webhooks(ctx, d.project)
		if err != nil {
			return err
		}
		for i := range list.Items {
			if list.Items[i].Name == d.name {
				found = append(found, list.Items[i])
			}
		}
	}
	if len(found) > 1 {
		return pedigree.Errorf(pedigree.CodeRefused, "two webhooks are called %s, and which one is meant can't be told", d.name).
			WithFix("pedigree webhook edit %s --name OTHER", found[0].ID)
	}
	if len(found) == 0 {
		var s *applyStep
		s = p.step(d, actCreate, nil, func(ctx context.Context) error {
			w, err := p.client.CreateWebhook(ctx, d.project, client.NewWebhook{
				URL: next.URL, Name: d.name, Description: next.Description, Types: next.Types, Models: next.Models, Inactive: !next.Active,
			})
			s.Secret = w.Secret
			return err
		})
		return nil
	}
	w := &found[0]
	changes, err := differences(webhookFields{w.Description, w.URL, w.Types, w.Models, w.Active}, next)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		p.step(d, actNone, nil, nil)
		return nil
	}
	types, models := append([]string{}, next.Types...), append([]string{}, next.Models...)
	edit := pedigree.WebhookEdit{Description: &next.Description, URL: &next.URL, Types: &types, Models: &models, Active: &next.Active, Reason: p.reason}
	p.step(d, actChange, changes, func(ctx context.Context) error {
		_, err := p.client.EditWebhook(ctx, d.project, w.ID, edit, &w.Changed)
		return err
	})
	return nil
}

// prune adds the removal of what is in a project and not declared.
func (p *planner) prune(ctx context.Context, project pedigree.ProjectName, declared []declaration) error {
	remove := func(kind, name string, do func(context.Context) error) {
		p.steps = append(p.steps, &applyStep{Action: actRemove, Kind: kind, Project: project, Name: name, do: do})
	}
	kept := func(is func(*declaration) bool) bool {
		for i := range declared {
			if d := &declared[i]; d.project == project && is(d) {
				return true
			}
		}
		return false
	}
	hooks, err := p.webhooks(ctx, project)
	if err != nil {
		return err
	}
	for i := range hooks.Items {
		w := &hooks.Items[i]
		if w.Format == pedigree.FormatStandard && !kept(func(d *declaration) bool { return d.kind == kindWebhook && d.name == w.Name }) {
			remove(kindWebhook, words([]string{w.Name, w.ID}), func(ctx context.Context) error { return p.client.DeleteWebhook(ctx, project, w.ID, p.reason) })
		}
	}
	if !kept(func(d *declaration) bool { return d.kind == kindPolicy }) {
		_, err := p.client.Policy(ctx, project, pedigree.At{})
		if err == nil {
			remove(kindPolicy, string(project), func(ctx context.Context) error { return p.client.RemovePolicy(ctx, project, p.reason) })
		} else if pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return err
		}
	}
	c := p.client.In(project)
	targets, err := gather(0, func(page pedigree.Page) (pedigree.List[pedigree.TargetStatus], error) {
		return c.Targets(ctx, page, pedigree.At{})
	})
	if err != nil {
		return err
	}
	for i := range targets.Items {
		s := &targets.Items[i]
		name := s.Target.Name
		if kept(func(d *declaration) bool { return d.kind == kindTarget && d.name == string(name) }) {
			continue
		}
		for _, d := range slices.Concat(standing(s.Current), standing(s.Pending), s.Others) {
			return pedigree.Errorf(pedigree.CodeRefused, "target %s is in no file, and it is in use: %s is %s there", name, d.Reference(), d.State).
				WithFix("declare it, or pedigree deployment end %s --reason WHY", d.ID)
		}
		remove(kindTarget, string(name), func(ctx context.Context) error { return c.DeleteTarget(ctx, name, p.reason) })
	}
	bindings, err := p.bindings(ctx, project)
	if err != nil {
		return err
	}
	for i := range bindings.Items {
		b := &bindings.Items[i]
		if kept(func(d *declaration) bool { return d.names(b) }) {
			continue
		}
		who := b.Member.ID
		if b.Member.Group {
			who = pedigree.GroupPrefix + who
		}
		remove(kindBinding, b.Member.Label()+" is "+string(b.Role), func(ctx context.Context) error {
			return p.client.RemoveBinding(ctx, project, pedigree.NewBinding{Role: b.Role, Member: who})
		})
	}
	return nil
}

func standing(d *pedigree.Deployment) []pedigree.Deployment {
	if d == nil {
		return nil
	}
	return []pedigree.Deployment{*d}
}

// differences are the fields in which the JSON forms of two values differ, by name.
func differences(before, after any) ([]fieldChange, error) {
	var from, to map[string]any
	for v, into := range map[any]*map[string]any{&before: &from, &after: &to} {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, into); err != nil {
			return nil, err
		}
	}
	var out []fieldChange
	keys := map[string]bool{}
	for _, m := range []map[string]any{from, to} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range sortedKeys(keys) {
		if x, y := from[k], to[k]; !reflect.DeepEqual(x, y) && !(blank(x) && blank(y)) {
			out = append(out, fieldChange{k, x, y})
		}
	}
	return out, nil
}

// blank says that a value says nothing.
func blank(v any) bool {
	list, isList := v.([]any)
	return v == nil || v == "" || isList && len(list) == 0
}
