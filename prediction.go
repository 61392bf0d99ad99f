package pedigree

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// PredictionV1 is the value of [Prediction]'s Schema: the one form that there is.
const PredictionV1 = "pedigree.prediction/v1"

// MaxPrediction is the most bytes of a logged prediction. What is larger (an image, a
// document) is logged by its digest or its URI.
const MaxPrediction = 1 << 20

// Prediction is one line of a prediction log: what was asked, what the model said, what
// was answered, and which version of which model it was. Version 1 of its form never
// changes: another meaning, or another field, is another Schema.
type Prediction struct {
	// Schema is [PredictionV1].
	Schema string `json:"schema"`
	// ID names the prediction in its log.
	ID string `json:"id"`
	// Time is when the request came, PredictedAt when the model had answered, RespondedAt
	// when the caller was.
	Time        time.Time  `json:"time"`
	PredictedAt *time.Time `json:"predicted_at,omitempty"`
	RespondedAt *time.Time `json:"responded_at,omitempty"`

	// Project is that of the model and the target; "" is the default project.
	Project ProjectName `json:"project,omitempty"`
	// Target and Deployment say where it ran, Model, Version and Digest what. Enough of
	// them is there to find the version: the deployment, the target (with the time), the
	// digest, or model and version.
	Target     TargetName    `json:"target,omitempty"`
	Deployment string        `json:"deployment,omitempty"`
	Model      Name          `json:"model,omitempty"`
	Version    VersionNumber `json:"version,omitempty"`
	Digest     Digest        `json:"digest,omitempty"`
	// Instance is the process that answered.
	Instance string `json:"instance,omitempty"`

	// Request is one row as the model takes it: an object, its values by name. What JSON
	// has no number for is a string, as [Float] writes it.
	Request json.RawMessage `json:"request,omitempty"`
	// Prediction is what the model said for that row; any JSON but null.
	Prediction json.RawMessage `json:"prediction,omitempty"`
	// Response is what the caller got.
	Response json.RawMessage `json:"response,omitempty"`
	// Extra is an object of whatever else the team keeps with it.
	Extra json.RawMessage `json:"extra,omitempty"`
}

//go:embed prediction.schema.json
var predictionSchema []byte

// PredictionSchema is the JSON Schema (draft 2020-12) of a [Prediction]. It takes what
// [ParsePrediction] takes, but for fields that are there twice and lines that are too
// long, of which JSON Schema knows nothing.
func PredictionSchema() json.RawMessage { return bytes.Clone(predictionSchema) }

// The fields of a line by which its version is found, the surest first: the Kind of a
// [Finding] about a logged prediction, and FoundBy of a [Replay].
const (
	FoundByDeployment = "deployment"
	FoundByTarget     = "target"
	FoundByVersion    = "version"
	FoundByDigest     = "digest"
)

// MaxPredictionLog is the most bytes of the lines that the registry checks in one request.
const MaxPredictionLog = 8 << 20

// PredictionCheck is what was found in a log of predictions.
type PredictionCheck struct {
	Lines int `json:"lines"`
	Bad   int `json:"bad"`
	// From and To are the first and the last time of the good lines.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
	// Versions counts the good lines of each version, as the lines name it.
	Versions []PredictedVersion `json:"versions,omitempty"`
	// Problems are those of the first bad lines.
	Problems []PredictionProblem `json:"problems,omitempty"`
}

// PredictedVersion counts the lines of one version.
type PredictedVersion struct {
	// Name is what the lines say: a reference, a deployment's id, a digest or target: and
	// its name.
	Name  string `json:"name"`
	Lines int    `json:"lines"`
}

// PredictionProblem is what is wrong with one line.
type PredictionProblem struct {
	// Line counts from 1, blank lines too.
	Line int `json:"line"`
	// ID is that of the prediction, where it could be read.
	ID       string   `json:"id,omitempty"`
	Problems []string `json:"problems"`
	Fix      string   `json:"fix,omitempty"`
}

// predictionFields are the JSON keys of a [Prediction], in its order.
var predictionFields = jsonKeys(reflect.TypeFor[Prediction]())

func jsonKeys(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return keys
}

