package mlflow

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// registryRoutes are the endpoints of registered models and model versions.
func (d *Dialect) registryRoutes() []Route {
	const models, versions = api + "/registered-models", api + "/model-versions"
	return []Route{
		{Method: post, Pattern: models + "/create", Support: Full, handle: d.createModel},
		{Method: get, Pattern: models + "/get", Support: Full, handle: d.getModel},
		{Method: post, Pattern: models + "/rename", Support: Full, handle: d.renameModel},
		{Method: patch, Pattern: models + "/update", Support: Full, handle: d.updateModel},
		{Method: remove, Pattern: models + "/delete", Support: Full, handle: d.deleteModel},
		{Method: get, Pattern: models + "/search", Support: Full, handle: d.searchModels},
		{Method: post, Pattern: models + "/get-latest-versions", Support: Full, handle: d.latestVersions},
		{Method: get, Pattern: models + "/get-latest-versions", Support: Full, handle: d.latestVersions},
		{Method: post, Pattern: models + "/set-tag", Support: Full, handle: d.setModelTag},
		{Method: remove, Pattern: models + "/delete-tag", Support: Full, handle: d.deleteModelTag},
		{Method: post, Pattern: models + "/alias", Support: Full, handle: d.setAlias},
		{Method: remove, Pattern: models + "/alias", Support: Full, handle: d.deleteAlias},
		{Method: get, Pattern: models + "/alias", Support: Full, handle: d.getAlias},

		{
			Method: post, Pattern: versions + "/create", Support: Partial, handle: d.createVersion,
			Why: "Sources on the server's own disk (file:) and sources that name a host (http, ftp, hdfs …) are refused.",
		},
		{Method: get, Pattern: versions + "/get", Support: Full, handle: d.getVersion},
		{Method: patch, Pattern: versions + "/update", Support: Full, handle: d.updateVersion},
		{Method: post, Pattern: versions + "/transition-stage", Support: Full, handle: d.transition},
		{Method: remove, Pattern: versions + "/delete", Support: Full, handle: d.deleteVersion},
		{Method: get, Pattern: versions + "/search", Support: Full, handle: d.searchVersions},
		{Method: get, Pattern: versions + "/get-download-uri", Support: Full, handle: d.downloadURI},
		{Method: post, Pattern: versions + "/set-tag", Support: Full, handle: d.setVersionTag},
		{Method: remove, Pattern: versions + "/delete-tag", Support: Full, handle: d.deleteVersionTag},
	}
}

// tag is a tag on the wire.
type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// wireTags lists tags by key, our own internal one left out.
func wireTags(tags map[string]string) []tag {
	var out []tag
	for _, key := range sortedKeys(tags) {
		if key != pedigree.StageTag {
			out = append(out, tag{key, tags[key]})
		}
	}
	return out
}

