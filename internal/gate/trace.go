package gate

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/pedigree-ml/pedigree"
)

// trace is what one evaluation read, in order, and what it could not read.
type trace struct {
	seq    int
	fields map[*field][]reading
	misses []miss
	// measured are the metrics that were read, by name, for the comparison of what they
	// were measured on.
	measured map[string]*pair
	// weight is what reads and comparisons looked at beyond what CEL counts.
	weight int
}

// maxWeight bounds what CEL does not count: the parts of objects that are compared, and the
// measurements that are looked through for one.
const maxWeight = 200_000

var errTooMuch = errors.New("the gate costs too much")

func (t *trace) weigh(n int) error {
	if t.weight += n; t.weight > maxWeight {
		return errTooMuch
	}
	return nil
}

// full says that no more complaints are kept, so that none needs to be put into words.
func (t *trace) full() bool { return len(t.misses) >= maxElements }

// reading is one value that was read, or asked for by has().
type reading struct {
	seq   int
	at    *object
	field *field
	key   string
	value ref.Val // nil where nothing was there
	size  bool    // the value is the size of what was read
	asked bool    // the value says whether something is there
}

// miss is a value that could not be given: what to say of it, and the flag that fills it.
type miss struct {
	at   *object // what the flag belongs to; nil for the version that is to pass
	text string
	flag string
}

// The bounds of what is kept of the readings: of the elements of a list the first and the
// last few, of everything else all that people write into an expression.
const (
	maxReadings = 64
	maxElements = 8 // of one field in a list
	maxValue    = 200
)

// note keeps a reading unless it is known.
func (t *trace) note(r reading) {
	list := t.fields[r.field]
	for i := range list {
		if l := &list[i]; l.at == r.at && l.key == r.key && l.size == r.size && l.asked == r.asked {
			return
		}
	}
	if t.fields == nil {
		t.fields = map[*field][]reading{}
	}
	t.seq++
	r.seq = t.seq
	limit := maxReadings
	if r.at.inList() {
		limit = maxElements
	}
	if len(list) >= limit {
		// The first half stays; of the others the oldest goes.
		list = slices.Delete(list, limit/2, limit/2+1)
	}
	t.fields[r.field] = append(list, r)
}

// miss notes that something could not be read. flag fills it, "" for what the field says.
func (t *trace) miss(at *object, f *field, key, text, flag string) {
	t.note(reading{at: at, field: f, key: key})
	if flag == "" {
		flag = f.fill
	}
	t.complain(miss{at: at, text: text, flag: flag})
}

func (t *trace) complain(m miss) {
	if !t.full() && !slices.ContainsFunc(t.misses, func(old miss) bool { return old.text == m.text }) {
		t.misses = append(t.misses, m)
	}
}

// differ notes that two objects were compared and are not equal: none of their parts was
// read by name.
func (t *trace) differ(a, b *object) {
	t.complain(miss{text: a.path() + " differs from " + b.path()})
}

// readings are all that were kept, in the order of reading.
func (t *trace) readings() []reading {
	var out []reading
	for _, list := range t.fields {
		out = append(out, list...)
	}
	slices.SortFunc(out, func(a, b reading) int { return cmp.Compare(a.seq, b.seq) })
	if len(out) > maxReadings {
		out = out[:maxReadings]
	}
	return out
}

// path is what the expression has: metrics.auc, has(metrics.f1), size(evidence).
func (r *reading) path() string {
	p := join(r.at.path(), r.field.name)
	if r.key != "" {
		p = keyPath(p, r.field.name, r.key)
	}
	switch {
	case r.size:
		return "size(" + p + ")"
	case r.asked:
		return "has(" + p + ")"
	}
	return p
}

// keyPath writes the value of a key as an expression does.
func keyPath(path, field, key string) string {
	if name, where, found := strings.Cut(key, "@"); found && field == "metrics" {
		return strings.TrimSuffix(path, "metrics") + "metric(" + jsonText(name) + ", " + jsonText(where) + ")"
	}
	if len(key) <= maxValue && identifier(key) {
		return path + "." + key
	}
	return path + "[" + jsonText(key) + "]"
}

func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// observed are the readings as a check keeps them.
func (t *trace) observed() []pedigree.Observed {
	var out []pedigree.Observed
	for _, r := range t.readings() {
		out = append(out, pedigree.Observed{Path: r.path(), Value: json.RawMessage(jsonOf(r.value))})
	}
	return out
}

// jsonOf writes a value as JSON of at most some [maxValue] bytes; what is longer ends in
// "…".
func jsonOf(v ref.Val) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case types.String:
		return jsonText(string(v))
	case types.Double:
		return marshal(pedigree.Float(v))
	case types.Bool:
		return marshal(bool(v))
	case types.Int:
		return marshal(int64(v))
	case types.Timestamp:
		return marshal(v.Time.UTC().Format(time.RFC3339Nano))
	case traits.Lister:
		return jsonList(v)
	}
	return marshal(short(v.Type().TypeName()))
}

// jsonList writes a list of plain values.
func jsonList(l traits.Lister) string {
	var b strings.Builder
	b.WriteByte('[')
	for it, n := l.Iterator(), 0; it.HasNext() == types.True; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		if b.Len() > maxValue {
			b.WriteString(`"…"`)
			break
		}
		b.WriteString(jsonOf(it.Next()))
	}
	b.WriteByte(']')
	return b.String()
}

func jsonText(s string) string {
	if len(s) > maxValue {
		cut := maxValue
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return marshal(s)
}

// marshal is JSON without HTML escaping, so that expressions read as they were written.
func marshal(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "null" // none of our values
	}
	return strings.TrimSuffix(b.String(), "\n")
}