var deploymentPattern = regexp.MustCompile(`^dep_[0-9a-f]{32}$`)

// ParsePrediction reads one line of a prediction log. It refuses fields that a
// [Prediction] does not have or has already; null stands for a field that is not there.
// It returns [CodeInvalid] and says at which byte, counted from 1, and [CodeTooLarge]; with
// them what could be read before.
func ParsePrediction(line []byte) (Prediction, error) { return parsePrediction(line, false) }

// ParsePredictionHead is [ParsePrediction] for a line that may come without request and
// prediction, as [Prediction.Head] makes it: the version is found without them.
func ParsePredictionHead(line []byte) (Prediction, error) { return parsePrediction(line, true) }

func parsePrediction(line []byte, head bool) (Prediction, error) {
	if len(line) > MaxPrediction {
		return Prediction{}, Errorf(CodeTooLarge, "the line has %d bytes, the limit is %d", len(line), MaxPrediction).
			WithFix("log large values by their digest or URI")
	}
	if err := checkJSON(line); err != nil {
		return Prediction{}, err
	}
	r := predictionReader{line: line, dec: json.NewDecoder(bytes.NewReader(line)), head: head, seen: map[string]bool{}}
	if err := r.read(); err != nil {
		return r.p, err
	}
	return r.p, r.check()
}

// checkJSON says where a text stops being JSON in UTF-8.
func checkJSON(line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return Errorf(CodeInvalid, "the line is empty")
	}
	if !utf8.Valid(line) {
		at := 0
		for at < len(line) {
			r, n := utf8.DecodeRune(line[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return Errorf(CodeInvalid, "byte %d: this is not UTF-8", at+1)
	}
	var whole json.RawMessage
	err := json.Unmarshal(line, &whole)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return nil
	}
	at := int(max(syntax.Offset, 1))
	for _, word := range []string{"NaN", "Infinity"} { // what Python and JavaScript write, and JSON does not have
		if bytes.HasPrefix(line[min(at, len(line))-1:], []byte(word)) {
			return Errorf(CodeInvalid, "byte %d: JSON has no number %s", at, word).WithFix(`write it as a string: "NaN", "Infinity" or "-Infinity"`)
		}
	}
	return Errorf(CodeInvalid, "byte %d: this is not JSON: %s", at, syntax.Error())
}

// predictionReader reads a line that is known to be JSON, field by field, so that every
// error has its place.
type predictionReader struct {
	line []byte
	dec  *json.Decoder
	head bool // request and prediction may be missing
	seen map[string]bool
	p    Prediction
}

func (r *predictionReader) read() error {
	if token, err := r.dec.Token(); err != nil || token != json.Delim('{') {
		return Errorf(CodeInvalid, "byte 1: a logged prediction is a JSON object")
	}
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return Errorf(CodeInvalid, "byte %d: %w", r.dec.InputOffset(), err)
		}
		name, _ := token.(string)
		at := r.dec.InputOffset() // the last byte of the name's closing quote
		switch {
		case r.seen[name]:
			return Errorf(CodeInvalid, "byte %d: the field %q is there twice", at, clip(name))
		case !slices.Contains(predictionFields, name):
			e := Errorf(CodeInvalid, "byte %d: there is no field %q", at, clip(name))
			if near := Misspelt(name, predictionFields, 4); near != "" {
				return e.WithFix("did you mean %s?", near)
			}
			return e.WithFix("what the team keeps besides goes into extra")
		}
		r.seen[name] = true
		var value json.RawMessage
		if err := r.dec.Decode(&value); err != nil {
			return Errorf(CodeInvalid, "byte %d: %s: %w", r.dec.InputOffset(), name, err)
		}
		if err := r.field(name, value); err != nil {
			e := Errorf(CodeInvalid, "byte %d: %s: %w", r.dec.InputOffset()-int64(len(value))+1, name, err)
			var own *Error
			if errors.As(err, &own) {
				e.Message, e.Fix = fmt.Sprintf("byte %d: %s: %s", r.dec.InputOffset()-int64(len(value))+1, name, own.Message), own.Fix
			}
			return e
		}
	}
	return nil
}

