package mlflow

import (
	"encoding/json"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// origin is what a version is made of, once its source was checked.
type origin struct {
	// source is how it is shown and searched.
	source string
	runID  string
	// run and model are what the source comes from, where they are known.
	run   *mlrecord.Run
	model *mlrecord.Model
	// away are the files on the upstream that the version gets; nil for none.
	away *upstream.Tree
	// upstream says that run and model are the upstream's.
	upstream bool
	// files is an artifact URI of ours whose files the version gets; "" for none.
	files string
	// linked says that the bytes are elsewhere, at the source.
	linked bool
	// copied is the version that this one is a copy of.
	copied *pedigree.Version
}

// hostSchemes are the schemes by which a source names a host; the server does not follow
// them.
var hostSchemes = map[string]bool{
	"ftp": true, "sftp": true, "hdfs": true, "viewfs": true, "http": true, "https": true, "r2": true, "b2": true, "abfss": true,
}

// schemeOf is the scheme of a URI in lower case; "" for a path.
func schemeOf(uri string) string {
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok || scheme == "" {
		return ""
	}
	for i, r := range scheme {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return ""
		}
	}
	return strings.ToLower(scheme)
}

func badSource(source, parameter string) error {
	return invalid("Invalid model version source: '%s'. The %s request parameter must identify the resource that contains the source.", clip(source), parameter)
}

// sourceRequest is what a registration says of its source. A run or model that is not
// named is nil.
type sourceRequest struct {
	source       string
	run, modelID *string
}

// origin checks a source, as MLflow does, and finds what it comes from.
func (d *Dialect) origin(c *call, in sourceRequest) (origin, error) {
	scheme := schemeOf(in.source)
	u, _ := url.Parse(in.source) // what can't be parsed has no host
	host := u != nil && u.Host != ""
	if hostSchemes[scheme] || scheme == "mlflow-artifacts" && host && !d.cfg.Upstream.Owns(u) {
		return origin{}, invalid("'source' cannot use the '%s' scheme: the '%s' scheme addresses a host other than the tracking server's configured artifact storage, so the server would connect to the host named in the URI. Set the MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to allow it.", scheme, scheme)
	}
	if scheme == "models" {
		if host {
			return origin{}, invalid("Invalid model version source: '%s'. Registered model sources must use the active model registry.", clip(in.source))
		}
		if o, done, err := d.versionOrigin(c, in); done || err != nil {
			return o, err
		}
	}
	if scheme == "" || scheme == "file" {
		if text(in.modelID) != "" {
			return origin{}, invalid("Invalid model version source: '%s'. To use a local path as a model version source, the model_id request parameter has to be specified and the local path has to be contained within the artifact directory of the run specified by the model_id.", clip(in.source))
		}
		return origin{}, invalid("Invalid model version source: '%s'. To use a local path as a model version source, the run_id request parameter has to be specified and the local path has to be contained within the artifact directory of the run specified by the run_id.", clip(in.source))
	}
	if err := checkRemoteSource(in.source); err != nil {
		return origin{}, err
	}
	o := origin{source: in.source, runID: text(in.run)}
	if elsewhere, err := d.elsewhere(c, &o, in, host); elsewhere || err != nil {
		return o, err
	}
	var err error
	switch scheme {
	case "runs":
		err = d.runOrigin(&o, in, host)
	case "models":
		err = d.loggedModelOrigin(c, &o, in)
	case "mlflow-artifacts":
		err = d.storedOrigin(c, &o, in)
	default:
		o.linked = true
		if id := text(in.modelID); id != "" {
			err = d.findModel(c, &o, id)
		}
	}
	if err != nil {
		return o, err
	}
	return o, d.findRun(c, &o)
}

