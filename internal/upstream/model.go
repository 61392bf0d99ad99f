package upstream

import (
	"cmp"
	"context"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
)

// Paths of MLflow's APIs.
const (
	api   = "/api/2.0/mlflow"
	proxy = "/api/2.0/mlflow-artifacts/artifacts"
)

// integer is a whole number, which JSON made from protobuf may write as a text.
type integer int64

// UnmarshalJSON implements [json.Unmarshaler].
func (i *integer) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	*i = integer(n)
	return err
}

// Model is a registered model.
type Model struct {
	Name        string
	Description string
	// Created and Updated are milliseconds since 1970.
	Created, Updated int64
	Tags             map[string]string
	// Aliases maps each alias to the number of its version.
	Aliases map[string]int64
}

// Version is a version of a registered model.
type Version struct {
	Model  string
	Number int64
	// Created and Updated are milliseconds since 1970.
	Created, Updated int64
	// User is who registered it; "" where the server does not say.
	User        string
	Description string
	Stage       string
	// Source is what it was registered from, Run and LoggedModel what that belongs to.
	Source, Run, LoggedModel string
	RunLink                  string
	Status                   string
	Tags                     map[string]string
}

type wireModel struct {
	Name        string              `json:"name"`
	Description string              `json:"description"`
	Created     integer             `json:"creation_timestamp"`
	Updated     integer             `json:"last_updated_timestamp"`
	Tags        []mlrecord.KeyValue `json:"tags"`
	Aliases     []struct {
		Alias   string  `json:"alias"`
		Version integer `json:"version"`
	} `json:"aliases"`
}

func (w *wireModel) model() Model {
	m := Model{Name: w.Name, Description: w.Description, Created: int64(w.Created), Updated: int64(w.Updated), Tags: tagMap(w.Tags), Aliases: map[string]int64{}}
	for _, a := range w.Aliases {
		m.Aliases[a.Alias] = int64(a.Version)
	}
	return m
}

func tagMap(tags []mlrecord.KeyValue) map[string]string {
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[t.Key] = t.Value
	}
	return out
}

// pages calls read with the query of one page after another; read returns the token of
// the next.
func pages(query url.Values, read func(url.Values) (next string, err error)) error {
	seen := map[string]bool{}
	for {
		next, err := read(query)
		if err != nil || next == "" || seen[next] { // a server that goes in circles has said it all
			return err
		}
		seen[next] = true
		query.Set("page_token", next)
	}
}

// promptFilter asks for prompts, which searches leave out otherwise.
const promptFilter = "tags.`mlflow.prompt.is_prompt` = 'true'"

// ServerVersion is the release of MLflow that the server says it is; "" where it does not
// say.
func (c *Client) ServerVersion(ctx context.Context) (string, error) {
	resp, err := c.open(ctx, "/version", nil, nil)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	body := c.watch(resp.Body)
	defer func() { _ = body.Close() }()
	b, err := io.ReadAll(io.LimitReader(body, 100))
	if err != nil {
		return "", c.failed(ctx, err)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "")), nil
}

// Models lists the registered models by name, prompts among them.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var out []Model
	seen := map[string]bool{}
	for _, filter := range []string{"", promptFilter} {
		query := url.Values{"max_results": {"100"}}
		if filter != "" {
			query.Set("filter", filter)
		}
		err := pages(query, func(query url.Values) (string, error) {
			var page struct {
				Models []wireModel `json:"registered_models"`
				Next   string      `json:"next_page_token"`
			}
			err := c.get(ctx, api+"/registered-models/search", query, &page)
			for i := range page.Models {
				if m := page.Models[i].model(); !seen[m.Name] {
					seen[m.Name] = true
					out = append(out, m)
				}
			}
			return page.Next, err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Model) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Model reads a registered model with its aliases. It returns [pedigree.CodeNotFound].
func (c *Client) Model(ctx context.Context, name string) (Model, error) {
	var out struct {
		Model wireModel `json:"registered_model"`
	}
	err := c.get(ctx, api+"/registered-models/get", url.Values{"name": {name}}, &out)
	return out.Model.model(), err
}

// Versions lists the versions of a registered model, the oldest first.
func (c *Client) Versions(ctx context.Context, of Model) ([]Version, error) {
	model, filter := of.Name, "name='"+of.Name+"'"
	if strings.Contains(model, "'") {
		filter = `name="` + model + `"`
	}
	if strings.EqualFold(of.Tags[pedigree.PromptTag], "true") {
		filter += " AND " + promptFilter
	}
	var out []Version
	err := pages(url.Values{"filter": {filter}, "max_results": {"1000"}}, func(query url.Values) (string, error) {
		var page struct {
			Versions []struct {
				Name        string              `json:"name"`
				Version     integer             `json:"version"`
				Created     integer             `json:"creation_timestamp"`
				Updated     integer             `json:"last_updated_timestamp"`
				User        string              `json:"user_id"`
				Stage       string              `json:"current_stage"`
				Description string              `json:"description"`
				Source      string              `json:"source"`
				Run         string              `json:"run_id"`
				RunLink     string              `json:"run_link"`
				Model       string              `json:"model_id"`
				Status      string              `json:"status"`
				Tags        []mlrecord.KeyValue `json:"tags"`
			} `json:"model_versions"`
			Next string `json:"next_page_token"`
		}
		err := c.get(ctx, api+"/model-versions/search", query, &page)
		for _, v := range page.Versions {
			if v.Name == model {
				out = append(out, Version{
					Model: v.Name, Number: int64(v.Version), Created: int64(v.Created), Updated: int64(v.Updated), User: v.User, Description: v.Description,
					Stage: v.Stage, Source: v.Source, Run: v.Run, LoggedModel: v.Model, RunLink: v.RunLink, Status: v.Status, Tags: tagMap(v.Tags),
				})
			}
		}
		return page.Next, err
	})
	slices.SortFunc(out, func(a, b Version) int { return cmp.Compare(a.Number, b.Number) })
	return out, err
}

// DownloadURI says where the server has the files of a version. It returns
// [pedigree.CodeNotFound].
func (c *Client) DownloadURI(ctx context.Context, model string, version int64) (string, error) {
	var out struct {
		URI string `json:"artifact_uri"`
	}
	err := c.get(ctx, api+"/model-versions/get-download-uri", url.Values{"name": {model}, "version": {strconv.FormatInt(version, 10)}}, &out)
	return out.URI, err
}