// field reads the value of one field; without it, null and "not there" are the same.
func (r *predictionReader) field(name string, value json.RawMessage) error {
	p := &r.p
	none := string(value) == "null"
	switch name {
	case "request", "extra":
		if name == "extra" && none {
			return nil
		}
		if value[0] != '{' {
			return Errorf(CodeInvalid, "want an object, not %s", kindOf(value))
		}
		if name == "request" {
			p.Request = value
		} else {
			p.Extra = value
		}
		return nil
	case "prediction":
		if none {
			return Errorf(CodeInvalid, "null is no prediction")
		}
		p.Prediction = value
		return nil
	case "response":
		if !none {
			p.Response = value
		}
		return nil
	case "schema":
		return r.text(value, func(s string) error {
			if p.Schema = s; s != PredictionV1 {
				return Errorf(CodeInvalid, "%q is not a form of prediction that this program knows: want %q", clip(s), PredictionV1)
			}
			return nil
		})
	case "id":
		return r.text(value, func(s string) error { p.ID = s; return checkLabel(s) })
	case "time":
		return r.text(value, func(s string) (err error) { p.Time, err = parseMoment(s); return err })
	}
	if none {
		return nil
	}
	if name == "version" {
		n, err := strconv.ParseInt(string(value), 10, 64)
		if f, ferr := strconv.ParseFloat(string(value), 64); err != nil && ferr == nil && f == math.Trunc(f) && f < 1<<53 {
			n, err = int64(f), nil // 7.0, as a table with gaps writes it
		}
		if p.Version = VersionNumber(n); err != nil || n < 1 {
			return Errorf(CodeInvalid, "%s is not the number of a version: want 7", clip(string(value)))
		}
		return nil
	}
	return r.text(value, func(s string) error {
		var err error
		switch name {
		case "predicted_at", "responded_at":
			var t time.Time
			if t, err = parseMoment(s); name == "predicted_at" {
				p.PredictedAt = &t
			} else {
				p.RespondedAt = &t
			}
		case "project":
			p.Project, err = ParseProjectName(s)
		case "target":
			p.Target, err = ParseTarget(s)
		case "model":
			p.Model, err = ParseName(s)
		case "digest":
			p.Digest, err = ParseDigest(s)
		case "deployment":
			if p.Deployment = s; !deploymentPattern.MatchString(s) {
				return Errorf(CodeInvalid, "%q is not the id of a deployment: want dep_ and 32 hexadecimal digits", clip(s))
			}
		case "instance":
			p.Instance, err = s, checkLabel(s)
		}
		return err
	})
}

// text reads a value that must be a string.
func (r *predictionReader) text(value json.RawMessage, set func(string) error) error {
	var s string
	if err := json.Unmarshal(value, &s); err != nil || value[0] != '"' {
		return Errorf(CodeInvalid, "want a string, not %s", kindOf(value))
	}
	return set(s)
}

// checkLabel checks the name of something that is not ours: an id, an instance.
func checkLabel(s string) error {
	if s == "" {
		return Errorf(CodeInvalid, "the text is empty")
	}
	if err := checkText("the text", s, MaxKey); err != nil {
		return err
	}
	if strings.ContainsAny(s, "\n\t\r") {
		return Errorf(CodeInvalid, "%q holds a control character", clip(s))
	}
	return nil
}

