package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/capture"
	"github.com/pedigree-ml/pedigree/internal/link"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
)

// pushFlags are the flags of push beside those of the record.
type pushFlags struct {
	recordFlags
	link, linkDigest string
	linkHash         bool
	linkSize         int64
	tags, aliases    []string
	description      string
	script           string
	exclude          []string
	parallel         int
	noCapture        bool
	noDiff           bool
	noCreate         bool
}

func newPushCommand(a *app) *cobra.Command {
	f := &pushFlags{}
	cmd := &cobra.Command{
		Use:   "push MODEL [PATH]",
		Short: "Register a file or folder as the next version of a model",
		Long: `Push uploads a file or folder and registers it as the next version of a model, with the
record of how it came about. The commit, the environment, the machine and the CI run are
captured; what only you know is given by flags or in a YAML file (--record).

Bytes that the registry has already are not sent again. With --link nothing is uploaded:
the version points to a place elsewhere.

The answer says how complete the record is, for each stage of the version's life, and
which flag fills each gap. pedigree amend fills them later.`,
		Example: `  pedigree push fraud ./model --metric auc=0.93@test --data train=s3://lake/fraud/2026-10@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  pedigree push fraud model.onnx --record record.yaml --owner team:risk --target prod/fraud-api --alias candidate
  pedigree push fraud --link s3://models/fraud/2026-10-31 --parent fine-tuned-from=fraud/6 --no-capture`,
		Args:              args(1, 2),
		ValidArgsFunction: a.completeThenFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.push(cmd.Context(), f, args)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.register(flags)
	flags.StringArrayVar(&f.tags, "tag", nil, "tag of the version, `KEY=VALUE` (repeat)")
	flags.StringVar(&f.description, "description", "", "what to know of this version, in Markdown")
	flags.StringArrayVar(&f.aliases, "alias", nil, "alias `NAME` to point at it (repeat)")
	flags.StringVar(&f.link, "link", "", "`URI` of an artifact that stays where it is, instead of PATH")
	flags.StringVar(&f.linkDigest, "digest", "", "`DIGEST` of the linked artifact, sha256:…")
	flags.Int64Var(&f.linkSize, "size", -1, "size of the linked artifact in `BYTES`")
	flags.BoolVar(&f.linkHash, "hash-link", false, "read the bytes of the linked artifact and record their digest")
	flags.StringVar(&f.script, "script", "", "training script or notebook `FILE`")
	flags.BoolVar(&f.noCapture, "no-capture", false, "capture nothing")
	flags.BoolVar(&f.noDiff, "no-diff", false, "attach no uncommitted changes")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "leave out files that match `GLOB` (repeat)")
	flags.IntVar(&f.parallel, "parallel", 0, "files to hash and to send at the same time (default: by the machine)")
	flags.BoolVar(&f.noCreate, "no-create", false, "fail where the model does not exist")
	a.dryRunFlag(cmd)
	return cmd
}

// modelOf reads the name of a model, which may have its project before it.
func (a *app) modelOf(s string) (pedigree.Name, error) {
	ref, err := pedigree.ParseReference(s)
	if err != nil {
		return "", err
	}
	if ref.Version != 0 || ref.Alias != "" || ref.Digest != "" {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "%s names a version, and here goes the name of a model", ref).WithFix("write: %s", ref.Model)
	}
	return ref.Model, a.enter(ref.Project)
}

// enter makes the project that a reference names the project of the run.
func (a *app) enter(project pedigree.ProjectName) error {
	if project != "" && project != a.projectName() {
		a.project = string(project)
		if a.registry != nil {
			a.registry.client = a.registry.client.In(project)
		}
	}
	return nil
}

