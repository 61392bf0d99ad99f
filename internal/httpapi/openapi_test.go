package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// TestDocument keeps openapi.json in step with the routes and the root package's types.
// The schemas are made by a module that no binary links.
func TestDocument(t *testing.T) {
	got := makeDocument(t)
	if *update {
		if err := os.WriteFile("openapi.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("openapi.json is not what the routes say; look at the change that\n\tgo test ./internal/httpapi -run TestDocument -update\nmakes, and keep it if it is meant")
	}
}

// TestDocumentRefs checks what a generator of clients would stumble over: references
// that lead nowhere, operations with one name, and path parameters that are not declared.
func TestDocumentRefs(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct{ Name, In string }
		}
		Components struct{ Schemas map[string]any }
	}
	text := makeDocument(t)
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"\$ref": "#/components/schemas/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		if doc.Components.Schemas[m[1]] == nil {
			t.Errorf("there is no schema %s", m[1])
		}
	}
	seen := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if seen[op.OperationID] {
				t.Errorf("two operations are called %s", op.OperationID)
			}
			seen[op.OperationID] = true
			declared := 0
			for _, p := range op.Parameters {
				if p.In == "path" {
					declared++
					if !strings.Contains(path, "{"+p.Name+"}") {
						t.Errorf("%s %s: parameter %s is not in the path", method, path, p.Name)
					}
				}
			}
			if declared != strings.Count(path, "{") {
				t.Errorf("%s %s declares %d parameters of its path", method, path, declared)
			}
		}
	}
}

type object = map[string]any

func makeDocument(t *testing.T) []byte {
	t.Helper()
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	register(schemas)
	paths := object{}
	for _, r := range httpapi.New(nil, httpapi.Options{}).Routes() {
		path := httpapi.Prefix + strings.ReplaceAll(r.Pattern, "...}", "}")
		methods, ok := paths[path].(object)
		if !ok {
			methods = object{}
			paths[path] = methods
		}
		methods[strings.ToLower(r.Method)] = operation(schemas, r)
	}
	problem := schemas.Schema(reflect.TypeFor[httpx.Problem](), true, "")
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Pedigree", "version": "1",
			"description": "The native API of Pedigree, a model registry. Every error is a problem document (RFC 9457). " +
				"Fields and operations are added, never changed in meaning: ignore what you don't know.",
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers": []any{object{"url": "/"}},
		// Both are optional: a registry without accounts asks for neither.
		"security": []any{object{}, object{"bearer": []any{}}, object{"basic": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer", "description": "A token of the registry."},
				"basic":  object{"type": "http", "scheme": "basic", "description": "Any user name, and a token of the registry as password."},
			},
			"responses": object{"Problem": object{
				"description": "What was wrong, and what to do next.",
				"content":     object{"application/problem+json": object{"schema": problem}},
			}},
		},
	}
	var parsed any
	if err := json.Unmarshal(encode(t, doc), &parsed); err != nil {
		t.Fatal(err)
	}
	// Fields are added without a new version: no schema may forbid them.
	open(parsed)
	return encode(t, parsed)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// open removes additionalProperties:false everywhere.
func open(v any) {
	switch v := v.(type) {
	case object:
		if v["additionalProperties"] == false {
			delete(v, "additionalProperties")
		}
		for _, inner := range v {
			open(inner)
		}
	case []any:
		for _, inner := range v {
			open(inner)
		}
	}
}

// register teaches the generator the types whose JSON is not what their kind says.
func register(schemas huma.Registry) {
	schemas.RegisterTypeAlias(reflect.TypeFor[pedigree.Float](), reflect.TypeFor[float]())
	schemas.RegisterTypeAlias(reflect.TypeFor[pedigree.Digest](), reflect.TypeFor[digest]())
	schemas.RegisterTypeAlias(reflect.TypeFor[pedigree.Tier](), reflect.TypeFor[tier]())
	schemas.RegisterTypeAlias(reflect.TypeFor[pedigree.LifeState](), reflect.TypeFor[lifeState]())
	schemas.RegisterTypeAlias(reflect.TypeFor[pedigree.ArtifactKind](), reflect.TypeFor[artifactKind]())
	schemas.RegisterTypeAlias(reflect.TypeFor[pedigree.DataKind](), reflect.TypeFor[dataKind]())
	schemas.RegisterTypeAlias(reflect.TypeFor[pedigree.Relation](), reflect.TypeFor[relation]())
}

type (
	float        struct{}
	digest       struct{}
	tier         struct{}
	lifeState    struct{}
	artifactKind struct{}
	dataKind     struct{}
	relation     struct{}
)

func (float) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{{Type: "number", Format: "double"}, {Type: "string", Enum: []any{"NaN", "Infinity", "-Infinity"}}}}
}

func (digest) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Pattern: "^(sha256:[0-9a-f]{64})?$"}
}

func (tier) Schema(huma.Registry) *huma.Schema {
	return enum("", pedigree.TierLow, pedigree.TierMedium, pedigree.TierHigh)
}

func (lifeState) Schema(huma.Registry) *huma.Schema {
	return enum(pedigree.StateDevelopment, pedigree.StateInUse, pedigree.StateRetired)
}

func (artifactKind) Schema(huma.Registry) *huma.Schema {
	return enum(pedigree.ArtifactStored, pedigree.ArtifactLinked, pedigree.ArtifactNone)
}

