package mlflow

import (
	"errors"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// modelVersion is a version on the wire. What MLflow's server always sends is there also
// where it is empty.
type modelVersion struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Created     int64    `json:"creation_timestamp"`
	Updated     int64    `json:"last_updated_timestamp"`
	User        string   `json:"user_id,omitempty"`
	Stage       string   `json:"current_stage"`
	Description string   `json:"description"`
	Source      string   `json:"source"`
	RunID       string   `json:"run_id"`
	Status      string   `json:"status"`
	Tags        []tag    `json:"tags,omitempty"`
	RunLink     string   `json:"run_link"`
	Aliases     []string `json:"aliases,omitempty"`
}

type versionAnswer struct {
	Version modelVersion `json:"model_version"`
}

type versionList struct {
	Versions []modelVersion `json:"model_versions,omitempty"`
	Next     string         `json:"next_page_token,omitempty"`
}

func wireVersion(c *registrar.Card) modelVersion {
	v := modelVersion{
		Name: string(c.Model), Version: c.Number.String(), Created: c.CreatedAt.UnixMilli(), Updated: c.UpdatedAt.UnixMilli(),
		User: c.Author, Stage: c.Stage, Description: c.Description, Source: c.Source, RunID: c.RunID, Status: "READY", Tags: wireTags(c.Tags), RunLink: c.RunURI,
	}
	if v.Stage == "" {
		v.Stage = pedigree.StagedNone
	}
	if !c.Born.IsZero() { // imported: its people know it by the times that it had
		v.Created = c.Born.UnixMilli()
	}
	if text := completeness(c); text != "" {
		v.Tags = append(v.Tags, tag{completeTag, text})
	}
	if c.Kind == pedigree.ArtifactLinked && elsewhereID(c.Source) != "" {
		v.Tags = append(v.Tags, tag{warningTag, linkedWarning})
	}
	for _, alias := range c.Aliases {
		v.Aliases = append(v.Aliases, string(alias))
	}
	return v
}

func wireVersions(cards []registrar.Card) []modelVersion {
	out := make([]modelVersion, len(cards))
	for i := range cards {
		out[i] = wireVersion(&cards[i])
	}
	return out
}

// completeTag says how much of the minimum record a version has: "5/8, missing: owner".
const completeTag = "pedigree.complete"

// completeness is the text of the tag; "" for a version that says nothing to Pedigree:
// no files here, and no tag of ours. A client that only keeps names and sources then
// sees the tags that it set, and no other.
func completeness(c *registrar.Card) string {
	if pedigree.IsPrompt(c.Tags) {
		return ""
	}
	ours := c.Kind == pedigree.ArtifactStored || elsewhereID(c.Source) != ""
	for key := range c.Tags {
		ours = ours || key != pedigree.StageTag && strings.HasPrefix(key, "pedigree.")
	}
	if !ours {
		return ""
	}
	text := strconv.Itoa(c.Points.Count()) + "/" + strconv.Itoa(pedigree.RecordPoints)
	if missing := c.Points.Missing(); len(missing) > 0 {
		text += ", missing: " + strings.Join(missing, ", ")
	}
	return text
}

// version reads the number of a version, as Python reads a whole number.
func (c *call) version(name pedigree.Name, text string) (pedigree.Reference, error) {
	ref := pedigree.Reference{Project: c.project, Model: name}
	digits := strings.ReplaceAll(strings.TrimSpace(text), "_", "")
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n < 1:
		return ref, notFound("Model Version (name=%s, version=%s) not found", name, clip(digits))
	case err != nil:
		return ref, invalid("Parameter 'version' must be an integer, got '%s'.", clip(text))
	}
	ref.Version = pedigree.VersionNumber(n)
	return ref, nil
}

// reference checks a name and a version.
func (c *call) reference(name, version string) (pedigree.Reference, error) {
	checked, err := checkName(name)
	if err != nil {
		return pedigree.Reference{}, err
	}
	return c.version(checked, version)
}

// ofVersion gives a missing version MLflow's message.
func ofVersion(ref pedigree.Reference, err error) error {
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return notFound("Model Version (name=%s, version=%d) not found", ref.Model, ref.Version)
	}
	return err
}

