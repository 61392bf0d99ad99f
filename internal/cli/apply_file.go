package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
)

// The kinds of documents that apply reads, in the order in which they are applied: what
// comes later may rest on what comes before.
const (
	kindProject = "project"
	kindBinding = "binding"
	kindTarget  = "target"
	kindPolicy  = "policy"
	kindWebhook = "webhook"
)

var applyKinds = []string{kindProject, kindBinding, kindTarget, kindPolicy, kindWebhook}

// scopeKeys say what a document belongs to: a project, or the whole instance; neither is
// the project that the command works in.
type scopeKeys struct {
	Project  pedigree.ProjectName `json:"project"`
	Instance bool                 `json:"instance"`
}

type projectDocument struct {
	Kind        string               `json:"kind"`
	Name        pedigree.ProjectName `json:"name"`
	Description string               `json:"description"`
}

type bindingDocument struct {
	Kind string `json:"kind"`
	scopeKeys
	Role    pedigree.Role `json:"role"`
	Members []string      `json:"members"`
}

type targetDocument struct {
	Kind    string               `json:"kind"`
	Project pedigree.ProjectName `json:"project"`
	Name    pedigree.TargetName  `json:"name"`
	// TargetKind is the spec's kind: that word says here what the document is.
	TargetKind pedigree.TargetKind `json:"target_kind"`
	pedigree.TargetSpec
	// LogSchema is the name of a file, beside the one that names it.
	LogSchema string `json:"log_schema"`
}

type policyDocument struct {
	Kind     string `json:"kind"`
	Instance bool   `json:"instance"`
	pedigree.Policy
}

type webhookDocument struct {
	Kind string `json:"kind"`
	scopeKeys
	Name        string   `json:"name"`
	Description string   `json:"description"`
	URL         string   `json:"url"`
	Types       []string `json:"types"`
	Models      []string `json:"models"`
	Active      *bool    `json:"active"`
}

// declaration is a thing that is to be as a document says.
type declaration struct {
	kind    string
	project pedigree.ProjectName // "" is the instance
	name    string
	file    string
	line    int

	description string              // of a project
	role        pedigree.Role       // of a binding, whose name is the member
	target      pedigree.TargetSpec // normalized
	policy      *policyFile
	webhook     webhookDocument
}

// at puts the place of d before an error of the registry.
func (d *declaration) at(err error) error {
	var e *pedigree.Error
	if !errors.As(err, &e) || strings.HasPrefix(e.Message, d.file+":") {
		return err
	}
	placed := *e
	placed.Message = fmt.Sprintf("%s:%d: %s", d.file, d.line, e.Message)
	return &placed
}

func (d *declaration) wrong(format string, args ...any) *pedigree.Error {
	return pedigree.Errorf(pedigree.CodeInvalid, "%s:%d: %s", d.file, d.line, fmt.Sprintf(format, args...))
}

// key says which thing d is about.
func (d *declaration) key() string {
	return strings.Join([]string{d.kind, string(d.project), string(d.role), d.name}, "\x00")
}