// momentPattern is RFC 3339 without what [time.Parse] takes besides.
var momentPattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`)

func parseMoment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err == nil && momentPattern.MatchString(s) {
		return t, nil
	}
	e := Errorf(CodeInvalid, "%q is not a moment of RFC 3339: want 2026-11-24T09:00:00.123Z", clip(s))
	if _, err := time.Parse("2006-01-02T15:04:05", s); err == nil {
		return t, e.WithFix("say the time zone: Z is UTC; in Python datetime.now(timezone.utc).isoformat()")
	}
	return t, e
}

// kindOf names the kind of a JSON value for a message.
func kindOf(value json.RawMessage) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// check says what is missing.
func (r *predictionReader) check() error {
	required := []string{"schema", "id", "time", "request", "prediction"}
	if r.head {
		required = required[:3]
	}
	for _, name := range required {
		if !r.seen[name] {
			return Errorf(CodeInvalid, "the field %s is missing", name)
		}
	}
	if p := &r.p; p.Deployment == "" && p.Target == "" && p.Digest == "" && (p.Model == "" || p.Version == 0) {
		return Errorf(CodeInvalid, "nothing says which version it was").WithFix("log deployment, target, digest, or model and version")
	}
	return nil
}

// Head returns p without request, prediction, response and what the team adds: what says
// which version it was, and nothing that was asked or answered.
func (p *Prediction) Head() Prediction {
	out := *p
	out.Request, out.Prediction, out.Response, out.Extra = nil, nil, nil, nil
	return out
}

// AnsweredBy is the rule by which a line that names a target leads to one of the
// deployments that were active there at its time, which the caller gives: the one of the
// version that the line names, the primary before others; else, where the line names no
// version for certain, the primary. It returns nil where what the line names was not among
// them, and otherwise a note about each other that may have answered as well.
func (p *Prediction) AnsweredBy(active []Deployment) (d *Deployment, notes []string) {
	said := func(d *Deployment) bool {
		return (p.Model == "" || p.Model == d.Model) && (p.Version == 0 || p.Version == d.Version) && (p.Digest == "" || p.Digest == d.Digest)
	}
	choose := func(fits func(d *Deployment) bool) {
		for i := range active {
			if c := &active[i]; fits(c) && (d == nil || d.Role != RolePrimary && c.Role == RolePrimary) {
				d = c
			}
		}
	}
	if choose(said); d == nil && p.Digest == "" && (p.Model == "" || p.Version == 0) {
		choose(func(*Deployment) bool { return true })
	}
	if d == nil || p.Version != 0 || p.Digest != "" {
		return d, nil
	}
	for i := range active {
		if other := &active[i]; other != d {
			notes = append(notes, Errorf(CodeInvalid, "%s was active there too, as %s (%s): the line does not say which of them answered", other.Reference(), other.Role, other.ID).Message)
		}
	}
	return d, notes
}

// clocksDiffer is how near to a change of deployments two clocks make a difference.
const clocksDiffer = time.Minute

// Compare says where a line and the finding that it led to do not agree, and what to mind:
// that the line was found by its time alone and is from about the time when another
// deployment took over. known is the finding's deployment as it is known by now, with its
// end; nil without one.
func (f *Finding) Compare(p *Prediction, known *Deployment) {
	facts := ReplayFacts{Project: f.Version.Project, Model: f.Version.Model, Version: f.Version.Number, Digest: f.Version.Record.Artifact.Digest, RegisteredAt: f.Version.CreatedAt}
	if d := f.Deployment; d != nil && f.Version.Model == "" { // the version was deleted since
		facts.Project, facts.Model, facts.Version, facts.Digest = d.Project, d.Model, d.Version, d.Digest
	}
	if f.Kind == FoundByDeployment || f.Kind == FoundByTarget { // else it only stands there
		facts.Deployment = known
	}
	line := p.Replayed()
	f.Contradictions = append(f.Contradictions, facts.Contradictions(&line)...)
	if f.Kind != FoundByTarget || known == nil {
		return
	}
	for _, change := range []*time.Time{known.ActiveAt, known.EndedAt} {
		if change != nil && change.Sub(p.Time).Abs() < clocksDiffer {
			f.Notes = append(f.Notes, Errorf(CodeInvalid, "the deployments changed on %s UTC, %s from the time of the line: the clocks of the service and the registry may differ by more",
				change.UTC().Format(time.DateTime), change.Sub(p.Time).Abs().Round(time.Millisecond)).Message)
		}
	}
}

// RequestDigest is the digest of the request's JSON text as it was logged, without white
// space between its tokens: by it a proof names a request that it does not hold.
func (p *Prediction) RequestDigest() Digest { return digestJSON(p.Request) }

// PredictionDigest is the same of the prediction.
func (p *Prediction) PredictionDigest() Digest { return digestJSON(p.Prediction) }

func digestJSON(text json.RawMessage) Digest {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return DigestBytes(text)
	}
	return DigestBytes(b.Bytes())
}