// findRun reads the run of o, which need not be here: any id is accepted.
func (d *Dialect) findRun(c *call, o *origin) error {
	if o.runID == "" || o.run != nil {
		return nil
	}
	run, err := d.registrar.RunForRegistration(c.ctx(), c.principal, c.project, o.runID)
	switch pedigree.CodeOf(err) {
	case "":
		o.run = recordedRun(&run)
	case pedigree.CodeNotFound, pedigree.CodeInvalid:
		return nil
	}
	return err
}

// findModel reads the logged model with an id, and takes the run from it where the
// request names none.
func (d *Dialect) findModel(c *call, o *origin, id string) error {
	m, err := d.registrar.LoggedModel(c.ctx(), c.principal, c.project, id, false)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return notFound("Logged model with ID '%s' not found.", clip(id))
	}
	if err != nil {
		return err
	}
	o.model = recordedModel(&m)
	if o.runID == "" {
		o.runID = m.SourceRun
	}
	return nil
}

// runOrigin checks runs:/RUN/path.
func (d *Dialect) runOrigin(o *origin, in sourceRequest, host bool) error {
	rest, ok := strings.CutPrefix(in.source, "runs:/")
	id, _, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	switch {
	case text(in.modelID) != "":
		return badSource(in.source, "model_id")
	case !ok || host || id == "" || o.runID != "" && o.runID != id:
		return badSource(in.source, "run_id")
	}
	o.runID, o.files = id, in.source
	return nil
}

// loggedModelOrigin checks models:/m-ID.
func (d *Dialect) loggedModelOrigin(c *call, o *origin, in sourceRequest) error {
	id, ok := strings.CutPrefix(in.source, "models:/")
	id = strings.Trim(id, "/")
	if asked := text(in.modelID); !ok || id == "" || asked != "" && asked != id {
		return badSource(in.source, "model_id")
	}
	if err := d.findModel(c, o, id); err != nil {
		return err
	}
	o.files = o.model.ArtifactURI
	return nil
}

var (
	runFolder   = regexp.MustCompile(`(?:^|/)([0-9a-f]{32})/artifacts(?:/|$)`)
	modelFolder = regexp.MustCompile(`(?:^|/)models/(m-[0-9a-f]{32})/artifacts(?:/|$)`)
)

// storedOrigin checks mlflow-artifacts:/path: it must lie inside of the run or logged
// model that the request names; where it names none, the path does.
func (d *Dialect) storedOrigin(c *call, o *origin, in sourceRequest) error {
	p, ok := registrar.TrackedPath(in.source)
	if !ok {
		return badSource(in.source, "run_id")
	}
	o.files = in.source
	modelID := text(in.modelID)
	if found := modelFolder.FindStringSubmatch(p); modelID == "" && found != nil {
		modelID = found[1]
	}
	if modelID != "" {
		err := d.findModel(c, o, modelID)
		if wire, ok := err.(*wireError); ok && wire.code == "RESOURCE_DOES_NOT_EXIST" || err == nil && !within(p, o.model.ArtifactURI) {
			return badSource(in.source, "model_id")
		}
		return err
	}
	if found := runFolder.FindStringSubmatch(p); o.runID == "" && found != nil {
		o.runID = found[1]
	}
	if o.runID == "" {
		if strings.HasPrefix(p, "versions/") { // what we gave out as a download URI
			return nil
		}
		return badSource(in.source, "run_id")
	}
	if err := d.findRun(c, o); err != nil {
		return err
	}
	if o.run == nil || !within(p, o.run.ArtifactURI) {
		return badSource(in.source, "run_id")
	}
	return nil
}

// within says whether a path of the artifact tree lies below a root.
func within(p, root string) bool {
	folder, ok := registrar.TrackedPath(root)
	return ok && (p == folder || strings.HasPrefix(p, folder+"/"))
}