func (dataKind) Schema(huma.Registry) *huma.Schema {
	return enum(pedigree.DataCopy, pedigree.DataSnapshot, pedigree.DataFeatures, pedigree.DataQuery, pedigree.DataLineage)
}

func (relation) Schema(huma.Registry) *huma.Schema {
	return enum(pedigree.FineTunedFrom, pedigree.DistilledFrom, pedigree.EnsembleOf, pedigree.DerivedFrom)
}

func enum[T ~string](values ...T) *huma.Schema {
	s := &huma.Schema{Type: "string"}
	for _, v := range values {
		s.Enum = append(s.Enum, string(v))
	}
	return s
}

var pathParams = map[string]string{
	"project": "The project's name.",
	"model":   "The model's name, escaped as one segment.",
	"version": "7, latest, @alias or sha256:….",
	"alias":   "The alias, without @.",
	"digest":  "sha256: and 64 hexadecimal digits.",
	"seq":     "The number of the event, from 0.",
	"path":    "The path inside the artifact; its slashes stay as they are.",
	"name":    "The name of the evidence; its slashes stay as they are.",
	"account": "The name or the id of the account.",
	"group":   "The name or the id of the group.",
	"role":    "The role.",
	"member":  "The name or the id of an account, or group: and the name of a group.",
	"token":   "The id of the token.",
	"key":     "The key of the tag; its slashes may stay as they are.",
}

func operation(schemas huma.Registry, r httpapi.Route) object {
	var params []any
	for _, m := range regexp.MustCompile(`\{([a-z]+)(\.\.\.)?\}`).FindAllStringSubmatch(r.Pattern, -1) {
		kind := "string"
		if m[1] == "seq" {
			kind = "integer"
		}
		params = append(params, object{"name": m[1], "in": "path", "required": true, "description": pathParams[m[1]], "schema": object{"type": kind}})
	}
	asOf := false
	for _, p := range r.Query {
		asOf = asOf || p.Name == "as_of"
		schema := object{"type": p.Type}
		if p.Many {
			schema = object{"type": "array", "items": schema}
		}
		param := object{"name": p.Name, "in": "query", "description": p.Doc, "schema": schema}
		if p.Example != nil && !p.Many {
			param["example"] = p.Example
		}
		params = append(params, param)
	}
	header := func(name, doc string) {
		params = append(params, object{"name": name, "in": "header", "description": doc, "schema": object{"type": "string"}})
	}
	if r.Match {
		header("If-Match", `The ETag that you have seen, or its number ("17"): otherwise the answer is 412.`)
	}
	if r.Tagged && r.Method == "GET" {
		header("If-None-Match", "The ETag that you have: the answer is 304 where nothing changed.")
	}
	if r.Changes {
		header("Idempotency-Key", "Makes the change happen at most once, however often the same request is sent.")
	}
	op := object{"operationId": r.ID, "tags": []any{r.Tag}, "summary": r.Summary, "responses": responses(schemas, r, asOf)}
	if params != nil {
		op["parameters"] = params
	}
	if p := r.Permission(); p != "" {
		op["description"] = "Where the registry has accounts, the caller needs the permission " + string(p) + "."
	}
	switch {
	case r.Request != nil:
		content := object{"schema": schemas.Schema(reflect.TypeOf(r.Request), true, "")}
		if r.RequestExample != nil {
			content["example"] = r.RequestExample
		}
		op["requestBody"] = object{"required": !r.OptionalBody, "content": object{"application/json": content}}
	case r.Consumes != "":
		op["requestBody"] = object{"required": true, "content": object{r.Consumes: object{}}}
	}
	return op
}

func responses(schemas huma.Registry, r httpapi.Route, asOf bool) object {
	headers := object{}
	head := func(name, doc string) {
		headers[name] = object{"description": doc, "schema": object{"type": "string"}}
	}
	if r.Tagged {
		head("ETag", "The last event that changed it, and a hash of the answer.")
	}
	if asOf {
		head("Pedigree-As-Of", "The last event that the answer takes into account.")
	}
	if r.ID == "getFile" || r.ID == "getManifest" || r.ID == "getEvidence" || r.ID == "putBlob" {
		head("Pedigree-Digest", "The digest of the whole.")
	}
	if r.Tag == "artifacts" && asOf && r.ID != "getArtifact" {
		head("Pedigree-Version", "The number of the version.")
	}
	if r.ID == "getFile" {
		head("Pedigree-Executable", "true for a file that is a program.")
	}
	content := object{}
	if r.Response != nil {
		body := object{"schema": schemas.Schema(reflect.TypeOf(r.Response), true, r.ID+"Answer")}
		if r.ResponseExample != nil {
			body["example"] = r.ResponseExample
		}
		content["application/json"] = body
	}
	for _, mediaType := range r.Produces {
		content[mediaType] = object{}
	}
	success := object{"description": "Done."}
	if len(content) > 0 {
		success["content"] = content
	}
	if len(headers) > 0 {
		success["headers"] = headers
	}
	status := r.Status
	if status == 0 {
		status = 200
	}
	out := object{strconv.Itoa(status): success, "default": object{"$ref": "#/components/responses/Problem"}}
	if r.Tagged && r.Method == "GET" {
		out["304"] = object{"description": "Nothing changed."}
	}
	if r.ID == "getFile" {
		out["206"] = object{"description": "The range that was asked for."}
	}
	return out
}