// nameAndVersion reads a request that names a version.
func (c *call) nameAndVersion() (pedigree.Reference, error) {
	var in struct {
		Name    string `json:"name" mlflow:"required"`
		Version string `json:"version" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return pedigree.Reference{}, err
	}
	return c.reference(in.Name, in.Version)
}

func (d *Dialect) getVersion(c *call) error {
	ref, err := c.nameAndVersion()
	if err != nil {
		return err
	}
	return c.answerCached("model-versions/get", string(ref.Model), ref.Version.String(), func() (any, error) {
		card, err := d.registrar.Card(c.ctx(), c.principal, ref)
		if err != nil {
			return nil, ofVersion(ref, err)
		}
		return versionAnswer{wireVersion(&card)}, nil
	})
}

func (d *Dialect) updateVersion(c *call) error {
	var in struct {
		Name        string `json:"name" mlflow:"required"`
		Version     string `json:"version" mlflow:"required"`
		Description string `json:"description"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	ref, err := c.reference(in.Name, in.Version)
	if err != nil {
		return err
	}
	if _, err := d.registrar.EditVersion(c.ctx(), c.principal, ref, pedigree.VersionEdit{Description: &in.Description}, nil); err != nil {
		return ofVersion(ref, err)
	}
	card, err := d.registrar.Card(c.ctx(), c.principal, ref)
	return c.answer(versionAnswer{wireVersion(&card)}, ofVersion(ref, err))
}

func (d *Dialect) deleteVersion(c *call) error {
	ref, err := c.nameAndVersion()
	if err != nil {
		return err
	}
	_, err = d.registrar.DeleteVersion(c.ctx(), c.principal, ref, "", true, nil)
	return c.answerNothing(ofVersion(ref, err))
}

// downloadURI says where the bytes of a version are: the version's own tree where they
// are here, which nothing can change, else what the registration named.
func (d *Dialect) downloadURI(c *call) error {
	var in struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	ref, err := c.reference(in.Name, in.Version)
	if err != nil {
		return err
	}
	return c.answerCached("model-versions/get-download-uri", string(ref.Model), ref.Version.String()+" "+c.self(), func() (any, error) {
		card, err := d.registrar.Card(c.ctx(), c.principal, ref)
		if err != nil {
			return nil, ofVersion(ref, err)
		}
		answer := struct {
			URI string `json:"artifact_uri"`
		}{card.Source}
		if card.Kind == pedigree.ArtifactStored {
			answer.URI = c.filesURI(&card)
		}
		return answer, nil
	})
}

func (d *Dialect) setVersionTag(c *call) error {
	var in struct {
		Name    string `json:"name" mlflow:"required"`
		Version string `json:"version" mlflow:"required"`
		Key     string `json:"key" mlflow:"required"`
		Value   string `json:"value"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	ref, err := c.reference(in.Name, in.Version)
	if err != nil {
		return err
	}
	if err := checkRegistryTag(tag{in.Key, in.Value}); err != nil {
		return err
	}
	if in.Key == completeTag || in.Key == warningTag { // computed: whoever copies all tags sends it along
		_, err := d.registrar.Card(c.ctx(), c.principal, ref)
		return c.answerNothing(ofVersion(ref, err))
	}
	amend := pedigree.Amend{Reason: "the tag " + in.Key}
	typed, err := mlrecord.ApplyTag(&amend.Record, in.Key, in.Value)
	if err != nil {
		return err
	}
	if typed && in.Value != "" {
		if err := d.amendByTag(c, ref, amend, in.Key); err != nil {
			return ofVersion(ref, err)
		}
	}
	_, err = d.registrar.EditVersion(c.ctx(), c.principal, ref, pedigree.VersionEdit{Tags: map[string]string{in.Key: in.Value}}, nil)
	return c.answerNothing(ofVersion(ref, err))
}

// amendByTag changes the field of a record that a tag stands for. An image is a part of
// the runtime, whose other parts stay.
func (d *Dialect) amendByTag(c *call, ref pedigree.Reference, amend pedigree.Amend, key string) error {
	if key == mlrecord.ImageTag {
		v, err := d.registrar.Version(c.ctx(), c.principal, ref, pedigree.At{})
		if err != nil {
			return err
		}
		if v.Record.Runtime != nil {
			runtime := *v.Record.Runtime
			runtime.Image = amend.Record.Runtime.Image
			amend.Record.Runtime = &runtime
		}
	}
	_, err := d.registrar.Amend(c.ctx(), c.principal, ref, amend, nil)
	return err
}

func (d *Dialect) deleteVersionTag(c *call) error {
	var in struct {
		Name    string `json:"name" mlflow:"required"`
		Version string `json:"version" mlflow:"required"`
		Key     string `json:"key" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	ref, err := c.reference(in.Name, in.Version)
	if err != nil {
		return err
	}
	if err := checkRegistryKey(in.Key); err != nil {
		return err
	}
	if err := checkOwnTag(in.Key); err != nil {
		return err
	}
	_, err = d.registrar.UntagVersion(c.ctx(), c.principal, ref, in.Key)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // a tag that is not set is no error
		_, err = d.registrar.Card(c.ctx(), c.principal, ref)
	}
	return c.answerNothing(ofVersion(ref, err))
}

// searchQuery is a search of the registry, and how many results came before.
type searchQuery struct {
	registrar.CardQuery
	offset int64
}

// next is the token of the page after; "" where this is the last.
func (q *searchQuery) next(cursor string) string {
	if cursor == "" {
		return ""
	}
	return pageToken{Offset: q.offset + int64(q.Limit), Cursor: cursor}.String()
}

// search reads the parameters that both searches have; most is the most results a page,
// otherwise how many where nobody says.
func (c *call) search(t *searchTarget, otherwise, most int64) (searchQuery, error) {
	var in struct {
		Filter     string   `json:"filter"`
		MaxResults *int64   `json:"max_results"`
		OrderBy    []string `json:"order_by"`
		PageToken  string   `json:"page_token"`
	}
	var q searchQuery
	if err := c.read(&in); err != nil {
		return q, err
	}
	n := otherwise
	if in.MaxResults != nil {
		n = *in.MaxResults
	}
	if err := c.checkMaxResults(n, most); err != nil {
		return q, err
	}
	if n < 1 {
		return q, invalid("Invalid value for max_results. It must be a positive integer, but got %d", n)
	}
	q.Limit = int(n)
	var err error
	if q.Filter, err = t.parse(in.Filter); err != nil {
		return q, err
	}
	if q.Order, err = t.order(in.OrderBy); err != nil {
		return q, err
	}
	if !t.models {
		q.Order = versionOrder(q.Order)
	}
	token, err := parsePageToken(in.PageToken)
	if err != nil {
		return q, err
	}
	q.offset, q.Cursor = token.Offset, token.Cursor
	if token.Cursor == "" {
		q.Skip = token.Offset
	}
	return q, nil
}

// versionOrder completes an order of versions: by name, then the newest number first.
// Without one, what was changed last comes first.
func versionOrder(order []pedigree.Order) []pedigree.Order {
	if len(order) == 0 {
		order = []pedigree.Order{{Field: updatedField, Desc: true}}
	}
	for _, o := range []pedigree.Order{{Field: attribute("model")}, {Field: attribute("version"), Desc: true}} {
		there := false
		for _, have := range order {
			there = there || have.Field == o.Field
		}
		if !there {
			order = append(order, o)
		}
	}
	return order
}

// badCursor gives a page token that does not fit MLflow's message.
func badCursor(err error) error {
	if pedigree.CodeOf(err) == pedigree.CodeInvalid {
		return invalid("Invalid page token: %s", err)
	}
	return err
}

func (d *Dialect) searchVersions(c *call) error {
	q, err := c.search(&versionSearch, 200_000, 200_000)
	if err != nil {
		return err
	}
	return c.answerCached("model-versions/search", "", c.asked(), func() (any, error) {
		cards, next, err := d.registrar.SearchCards(c.ctx(), c.principal, c.project, q.CardQuery)
		if err != nil {
			return nil, badCursor(err)
		}
		return versionList{Versions: wireVersions(cards), Next: q.next(next)}, nil
	})
}