// versionOrigin finds the version that models:/name/… names; done says that the source
// is one of a version at all.
func (d *Dialect) versionOrigin(c *call, in sourceRequest) (o origin, done bool, err error) {
	rest := strings.TrimLeft(strings.TrimPrefix(in.source[len("models:"):], "/"), "/")
	name, suffix, two := strings.Cut(rest, "/")
	switch {
	case strings.TrimSpace(name) == "", two && (strings.TrimSpace(suffix) == "" || strings.Contains(suffix, "/")):
		return o, true, badSource(in.source, "model_id")
	case !two && !strings.Contains(name, "@"):
		return o, false, nil // a logged model
	}
	v, err := d.sourceVersion(c, name, suffix, two)
	if err != nil {
		return o, true, err
	}
	if pedigree.IsPrompt(v.Tags) {
		return o, true, invalid("Invalid model version source: '%s'. Prompt versions cannot be used as model version sources.", clip(in.source))
	}
	run := ""
	if v.Record.Run != nil {
		run = v.Record.Run.ID
	}
	if in.run != nil && *in.run != run {
		return o, true, invalid("Invalid model version source: '%s'. The run_id and model_id request parameters must match the referenced model version.", clip(in.source))
	}
	return origin{source: "models:/" + string(v.Model) + "/" + v.Number.String(), runID: run, copied: &v}, true, nil
}

// sourceVersion reads the version that name/suffix or name@alias names.
func (d *Dialect) sourceVersion(c *call, name, suffix string, two bool) (pedigree.Version, error) {
	none := pedigree.Version{}
	ref := pedigree.Reference{Project: c.project, Model: pedigree.Name(name)}
	if !two {
		i := strings.LastIndexByte(name, '@')
		if i == len(name)-1 {
			return none, badSource("models:/"+name, "model_id")
		}
		checked, err := checkName(name[:i])
		if err != nil {
			return none, err
		}
		card, err := d.aliasCard(c, checked, pedigree.Alias(name[i+1:]))
		if err != nil {
			return none, err
		}
		ref.Model, ref.Version = checked, card.Number
	} else {
		checked, err := checkName(name)
		if err != nil {
			return none, err
		}
		if ref, err = d.suffixVersion(c, checked, suffix); err != nil {
			return none, err
		}
	}
	v, err := d.registrar.Version(c.ctx(), c.principal, ref, pedigree.At{})
	return v, ofVersion(ref, err)
}

// suffixVersion reads what follows the name: a number, "latest" or a stage.
func (d *Dialect) suffixVersion(c *call, name pedigree.Name, suffix string) (pedigree.Reference, error) {
	ref := pedigree.Reference{Project: c.project, Model: name}
	if _, err := d.registrar.Model(c.ctx(), c.principal, c.project, name, pedigree.At{}); err != nil {
		return ref, ofModel(string(name), err)
	}
	if strings.Trim(suffix, "0123456789") == "" {
		return c.version(name, suffix)
	}
	none := notFound("No versions of model with name '%s' and stage '%s' found", name, clip(suffix))
	if strings.EqualFold(suffix, "latest") {
		card, err := d.registrar.Card(c.ctx(), c.principal, ref)
		if pedigree.CodeOf(err) == pedigree.CodeNotFound {
			err = none
		}
		ref.Version = card.Number
		return ref, err
	}
	stage, err := checkStage(suffix)
	if err != nil {
		return ref, err
	}
	card, ok, err := d.registrar.StageCard(c.ctx(), c.principal, c.project, name, stage)
	if err == nil && !ok {
		err = none
	}
	ref.Version = card.Number
	return ref, err
}

// checkRemoteSource refuses a source whose path is relative or leaves its folder, after
// any number of percent-decodings.
func checkRemoteSource(source string) error {
	bad := invalid("Invalid model version source: '%s'. If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references present. Please provide an absolute path.", clip(source))
	decoded := source
	for {
		next, err := url.QueryUnescape(decoded)
		if err != nil || next == decoded {
			break
		}
		decoded = next
	}
	if strings.ContainsRune(decoded, 0) || slices.Contains(strings.Split(decoded, "/"), "..") {
		return bad
	}
	_, rest, _ := strings.Cut(decoded, ":")
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "#")
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		if _, p, found := strings.Cut(after, "/"); found {
			rest = "/" + p
		} else {
			rest = ""
		}
	}
	rest = strings.TrimRight(rest, "/")
	for strings.Contains(rest, "//") {
		rest = strings.ReplaceAll(rest, "//", "/")
	}
	if !strings.HasPrefix(rest, "/") || path.Clean(rest) != rest {
		return bad
	}
	return nil
}