func (a *app) push(ctx context.Context, f *pushFlags, args []string) error {
	model, err := a.modelOf(args[0])
	if err != nil {
		return err
	}
	p := client.Push{Model: model, Exclude: f.exclude, Parallel: f.parallel}
	if len(args) == 2 {
		p.Path = args[1]
	}
	if (p.Path == "") == (f.link == "") {
		return pedigree.Errorf(pedigree.CodeInvalid, "push needs a PATH or --link URI, and not both").WithFix("write: pedigree push %s PATH", model)
	}
	if p.Path != "" {
		if _, err := os.Stat(p.Path); err != nil {
			return fileError(err)
		}
	}
	if p.Parallel < 0 {
		return pedigree.Errorf(pedigree.CodeInvalid, "--parallel %d: want 1 or more", p.Parallel)
	}
	captured := a.capture(ctx, f)
	if !f.noCapture {
		describeModel(&captured.Record, p.Path)
	}
	attachments := make([]client.Attachment, len(captured.Attachments))
	for i, at := range captured.Attachments {
		attachments[i] = client.Attachment{Evidence: at.Evidence, Content: at.Content}
	}
	g, err := f.read(ctx, captured.Record, attachments, a.env("PEDIGREE_OWNER"))
	if err != nil {
		return err
	}
	if err := f.complete(ctx, a, &g, &p.Registration); err != nil {
		return err
	}
	// What the person gave needs no advice to give it.
	captured.Notes = slices.DeleteFunc(captured.Notes, func(note string) bool {
		return f.image != "" && strings.Contains(note, "use --image") || f.code != "" && strings.Contains(note, "use --code")
	})
	p.Attachments = g.attachments
	if !f.allowSecrets {
		if err := f.refuseSecrets(&p, &g, findingsOf(captured, g.attachments)); err != nil {
			return err
		}
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	similar, err := a.warnSimilar(ctx, p)
	if err != nil {
		return err
	}
	if a.dryRun {
		return a.planPush(ctx, p, captured.Notes)
	}
	if _, err := a.remember(ctx); err != nil {
		return err
	}
	bar := a.newProgress()
	p.Progress = bar.event
	pushed, err := c.Push(ctx, p)
	bar.stop()
	if err != nil {
		return err
	}
	if _, err := a.remember(ctx); err != nil {
		return err
	}
	return a.printPushed(pushed, similar, captured.Notes)
}

// warnSimilar warns of a push that is about to make a model whose name is nearly that of
// another, and returns that.
func (a *app) warnSimilar(ctx context.Context, p client.Push) (pedigree.Name, error) {
	c, err := a.client(ctx)
	if err != nil || !p.Registration.CreateModel {
		return "", err
	}
	if _, err := c.Model(ctx, p.Model, pedigree.At{}); pedigree.CodeOf(err) != pedigree.CodeNotFound {
		return "", err
	}
	list, err := gather(0, func(page pedigree.Page) (pedigree.List[pedigree.Model], error) {
		return c.Models(ctx, page, pedigree.At{})
	})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return "", nil // there is no such project; the push says so
	}
	names := make([]pedigree.Name, len(list.Items))
	for i, m := range list.Items {
		names[i] = m.Name
	}
	similar := pedigree.SimilarName(p.Model, names)
	if similar != "" {
		a.warn("%s is a new model, and there is one named %s", p.Model, similar)
	}
	return similar, err
}