// readDeclarations reads files and folders, in which files are looked for that end in
// .yaml or .yml. The errors are [pedigree.CodeInvalid] and begin with file and line.
func (a *app) readDeclarations(paths []string, allowSecrets bool) ([]declaration, error) {
	var files []string
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case p == "-" || err == nil && !info.IsDir():
			files = append(files, p)
			continue
		case err != nil:
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "%s can't be read: %w", p, err)
		}
		before := len(files)
		err = filepath.WalkDir(p, func(name string, entry fs.DirEntry, err error) error {
			switch hidden := name != p && strings.HasPrefix(entry.Name(), "."); {
			case err != nil:
				return err
			case hidden && entry.IsDir():
				return fs.SkipDir
			case !hidden && !entry.IsDir() && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)):
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "%s can't be read: %w", p, err)
		}
		if len(files) == before {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "there is no .yaml or .yml file in %s", p)
		}
	}
	var out []declaration
	for _, file := range files {
		data, err := a.readFile(file)
		if err != nil {
			return nil, err
		}
		docs, err := documents(data, file)
		if err != nil {
			return nil, err
		}
		for _, doc := range docs {
			found, err := a.declared(doc, data, file, allowSecrets)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	places := map[string]*declaration{}
	for i := range out {
		d := &out[i]
		if before := places[d.key()]; before != nil {
			return nil, d.wrong("%s %s is in %s:%d already", d.kind, d.name, before.file, before.line)
		}
		places[d.key()] = d
	}
	slices.SortStableFunc(out, func(x, y declaration) int {
		return slices.Index(applyKinds, x.kind) - slices.Index(applyKinds, y.kind)
	})
	return out, nil
}

// declared reads what one document declares.
func (a *app) declared(doc *yaml.Node, data []byte, file string, allow bool) ([]declaration, error) {
	d := declaration{file: file, line: doc.Content[0].Line}
	if kind := member(doc, "kind"); kind != nil {
		d.kind = kind.Value
	}
	switch d.kind {
	case kindProject:
		var in projectDocument
		if err := decodeTyped(doc, file, &in); err != nil {
			return nil, err
		}
		if in.Name == "" {
			return nil, d.wrong("which project? name: is missing")
		}
		d.project, d.name, d.description = in.Name, string(in.Name), in.Description
		return []declaration{d}, d.refuse(allow, map[string]string{"description": in.Description})
	case kindBinding:
		return a.declaredBindings(d, doc)
	case kindTarget:
		return a.declaredTarget(d, doc, allow)
	case kindPolicy:
		var in policyDocument
		if err := decodeTyped(doc, file, &in); err != nil {
			return nil, err
		}
		scope, err := a.scope(&d, scopeKeys{in.Project, in.Instance})
		if err != nil {
			return nil, err
		}
		in.Project = scope
		d.project = scope
		d.policy, err = policyOf(in.Policy, doc, data, file)
		if err != nil {
			return nil, err
		}
		d.name = d.policy.policy.Scope()
		return []declaration{d}, nil
	case kindWebhook:
		return a.declaredWebhook(d, doc, allow)
	case "":
		return nil, d.wrong("the document does not say what it is: kind is missing").WithFix("kind: %s", strings.Join(applyKinds, ", "))
	}
	err := d.wrong("there is no kind %q", d.kind)
	if near := pedigree.Nearest(d.kind, applyKinds); near != "" {
		return nil, err.WithFix("did you mean %s?", near)
	}
	return nil, err.WithFix("kind: %s", strings.Join(applyKinds, ", "))
}

// scope is what a document belongs to.
func (a *app) scope(d *declaration, s scopeKeys) (pedigree.ProjectName, error) {
	switch {
	case s.Instance && s.Project != "":
		return "", d.wrong("project: %s and instance: true say different things", s.Project)
	case s.Instance:
		return "", nil
	case s.Project == "":
		return a.projectName(), nil
	}
	return s.Project, nil
}

func (d *declaration) refuse(allow bool, texts map[string]string) error {
	named := map[string]string{}
	for what, text := range texts {
		named[fmt.Sprintf("%s:%d: %s", d.file, d.line, what)] = text
	}
	return refuseTyped(allow, named)
}

func (a *app) declaredBindings(d declaration, doc *yaml.Node) ([]declaration, error) {
	var in bindingDocument
	if err := decodeTyped(doc, d.file, &in); err != nil {
		return nil, err
	}
	if in.Role == "" {
		return nil, d.wrong("which role? role: is missing")
	}
	if len(in.Members) == 0 {
		return nil, d.wrong("who is %s? members: is missing", in.Role).WithFix("members: [ann, group:risk-officers]")
	}
	scope, err := a.scope(&d, in.scopeKeys)
	if err != nil {
		return nil, err
	}
	d.project, d.role = scope, in.Role
	out := make([]declaration, 0, len(in.Members))
	lines := member(doc, "members")
	for i, m := range in.Members {
		d.name, d.line = m, lines.Content[i].Line
		out = append(out, d)
	}
	return out, nil
}

func (a *app) declaredTarget(d declaration, doc *yaml.Node, allow bool) ([]declaration, error) {
	var in targetDocument
	if err := decodeTyped(doc, d.file, &in); err != nil {
		return nil, err
	}
	if in.Name == "" {
		return nil, d.wrong("which target? name: ENV/NAME is missing")
	}
	if in.TargetKind == "" {
		return nil, d.wrong("which kind of target is %s? target_kind: is missing", in.Name).WithFix("target_kind: online, batch, managed or edge")
	}
	d.name, d.project, d.target = string(in.Name), in.Project, in.TargetSpec
	if d.project == "" {
		d.project = a.projectName()
	}
	d.target.Kind = in.TargetKind
	if in.LogSchema != "" {
		name := in.LogSchema
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(d.file), name)
		}
		schema, err := os.ReadFile(name)
		if err != nil {
			return nil, d.wrong("log_schema can't be read: %s", err)
		}
		d.target.LogSchema = schema
	}
	if err := d.target.Normalize(); err != nil {
		return nil, d.at(err)
	}
	urls := []string{string(in.Runbook), string(in.OnCall)}
	for _, u := range in.Dashboards {
		urls = append(urls, string(u))
	}
	return []declaration{d}, d.refuse(allow, map[string]string{"description": in.Description, "owner": in.Owner, "an address": strings.Join(urls, "\n")})
}

func (a *app) declaredWebhook(d declaration, doc *yaml.Node, allow bool) ([]declaration, error) {
	var in webhookDocument
	if err := decodeTyped(doc, d.file, &in); err != nil {
		return nil, err
	}
	if in.Name == "" {
		return nil, d.wrong("which webhook? name: is missing").WithFix("webhooks are known by their names here: no two of a project may have the same")
	}
	if in.URL == "" {
		return nil, d.wrong("where does webhook %s go? url: is missing", in.Name)
	}
	scope, err := a.scope(&d, in.scopeKeys)
	if err != nil {
		return nil, err
	}
	types, err := webhookTypes(in.Types)
	var e *pedigree.Error
	if errors.As(err, &e) {
		return nil, d.wrong("types: %s", strings.TrimPrefix(e.Message, "--type ")).WithFix("%s", e.Fix)
	}
	slices.Sort(types)
	in.Types = slices.Compact(types)
	d.project, d.name, d.webhook = scope, in.Name, in
	return []declaration{d}, d.refuse(allow, map[string]string{"name": in.Name, "description": in.Description, "url": in.URL})
}