func (d *Dialect) createVersion(c *call) error {
	var in struct {
		Name        string  `json:"name" mlflow:"required"`
		Source      string  `json:"source" mlflow:"required"`
		RunID       *string `json:"run_id"`
		Tags        []tag   `json:"tags"`
		RunLink     string  `json:"run_link"`
		Description string  `json:"description"`
		ModelID     *string `json:"model_id"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	tags := tagMap(in.Tags)
	o := origin{source: in.Source, runID: text(in.RunID)}
	var err error
	if pedigree.IsPrompt(tags) {
		err = checkPromptSource(in.Source)
	} else {
		o, err = d.origin(c, sourceRequest{in.Source, in.RunID, in.ModelID})
	}
	if err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	if err := checkRegistryTags(in.Tags); err != nil {
		return err
	}
	reg := pedigree.Registration{Tags: tags, Description: in.Description}
	if reg.Record, err = d.record(c, &o, tags, in.RunLink); err != nil {
		return err
	}
	if o.model != nil && !o.upstream { // which will be told of its version
		if err := d.registrar.May(c.ctx(), c.principal, pedigree.RunsWrite, c.project); err != nil {
			return err
		}
	}
	out, err := d.registrar.Register(c.ctx(), c.principal, c.project, name, reg)
	if err != nil {
		return ofModel(in.Name, err)
	}
	if o.model != nil && !o.upstream {
		if err := d.noteVersion(c, o.model.ID, name, out.Number); err != nil {
			return err
		}
	}
	card := cardOf(&out.Version)
	return c.answer(versionAnswer{wireVersion(&card)}, nil)
}

// cardOf is a version that was just registered, as lists show it.
func cardOf(v *pedigree.Version) registrar.Card {
	c := registrar.Card{
		Project: v.Project, Model: v.Model, ModelID: v.ModelID, Number: v.Number, Seq: v.Seq, Kind: v.Record.Artifact.Kind,
		Source: string(v.Record.Artifact.URI), Description: v.Description, Tags: v.Tags, Aliases: v.Aliases,
		CreatedBy: v.CreatedBy, CreatedAt: v.CreatedAt, UpdatedAt: v.CreatedAt, Points: pedigree.Points{},
	}
	if r := v.Record.Run; r != nil {
		c.RunID, c.RunURI = r.ID, string(r.URI)
	}
	for _, a := range v.Record.Attributes() {
		c.Points.Add(a)
	}
	for _, stage := range v.Completeness { // which know whether a policy asks for an approval
		if stage.Stage == pedigree.StageDeploy {
			c.Points["approval"] = !slices.ContainsFunc(stage.Missing, func(g pedigree.Gap) bool { return g.Field == "approval" })
		}
	}
	return c
}

// noteVersion adds a version to the tag of a logged model that lists where it is
// registered.
func (d *Dialect) noteVersion(c *call, model string, name pedigree.Name, n pedigree.VersionNumber) error {
	type registration struct {
		Name    string `json:"name"`
		Version any    `json:"version"`
	}
	return d.registrar.AppendLoggedModelTag(c.ctx(), c.principal, c.project, model, "mlflow.modelVersions", func(old string) (string, error) {
		var list []registration
		if old != "" && json.Unmarshal([]byte(old), &list) != nil {
			list = nil // somebody wrote something else there
		}
		list = append(list, registration{string(name), int64(n)})
		b, err := json.Marshal(list)
		return string(b), err
	})
}