func (a *app) capture(ctx context.Context, f *pushFlags) capture.Result {
	if f.noCapture {
		return capture.Result{}
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	account := ""
	if u, err := user.Current(); err == nil {
		account = u.Username
	}
	return capture.Capture(ctx, capture.Options{Dir: dir, Env: a.env, Diff: !f.noDiff, Script: f.script, User: account})
}

// describeModel takes signature and flavors from the MLmodel file of the folder that is
// pushed, where there is one.
func describeModel(r *pedigree.Record, dir string) {
	const name = "MLmodel"
	content, err := os.ReadFile(filepath.Join(dir, name))
	if dir == "" || err != nil || len(content) > mlrecord.MaxFile {
		return
	}
	var said pedigree.Record
	mlrecord.FillFile(&said, pedigree.File{Path: name}, content)
	r.Signature, r.Flavors = said.Signature, said.Flavors
}

// findingsOf are the findings in attachments that are still to be pushed.
func findingsOf(captured capture.Result, attachments []client.Attachment) []capture.Finding {
	var out []capture.Finding
	for _, f := range captured.Findings {
		for _, a := range attachments {
			if a.Evidence.Name == f.File {
				out = append(out, f)
				break
			}
		}
	}
	return out
}

// refuseSecrets refuses a push in which something looks like a secret.
func (f *pushFlags) refuseSecrets(p *client.Push, g *given, captured []capture.Finding) error {
	s, err := g.secrets(captured)
	if err != nil {
		return err
	}
	s.text("the model's name", string(p.Model))
	for _, alias := range f.aliases {
		s.text("--alias", alias)
	}
	if p.Path != "" {
		if err := s.files(p.Path, p.Exclude); err != nil {
			return err
		}
	}
	return s.refuse(false)
}

// complete makes the registration of what was given.
func (f *pushFlags) complete(ctx context.Context, a *app, g *given, reg *pedigree.Registration) error {
	tags, err := parsePairs("tag", f.tags)
	if err != nil {
		return err
	}
	for k, v := range tags {
		if g.tags == nil {
			g.tags = map[string]string{}
		}
		g.tags[k] = v
	}
	if f.description != "" {
		g.description = f.description
	}
	if f.link != "" {
		if g.record.Artifact, err = f.linked(ctx, a); err != nil {
			return err
		}
	} else if f.linkDigest != "" || f.linkSize >= 0 {
		return pedigree.Errorf(pedigree.CodeInvalid, "--digest and --size describe a linked artifact; there is no --link")
	} else {
		g.record.Artifact = pedigree.Artifact{}
	}
	for _, s := range f.aliases {
		alias, err := pedigree.ParseAlias(s)
		if err != nil {
			return err
		}
		reg.Aliases = append(reg.Aliases, alias)
	}
	reg.Record, reg.Tags, reg.Description = g.record, g.tags, g.description
	reg.CreateModel = !f.noCreate
	check := g.record // Normalize sorts; what is sent stays as it was given
	return check.Normalize()
}

// linked is the artifact that --link names, with digest and size where they can be had.
// What --digest or --size states of a remote link is taken as it is, unread; a local one
// must be what they say.
func (f *pushFlags) linked(ctx context.Context, a *app) (pedigree.Artifact, error) {
	art := pedigree.Artifact{Kind: pedigree.ArtifactLinked}
	var err error
	if f.linkDigest != "" {
		if art.Digest, err = pedigree.ParseDigest(f.linkDigest); err != nil {
			return art, err
		}
	}
	if f.linkSize >= 0 {
		art.Size = &f.linkSize
	}
	u, err := url.Parse(f.link)
	if err != nil || u.Scheme == "" {
		return art, pedigree.Errorf(pedigree.CodeInvalid, "--link %q is not a URI", cut(f.link, 80)).WithFix("write s3://…, https://…, file:///… or the like")
	}
	if u.Scheme != "file" && (art.Digest != "" || art.Size != nil) {
		art.URI, err = pedigree.ParseSafeURI(f.link)
		return art, err
	}
	info, err := link.Read(ctx, f.link, link.Options{Env: a.env, Digest: f.linkHash})
	switch pedigree.CodeOf(err) {
	case "":
	case pedigree.CodeForbidden, pedigree.CodeUnavailable: // recorded all the same: the reader of the record may have what is lacking here
		a.hint("note: %v; the link is recorded without digest and size", err)
		art.URI, err = pedigree.ParseSafeURI(f.link)
		return art, err
	default:
		return art, err
	}
	if art.Digest != "" && art.Digest != info.Digest {
		return art, pedigree.Errorf(pedigree.CodeInvalid, "--link %s has the digest %s, not %s", info.URI, info.Digest, art.Digest)
	}
	if info.Note != "" {
		a.hint("note: %s", info.Note)
	}
	art.URI, art.Digest, art.Size = info.URI, info.Digest, info.Size
	return art, nil
}

// pushPlan is the answer of push --dry-run.
type pushPlan struct {
	DryRun       bool                  `json:"dry_run"`
	Project      pedigree.ProjectName  `json:"project"`
	Model        pedigree.Name         `json:"model"`
	CreateModel  bool                  `json:"create_model"`
	Registration pedigree.Registration `json:"registration"`
	// Uploaded and Reused are the bytes that would be sent, and that are there.
	Uploaded     int64                   `json:"uploaded"`
	Reused       int64                   `json:"reused"`
	Completeness []pedigree.Completeness `json:"completeness"`
	Curl         []string                `json:"curl"`
}

// planPush shows what a push would do.
func (a *app) planPush(ctx context.Context, p client.Push, notes []string) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	_, err = c.Model(ctx, p.Model, pedigree.At{})
	create := pedigree.CodeOf(err) == pedigree.CodeNotFound && p.Registration.CreateModel
	if err != nil && !create {
		return err
	}
	var pushed client.Pushed
	sent, err := a.rehearse(func() (err error) {
		pushed, err = c.Push(ctx, p)
		return err
	})
	if err != nil {
		return err
	}
	var reg pedigree.Registration
	if err := json.Unmarshal(sent[len(sent)-1].Body, &reg); err != nil { // the uploads come before it
		return err
	}
	if err := reg.Record.Normalize(); err != nil {
		return err
	}
	nameUploads(sent, p.Path, reg.Record.Artifact.Files)
	version := pedigree.Version{Record: reg.Record, Tags: reg.Tags}
	out := pushPlan{
		DryRun: true, Project: c.Project(), Model: p.Model, CreateModel: create, Registration: reg,
		Uploaded: pushed.Uploaded, Reused: pushed.Reused, Completeness: version.Complete(true), // as the registry says it
		Curl: curls(sent),
	}
	for _, n := range notes {
		a.hint("note: %s", n)
	}
	name := a.reference(out.Project, out.Model, 0)
	return a.print(answer{value: out, names: []string{name}, human: func(w io.Writer) {
		if create {
			fmt.Fprintf(w, "would create the model %s\n", name)
		}
		fmt.Fprintf(w, "would register the next version of %s\n", name)
		fmt.Fprintf(w, "%s\n", artifactLine(reg.Record.Artifact, fmt.Sprintf("; %s to upload", size(&out.Uploaded))))
		for _, alias := range reg.Aliases {
			fmt.Fprintf(w, "%s would name it\n", a.display(pedigree.Reference{Project: out.Project, Model: out.Model, Alias: alias}))
		}
		page := page{w}
		a.recordLines(page, &reg.Record)
		page.line("tags", pairs(reg.Tags))
		fmt.Fprint(w, completenessLine(out.Completeness))
		writeCurl(w, sent)
	}})
}