// tagMap is the tags of a request: of two with one key, the last holds. The one that is
// computed is left out: clients that copy a version send it along.
func tagMap(tags []tag) map[string]string {
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		if t.Key != completeTag && t.Key != warningTag {
			out[t.Key] = t.Value
		}
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// wireAlias is an alias of a registered model.
type wireAlias struct {
	Alias   string `json:"alias"`
	Version string `json:"version"`
}

// registeredModel is a model on the wire.
type registeredModel struct {
	Name        string         `json:"name"`
	Created     int64          `json:"creation_timestamp"`
	Updated     int64          `json:"last_updated_timestamp"`
	Description string         `json:"description,omitempty"`
	Latest      []modelVersion `json:"latest_versions,omitempty"`
	Tags        []tag          `json:"tags,omitempty"`
	Aliases     []wireAlias    `json:"aliases,omitempty"`
}

func wireModel(c *registrar.ModelCard) registeredModel {
	m := registeredModel{
		Name: string(c.Name), Created: c.CreatedAt.UnixMilli(), Updated: c.UpdatedAt.UnixMilli(),
		Description: c.Description, Tags: wireTags(c.Tags),
	}
	for i := range c.Newest {
		m.Latest = append(m.Latest, wireVersion(&c.Newest[i]))
	}
	for alias, n := range c.Aliases {
		m.Aliases = append(m.Aliases, wireAlias{string(alias), n.String()})
	}
	slices.SortFunc(m.Aliases, func(a, b wireAlias) int { return strings.Compare(a.Alias, b.Alias) })
	return m
}

type modelAnswer struct {
	Model registeredModel `json:"registered_model"`
}

// checkName checks the name of a registered model as MLflow does.
func checkName(name string) (pedigree.Name, error) {
	switch norm := normPath(name); {
	case strings.TrimSpace(name) == "":
		return "", invalid("Missing value for required parameter 'name'.")
	case strings.ContainsAny(name, "/:"):
		return "", invalid("Invalid model name '%s'. Names cannot contain '/' or ':'.", clip(name))
	case norm != name || strings.HasPrefix(norm, "..") || norm == ".":
		return "", invalid("Invalid value %s for parameter 'name' supplied: %s", jsonText(clip(name)), pathMessage(norm))
	}
	return pedigree.ParseName(name)
}

// normPath is Python's posixpath.normpath.
func normPath(p string) string {
	clean := path.Clean(p)
	if strings.HasPrefix(p, "//") && !strings.HasPrefix(p, "///") {
		return "/" + clean
	}
	return clean
}

func pathMessage(norm string) string {
	return "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to " + pythonRepr(clip(norm))
}

// The limits of MLflow's registry on tags, in characters.
const (
	maxRegistryKey   = pedigree.MaxKey
	maxRegistryValue = pedigree.MaxTagValue
)

var keyPattern = regexp.MustCompile(`^[/\pL\pN_.\- :]*$`)

// checkRegistryKey checks the key of a tag as MLflow does.
func checkRegistryKey(key string) error {
	if !keyPattern.MatchString(key) {
		return invalid("Invalid value %s for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).", jsonText(clip(key)))
	}
	if norm := normPath(key); norm != key || norm == "." || strings.HasPrefix(norm, "..") || strings.HasPrefix(norm, "/") {
		return invalid("Invalid value %s for parameter 'key' supplied: %s", jsonText(clip(key)), pathMessage(norm))
	}
	return nil
}

// checkRegistryTag checks a tag as MLflow does, and that it is none of our own.
func checkRegistryTag(t tag) error {
	if err := checkRegistryKey(t.Key); err != nil {
		return err
	}
	if utf8.RuneCountInString(t.Key) > maxRegistryKey {
		return invalid("'key' exceeds the maximum length of %d characters", maxRegistryKey)
	}
	if utf8.RuneCountInString(t.Value) > maxRegistryValue {
		if t.Key == promptTextTag {
			return invalid("Prompt text exceeds max length of %d characters.", maxRegistryValue)
		}
		return invalid("'value' exceeds the maximum length of %d characters", maxRegistryValue)
	}
	return checkOwnTag(t.Key)
}

// checkOwnTag refuses the tag that stands for the stage.
func checkOwnTag(key string) error {
	if key == pedigree.StageTag {
		return invalid("The tag '%s' stands for the stage; transition-stage changes it.", key)
	}
	return nil
}

func checkRegistryTags(tags []tag) error {
	for _, t := range tags {
		if err := checkRegistryTag(t); err != nil {
			return err
		}
	}
	return nil
}

func noModel(name string) error {
	return notFound("Registered Model with name=%s not found", clip(name))
}

// ofModel gives a missing model MLflow's message.
func ofModel(name string, err error) error {
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return noModel(name)
	}
	return err
}

func (d *Dialect) createModel(c *call) error {
	var in struct {
		Name        string `json:"name" mlflow:"required"`
		Tags        []tag  `json:"tags"`
		Description string `json:"description"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	if err := checkRegistryTags(in.Tags); err != nil {
		return err
	}
	tags := tagMap(in.Tags)
	spec := pedigree.ModelEdit{Tags: tags, Description: &in.Description}
	if owner := tags[mlrecord.OwnerTag]; owner != "" {
		spec.Owner = &owner
	}
	m, err := d.registrar.CreateModel(c.ctx(), c.principal, c.project, name, spec)
	if pedigree.CodeOf(err) == pedigree.CodeExists {
		return d.nameTaken(c, name, pedigree.IsPrompt(tags))
	}
	card := registrar.ModelCard{Model: m, UpdatedAt: m.CreatedAt}
	return c.answer(modelAnswer{wireModel(&card)}, err)
}

// nameTaken is MLflow's error for a name that a model or a prompt has.
func (d *Dialect) nameTaken(c *call, name pedigree.Name, prompt bool) error {
	noun := map[bool]string{false: "Registered Model", true: "Prompt"}
	if m, err := d.registrar.Model(c.ctx(), c.principal, c.project, name, pedigree.At{}); err == nil && pedigree.IsPrompt(m.Tags) != prompt {
		return exists("Tried to create a %s with name %s, but the name is already taken by a %s. MLflow does not allow creating a model and a prompt with the same name.",
			strings.ToLower(noun[prompt]), pythonRepr(string(name)), strings.ToLower(noun[!prompt]))
	}
	return exists("%s (name=%s) already exists.", noun[prompt], name)
}

// nameOnly reads a request that names a model.
func (c *call) nameOnly() (pedigree.Name, error) {
	var in struct {
		Name string `json:"name" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return "", err
	}
	return checkName(in.Name)
}

func (d *Dialect) getModel(c *call) error {
	name, err := c.nameOnly()
	if err != nil {
		return err
	}
	return c.answerCached("registered-models/get", string(name), "", func() (any, error) {
		card, err := d.registrar.ModelCard(c.ctx(), c.principal, c.project, name)
		if err != nil {
			return nil, ofModel(string(name), err)
		}
		return modelAnswer{wireModel(&card)}, nil
	})
}

