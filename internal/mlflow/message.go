package mlflow

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// message is what a request says, read as tolerantly as MLflow's server reads it: names
// in snake_case or camelCase, unknown fields ignored, whole numbers also as text, and a
// body that is no JSON taken for an empty one.
type message struct {
	fields map[string]any
	// query says that the fields came from a query: their values are lists of texts.
	query bool
}

// parseMessage reads the query of a GET that has one, else the JSON body.
func parseMessage(r *http.Request, body []byte) (message, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if r.URL.RawQuery != "" {
			return parseQuery(r.URL.RawQuery)
		}
		if len(body) == 0 {
			return message{}, nil
		}
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if strings.TrimSpace(kind) != "application/json" {
		return message{}, &wireError{http.StatusBadRequest, "INVALID_PARAMETER_VALUE", "Bad Request. Content-Type must be one of ['application/json']."}
	}
	return parseBody(body)
}

func parseQuery(raw string) (message, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return message{}, invalid("The query string can't be read: %s", clip(err.Error()))
	}
	m := message{fields: make(map[string]any, len(values)), query: true}
	for name, texts := range values {
		for _, text := range texts {
			if strings.ToValidUTF8(text, "") != text || strings.ContainsRune(text, 0) {
				return message{}, invalid("Query parameter '%s' is not text: it is not valid UTF-8, or holds a NUL character.", clip(name))
			}
		}
		m.fields[name] = texts
	}
	return m, nil
}

func parseBody(body []byte) (message, error) {
	if err := httpx.CheckText(body); err != nil {
		return message{}, err
	}
	value := decodeJSON(body)
	if text, ok := value.(string); ok { // older clients encoded twice
		if err := httpx.CheckText([]byte(text)); err != nil {
			return message{}, err
		}
		value = decodeJSON([]byte(text))
	}
	switch v := value.(type) {
	case nil: // no JSON, or null
		return message{}, nil
	case map[string]any:
		return message{fields: v}, nil
	}
	return message{}, &wireError{http.StatusBadRequest, "BAD_REQUEST", "The request body must be a JSON object."}
}

func decodeJSON(text []byte) any {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil
	}
	return v
}

// decode reads the message into the struct that v points to. A field's name is that of
// its tag `json`; `mlflow:"required"` refuses an absent, null or empty value, in the
// order of the fields and with MLflow's message. Fields may be strings, whole numbers,
// floats, bools, structs, slices of these, pointers (nil where absent) and any, which
// takes the value as it came: a text or a [json.Number].
func (m message) decode(v any) error {
	return m.decodeStruct(reflect.ValueOf(v).Elem())
}

// field is one field of a wire struct.
type field struct {
	index    int
	name     string
	camel    string
	required bool
}

var fieldCache sync.Map // reflect.Type → []field

func fieldsOf(t reflect.Type) []field {
	if known, ok := fieldCache.Load(t); ok {
		return known.([]field)
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{index: i, name: name, camel: camelCase(name), required: f.Tag.Get("mlflow") == "required"})
	}
	fieldCache.Store(t, fields)
	return fields
}

func camelCase(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		if p != "" {
			parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "")
}

func (m message) decodeStruct(v reflect.Value) error {
	for _, f := range fieldsOf(v.Type()) {
		raw, ok := m.fields[f.name]
		if f.camel != f.name && !m.query {
			if other, both := m.fields[f.camel]; both {
				if ok {
					return invalid("Request specifies both '%s' and '%s'; provide only one of them.", f.name, f.camel)
				}
				raw, ok = other, true
			}
		}
		if ok && raw != nil {
			if err := m.decodeValue(f.name, raw, v.Field(f.index)); err != nil {
				return err
			}
		}
		if f.required && (!ok || empty(raw)) {
			return missing(f.name)
		}
	}
	return nil
}

// missing is MLflow's error for a required parameter that is not there.
func missing(name string) error {
	return invalid("Missing value for required parameter '%s'. See the API docs for more information about request parameters.", name)
}