// printPushed writes what a push did, and how complete the record is.
func (a *app) printPushed(p client.Pushed, similar pedigree.Name, notes []string) error {
	ref := a.reference(p.Version.Project, p.Model, p.Number)
	if p.CreatedModel {
		a.hint("created model %s", a.reference(p.Version.Project, p.Model, 0))
	}
	if similar != "" && p.CreatedModel {
		a.warn("if %s was meant: pedigree model rm %s --yes, and push again", similar, shellWord(a.reference(p.Version.Project, p.Model, 0)))
	}
	for _, n := range notes {
		a.hint("note: %s", n)
	}
	return a.print(answer{value: p, names: []string{ref}, human: func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s\n", ref, artifactLine(p.Record.Artifact, "; "+uploaded(p)))
		for _, alias := range p.Aliases {
			fmt.Fprintf(w, "%s → %s\n", a.display(pedigree.Reference{Project: p.Version.Project, Model: p.Model, Alias: alias}), ref)
		}
		fmt.Fprint(w, strings.ReplaceAll(completenessLine(p.Completeness), "pedigree request VERSION", "pedigree request "+shellWord(ref)))
	}})
}

// artifactLine is an artifact in a line; more is added to what stands in parentheses.
func artifactLine(art pedigree.Artifact, more string) string {
	switch art.Kind {
	case pedigree.ArtifactStored:
		return fmt.Sprintf("%s  (%s, %s%s)", art.Digest, count(len(art.Files), "file"), size(art.Size), more)
	case pedigree.ArtifactLinked:
		known := size(art.Size)
		if art.Digest != "" {
			known += ", " + string(art.Digest)
		}
		return fmt.Sprintf("%s  (linked, %s)", art.URI, known)
	}
	return "(no artifact)"
}

func uploaded(p client.Pushed) string {
	up := strings.ToUpper(size(&p.Uploaded)[:1]) + size(&p.Uploaded)[1:] + " uploaded"
	switch {
	case p.Uploaded == 0 && p.UploadedFiles == 0:
		return up + ", all already here"
	case p.Reused > 0:
		return up + ", " + size(&p.Reused) + " already here"
	}
	return up
}

// completenessLine is [completenessLines] in one line; nothing for a prompt, which has no
// completeness.
func completenessLine(stages []pedigree.Completeness) string {
	if len(stages) == 0 {
		return ""
	}
	return "complete: " + strings.Join(completenessLines(stages), " · ") + "\n"
}

// completenessLines says for each stage what is there and which flags fill the gaps:
// "register 5/5", "deploy 6/8, missing: rollback note (--rollback-note TEXT)". A gap is
// named at the first stage that has it.
func completenessLines(stages []pedigree.Completeness) []string {
	var parts []string
	said := map[string]bool{}
	for _, c := range stages {
		part := string(c.Stage) + " " + strconv.Itoa(c.Have) + "/" + strconv.Itoa(c.Want)
		var gaps []string
		for _, g := range c.Missing {
			if !said[g.Field] {
				gaps = append(gaps, g.Field+" ("+g.Flag+")")
			}
			said[g.Field] = true
		}
		if len(gaps) > 0 {
			part += ", missing: " + strings.Join(gaps, ", ")
		}
		parts = append(parts, part)
	}
	return parts
}