// answerModel answers with a model as it is after a change.
func (d *Dialect) answerModel(c *call, name pedigree.Name) error {
	card, err := d.registrar.ModelCard(c.ctx(), c.principal, c.project, name)
	return c.answer(modelAnswer{wireModel(&card)}, ofModel(string(name), err))
}

func (d *Dialect) renameModel(c *call) error {
	var in struct {
		Name    string `json:"name" mlflow:"required"`
		NewName string `json:"new_name" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if strings.TrimSpace(in.NewName) == "" {
		return invalid("Missing value for required parameter 'new_name'.")
	}
	to, err := checkName(in.NewName)
	if err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	_, err = d.registrar.RenameModel(c.ctx(), c.principal, c.project, name, to, nil)
	switch pedigree.CodeOf(err) {
	case "":
		return d.answerModel(c, to)
	case pedigree.CodeExists:
		return exists("Registered Model (name=%s) already exists.", to)
	}
	return ofModel(in.Name, err)
}

func (d *Dialect) updateModel(c *call) error {
	var in struct {
		Name        string `json:"name" mlflow:"required"`
		Description string `json:"description"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	if _, err := d.registrar.EditModel(c.ctx(), c.principal, c.project, name, pedigree.ModelEdit{Description: &in.Description}, nil); err != nil {
		return ofModel(in.Name, err)
	}
	return d.answerModel(c, name)
}

func (d *Dialect) deleteModel(c *call) error {
	name, err := c.nameOnly()
	if err != nil {
		return err
	}
	// MLflow's clients can't say that they know of the aliases: deleting is saying so.
	err = d.registrar.DeleteModel(c.ctx(), c.principal, c.project, name, "", true, nil)
	return c.answerNothing(ofModel(string(name), err))
}

func (d *Dialect) setModelTag(c *call) error {
	var in struct {
		Name  string `json:"name" mlflow:"required"`
		Key   string `json:"key" mlflow:"required"`
		Value string `json:"value"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	if err := checkRegistryTag(tag{in.Key, in.Value}); err != nil {
		return err
	}
	edit := pedigree.ModelEdit{Tags: map[string]string{in.Key: in.Value}}
	if in.Key == mlrecord.OwnerTag {
		edit.Owner = &in.Value
	}
	_, err = d.registrar.EditModel(c.ctx(), c.principal, c.project, name, edit, nil)
	return c.answerNothing(ofModel(in.Name, err))
}

func (d *Dialect) deleteModelTag(c *call) error {
	var in struct {
		Name string `json:"name" mlflow:"required"`
		Key  string `json:"key" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	if err := checkRegistryKey(in.Key); err != nil {
		return err
	}
	_, err = d.registrar.UntagModel(c.ctx(), c.principal, c.project, name, in.Key)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // a tag that is not set is no error
		_, err = d.registrar.Model(c.ctx(), c.principal, c.project, name, pedigree.At{})
	}
	return c.answerNothing(ofModel(in.Name, err))
}

func (d *Dialect) searchModels(c *call) error {
	q, err := c.search(&modelSearch, 100, 1000)
	if err != nil {
		return err
	}
	return c.answerCached("registered-models/search", "", c.asked(), func() (any, error) {
		cards, next, err := d.registrar.SearchModelCards(c.ctx(), c.principal, c.project, q.CardQuery)
		if err != nil {
			return nil, badCursor(err)
		}
		answer := struct {
			Models []registeredModel `json:"registered_models,omitempty"`
			Next   string            `json:"next_page_token,omitempty"`
		}{Next: q.next(next)}
		for i := range cards {
			answer.Models = append(answer.Models, wireModel(&cards[i]))
		}
		return answer, nil
	})
}

func (d *Dialect) latestVersions(c *call) error {
	var in struct {
		Name   string   `json:"name" mlflow:"required"`
		Stages []string `json:"stages"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	if _, err := d.registrar.NewestCards(c.ctx(), c.principal, c.project, name, nil); err != nil {
		return ofModel(in.Name, err)
	}
	stages := pedigree.VersionStages
	if len(in.Stages) > 0 {
		asked := map[string]bool{}
		for _, text := range in.Stages {
			stage, err := checkStage(text)
			if err != nil {
				return err
			}
			asked[stage] = true
		}
		stages = slices.DeleteFunc(slices.Clone(stages), func(s string) bool { return !asked[s] })
	}
	if len(stages) == 1 { // models:/name/Stage asks for it in this way
		card, ok, err := d.registrar.StageCard(c.ctx(), c.principal, c.project, name, stages[0])
		answer := versionList{}
		if ok {
			answer.Versions = []modelVersion{wireVersion(&card)}
		}
		return c.answer(answer, ofModel(in.Name, err))
	}
	cards, err := d.registrar.NewestCards(c.ctx(), c.principal, c.project, name, stages)
	return c.answer(versionList{Versions: wireVersions(cards)}, ofModel(in.Name, err))
}