func empty(raw any) bool {
	switch v := raw.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []string:
		return len(v) == 0 || v[0] == ""
	}
	return false
}

// decodeValue sets v from a value of a message, or returns MLflow's error for a value of
// another type.
func (m message) decodeValue(name string, raw any, v reflect.Value) error {
	if texts, ok := raw.([]string); ok && v.Kind() != reflect.Slice {
		raw = texts[0] // MLflow takes the first
		if m.query && kindOf(v) == reflect.Bool {
			switch strings.ToLower(texts[0]) {
			case "true":
				raw = true
			case "false":
				raw = false
			default:
				return invalid("Invalid boolean value: %s, must be 'true' or 'false'.", clip(texts[0]))
			}
		}
	}
	wrong := func() error { return invalidValue(name, raw) }
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return m.decodeValue(name, raw, v.Elem())
	case reflect.Interface:
		v.Set(reflect.ValueOf(raw))
	case reflect.String:
		text, ok := raw.(string)
		if !ok {
			return wrong()
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := raw.(bool)
		if !ok {
			return wrong()
		}
		v.SetBool(b)
	case reflect.Int64, reflect.Int:
		n, ok := wholeNumber(raw)
		if !ok {
			return wrong()
		}
		v.SetInt(n)
	case reflect.Float64:
		f, ok := floatNumber(raw)
		if !ok {
			return wrong()
		}
		v.SetFloat(f)
	case reflect.Struct:
		object, ok := raw.(map[string]any)
		if !ok {
			return wrong()
		}
		return message{fields: object}.decodeStruct(v)
	case reflect.Slice:
		return m.decodeList(name, raw, v)
	}
	return nil
}

func kindOf(v reflect.Value) reflect.Kind {
	if v.Kind() == reflect.Pointer {
		return v.Type().Elem().Kind()
	}
	return v.Kind()
}

func (m message) decodeList(name string, raw any, v reflect.Value) error {
	var items []any
	switch list := raw.(type) {
	case []any:
		items = list
	case []string:
		for _, text := range list {
			items = append(items, text)
		}
	default:
		return invalidValue(name, raw)
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if item == nil {
			return invalidValue(name, raw)
		}
		if _, ok := item.(string); !ok && out.Index(i).Kind() == reflect.String {
			return invalidValue(name, raw) // MLflow shows the whole list
		}
		if err := m.decodeValue(name, item, out.Index(i)); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

// wholeNumber reads an int64 as protobuf's JSON has it: a number without a fraction, or
// such a number as text.
func wholeNumber(raw any) (int64, bool) {
	text, ok := numberText(raw)
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

// floatNumber reads a double as protobuf's JSON has it, "NaN" and "Infinity" among them.
func floatNumber(raw any) (float64, bool) {
	text, ok := numberText(raw)
	if !ok {
		return 0, false
	}
	switch text {
	case "NaN", "nan":
		return math.NaN(), true
	case "Infinity", "inf":
		return math.Inf(1), true
	case "-Infinity", "-inf":
		return math.Inf(-1), true
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

func numberText(raw any) (string, bool) {
	switch v := raw.(type) {
	case json.Number:
		return v.String(), true
	case string:
		return strings.TrimSpace(v), true
	}
	return "", false
}

// invalidValue is MLflow's error for a value that a parameter can't have.
func invalidValue(name string, raw any) error {
	text, err := json.Marshal(raw)
	if err != nil { // it came from JSON
		text = []byte("null")
	}
	return invalid("Invalid value %s for parameter '%s' supplied:  Hint: Value was of type '%s'. See the API docs for more information about request parameters.",
		clip(string(text)), name, pythonType(raw))
}

func pythonType(raw any) string {
	switch v := raw.(type) {
	case string:
		return "str"
	case bool:
		return "bool"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "float"
		}
		return "int"
	case []any, []string:
		return "list"
	case map[string]any:
		return "dict"
	}
	return "NoneType"
}
