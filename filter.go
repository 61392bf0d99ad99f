package pedigree

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits on search filters and orders, beside [MaxFilter].
const (
	MaxFilterDepth       = 64  // parentheses and NOTs inside one another
	MaxFilterComparisons = 200 // comparisons in one filter
	MaxFilterValues      = 500 // values in one IN list
	MaxOrderKeys         = 8   // keys in one order
)

// Filter is a parsed search filter over versions. Anyone may make one by
// [ParseFilter]; whoever runs the search compiles it.
//
// A comparison holds where any value of its field holds it: a field of lists
// (data.uri, file.path, a metric on two data sets) has several values, an absent
// one has none. So != needs the field to be there, as MLflow has it, and NOT is
// plain negation: NOT tags.team = 'risk' also finds what has no such tag.
// LIKE knows "%" and "_" and no escape, and heeds case; ILIKE does not.
type Filter struct {
	// Root is nil for the filter that lets everything pass.
	Root *FilterNode
}

// FilterOp says what a [FilterNode] is.
type FilterOp string

// The operations of a node. Only a Compare has a field, a comparator and values.
const (
	And     FilterOp = "AND" // all of two or more Args
	Or      FilterOp = "OR"  // any of two or more Args
	Not     FilterOp = "NOT" // not the one of Args
	Compare FilterOp = "compare"
)

// FilterNode is one node of a filter's tree. An And has no And below it and an Or
// no Or: those are flattened.
type FilterNode struct {
	Op   FilterOp
	Args []*FilterNode
	// Field, Cmp and Values are those of a Compare. Values has one value, or some
	// for IN and NOT IN, or none for IS NULL and IS NOT NULL.
	Field  FilterField
	Cmp    Comparator
	Values []FilterValue
	// Pos is the column of the filter's text, in characters from 1, where it stood.
	Pos int
}

// Comparator is how a field is compared; its text is the filter's and SQL's.
type Comparator string

// The comparators. Which of them a field takes depends on its [FieldType].
const (
	CmpEqual        Comparator = "="
	CmpNotEqual     Comparator = "!=" // also written <>
	CmpLess         Comparator = "<"
	CmpLessEqual    Comparator = "<="
	CmpGreater      Comparator = ">"
	CmpGreaterEqual Comparator = ">="
	CmpLike         Comparator = "LIKE"
	CmpILike        Comparator = "ILIKE"
	CmpIn           Comparator = "IN"
	CmpNotIn        Comparator = "NOT IN"
	CmpIsNull       Comparator = "IS NULL"     // the field has no value
	CmpIsNotNull    Comparator = "IS NOT NULL" // the field has a value
)

// FilterValue is a literal. Text is always set, in canonical form for a number
// and "true" or "false" for a bool. Values of number fields are always numbers;
// those of time fields may be either, see [ParseFilterTime].
type FilterValue struct {
	Text     string
	Number   float64
	IsNumber bool
}

// FieldType says what the values of a field are.
type FieldType string

// The types of field.
const (
	TextField   FieldType = "text"   // 'text' or "text"
	NumberField FieldType = "number" // 0.9, also '0.9'
	TimeField   FieldType = "time"   // '2026-11-02T08:00:00Z', '-7d', or milliseconds since 1970
	BoolField   FieldType = "bool"   // true or false, also 'true' or 'false'
)

// comparators holds the comparators that fields of each type take.
var comparators = map[FieldType][]Comparator{
	TextField:   {CmpEqual, CmpNotEqual, CmpLike, CmpILike, CmpIn, CmpNotIn, CmpIsNull, CmpIsNotNull},
	NumberField: {CmpEqual, CmpNotEqual, CmpLess, CmpLessEqual, CmpGreater, CmpGreaterEqual, CmpIn, CmpNotIn, CmpIsNull, CmpIsNotNull},
	TimeField:   {CmpEqual, CmpNotEqual, CmpLess, CmpLessEqual, CmpGreater, CmpGreaterEqual, CmpIsNull, CmpIsNotNull},
	BoolField:   {CmpEqual, CmpNotEqual, CmpIsNull, CmpIsNotNull},
}

// FieldKind is the family of a field: the first word of its key.
type FieldKind string

// The kinds of field.
const (
	KindTags      FieldKind = "tags"
	KindParams    FieldKind = "params"
	KindMetrics   FieldKind = "metrics"
	KindData      FieldKind = "data"
	KindCode      FieldKind = "code"
	KindRuntime   FieldKind = "runtime"
	KindRun       FieldKind = "run"
	KindArtifact  FieldKind = "artifact"
	KindFile      FieldKind = "file"
	KindOutput    FieldKind = "output"
	KindParent    FieldKind = "parent"
	KindFlavor    FieldKind = "flavor"
	KindEvidence  FieldKind = "evidence"
	KindImported  FieldKind = "imported"
	KindAttribute FieldKind = "attribute" // of the version itself; its key stands alone
)

// FilterField names what is compared or ordered by: a kind, and the key within it
// ("team", "train.uri", "commit"; for [KindAttribute] the whole name, "owner").
type FilterField struct {
	Kind FieldKind
	Key  string
}

// FieldSpec describes one field that can be searched.
type FieldSpec struct {
	// Name is the canonical key. KEY stands for any key of a tag, parameter or metric,
	// ROLE for the role of a data reference.
	Name string
	Type FieldType
	// Stored says that its values are [Attribute] rows. The others are columns of
	// the version, or computed.
	Stored bool
	// Also are other spellings: those of MLflow.
	Also []string
}

// FilterFields is the one table of everything that can be searched:
//
//	key                      type    stored    also
//	tags.KEY                 text    yes       tag.KEY
//	params.KEY               text    yes       param.KEY
//	metrics.KEY              number  yes       metric.KEY
//	data.uri                 text    yes
//	data.digest              text    yes
//	data.role                text    yes
//	data.version             text    yes
//	data.query               text    yes
//	data.kind                text    yes
//	data.personal            bool    yes
//	data.ROLE.uri            text    yes
//	data.ROLE.digest         text    yes
//	data.ROLE.version        text    yes
//	data.ROLE.query          text    yes
//	data.ROLE.kind           text    yes
//	data.ROLE.personal       bool    yes
//	code.commit              text    yes
//	code.repository          text    yes
//	code.branch              text    yes
//	code.path                text    yes
//	code.dirty               bool    yes
//	runtime.image            text    yes
//	runtime.environment      text    yes
//	runtime.instance_type    text    yes
//	runtime.gpu              text    yes
//	runtime.python           text    yes
//	runtime.package          text    yes
//	run.id                   text    yes       run_id
//	run.user                 text    yes
//	run.uri                  text    yes
//	run.system               text    yes
//	artifact.digest          text    yes
//	artifact.kind            text    yes
//	artifact.uri             text    yes       source_path
//	artifact.size            number  yes
//	file.path                text    yes
//	file.digest              text    yes
//	output.uri               text    yes
//	output.digest            text    yes
//	output.name              text    yes
//	parent                   text    yes
//	parent.uri               text    yes
//	flavor.name              text    yes
//	flavor.version           text    yes
//	flavor.loader            text    yes
//	evidence.name            text    yes
//	evidence.kind            text    yes
//	imported.from            text    yes
//	imported.id              text    yes
//	imported.author          text    yes
//	imported.created_at      text    yes
//	owner                    text    yes
//	target                   text    yes
//	rollback_note            text    yes
//	description              text    yes
//	model                    text    no        name
//	project                  text    no
//	version                  number  no        version_number
//	alias                    text    no
//	created_at               time    no        creation_timestamp
//	updated_at               time    no        last_updated_timestamp
//	created_by               text    no        user_id
//	archived                 bool    no
//	complete                 number  no
//	withdrawn                bool    no
//	approval                 text    no
//	deployed_to              text    no
//
// Every bare key may be written with the prefix "attribute.", as MLflow has it.
// parent takes the subject of a version ("mdl_…/7") or a [Reference]; complete is
// how many of the eight points of [StageDeploy] are there.
// It is not to be changed.
var FilterFields = []FieldSpec{
	{Name: "tags.KEY", Type: TextField, Stored: true, Also: []string{"tag.KEY"}},
	{Name: "params.KEY", Type: TextField, Stored: true, Also: []string{"param.KEY"}},
	{Name: "metrics.KEY", Type: NumberField, Stored: true, Also: []string{"metric.KEY"}},
	{Name: "data.uri", Type: TextField, Stored: true},
	{Name: "data.digest", Type: TextField, Stored: true},
	{Name: "data.role", Type: TextField, Stored: true},
	{Name: "data.version", Type: TextField, Stored: true},
	{Name: "data.query", Type: TextField, Stored: true},
	{Name: "data.kind", Type: TextField, Stored: true},
	{Name: "data.personal", Type: BoolField, Stored: true},
	{Name: "data.ROLE.uri", Type: TextField, Stored: true},
	{Name: "data.ROLE.digest", Type: TextField, Stored: true},
	{Name: "data.ROLE.version", Type: TextField, Stored: true},
	{Name: "data.ROLE.query", Type: TextField, Stored: true},
	{Name: "data.ROLE.kind", Type: TextField, Stored: true},
	{Name: "data.ROLE.personal", Type: BoolField, Stored: true},
	{Name: "code.commit", Type: TextField, Stored: true},
	{Name: "code.repository", Type: TextField, Stored: true},
	{Name: "code.branch", Type: TextField, Stored: true},
	{Name: "code.path", Type: TextField, Stored: true},
	{Name: "code.dirty", Type: BoolField, Stored: true},
	{Name: "runtime.image", Type: TextField, Stored: true},
	{Name: "runtime.environment", Type: TextField, Stored: true},
	{Name: "runtime.instance_type", Type: TextField, Stored: true},
	{Name: "runtime.gpu", Type: TextField, Stored: true},
	{Name: "runtime.python", Type: TextField, Stored: true},
	{Name: "runtime.package", Type: TextField, Stored: true},
	{Name: "run.id", Type: TextField, Stored: true, Also: []string{"run_id"}},
	{Name: "run.user", Type: TextField, Stored: true},
	{Name: "run.uri", Type: TextField, Stored: true},
	{Name: "run.system", Type: TextField, Stored: true},
	{Name: "artifact.digest", Type: TextField, Stored: true},
	{Name: "artifact.kind", Type: TextField, Stored: true},
	{Name: "artifact.uri", Type: TextField, Stored: true, Also: []string{"source_path"}},
	{Name: "artifact.size", Type: NumberField, Stored: true},
	{Name: "file.path", Type: TextField, Stored: true},
	{Name: "file.digest", Type: TextField, Stored: true},
	{Name: "output.uri", Type: TextField, Stored: true},
	{Name: "output.digest", Type: TextField, Stored: true},
	{Name: "output.name", Type: TextField, Stored: true},
	{Name: "parent", Type: TextField, Stored: true},
	{Name: "parent.uri", Type: TextField, Stored: true},
	{Name: "flavor.name", Type: TextField, Stored: true},
	{Name: "flavor.version", Type: TextField, Stored: true},
	{Name: "flavor.loader", Type: TextField, Stored: true},
	{Name: "evidence.name", Type: TextField, Stored: true},
	{Name: "evidence.kind", Type: TextField, Stored: true},
	{Name: "imported.from", Type: TextField, Stored: true},
	{Name: "imported.id", Type: TextField, Stored: true},
	{Name: "imported.author", Type: TextField, Stored: true},
	{Name: "imported.created_at", Type: TextField, Stored: true},
	{Name: "owner", Type: TextField, Stored: true},
	{Name: "target", Type: TextField, Stored: true},
	{Name: "rollback_note", Type: TextField, Stored: true},
	{Name: "description", Type: TextField, Stored: true},
	{Name: "model", Type: TextField, Also: []string{"name"}},
	{Name: "project", Type: TextField},
	{Name: "version", Type: NumberField, Also: []string{"version_number"}},
	{Name: "alias", Type: TextField},
	{Name: "created_at", Type: TimeField, Also: []string{"creation_timestamp"}},
	{Name: "updated_at", Type: TimeField, Also: []string{"last_updated_timestamp"}},
	{Name: "created_by", Type: TextField, Also: []string{"user_id"}},
	{Name: "archived", Type: BoolField},
	{Name: "complete", Type: NumberField},
	{Name: "withdrawn", Type: BoolField},
	{Name: "approval", Type: TextField},
	{Name: "deployed_to", Type: TextField},
}

// fieldIndex finds a row of FilterFields by any of its spellings.
var fieldIndex = func() map[string]*FieldSpec {
	index := map[string]*FieldSpec{}
	for i := range FilterFields {
		spec := &FilterFields[i]
		for _, name := range append([]string{spec.Name}, spec.Also...) {
			index[name] = spec
		}
	}
	return index
}()

// Attribute returns the canonical key of f, under which the attribute table has
// it: "tags.team", "data.train.uri", "owner".
func (f FilterField) Attribute() string {
	if f.Kind == KindAttribute {
		return f.Key
	}
	return string(f.Kind) + "." + f.Key
}

// Spec returns the row of [FilterFields] that describes f; ok is false where
// there is none, which never is for a field that was parsed.
func (f FilterField) Spec() (spec FieldSpec, ok bool) {
	name := f.Attribute()
	switch f.Kind {
	case KindTags, KindParams, KindMetrics:
		name = string(f.Kind) + ".KEY"
	case KindData:
		if i := strings.LastIndexByte(f.Key, '.'); i >= 0 {
			name = "data.ROLE" + f.Key[i:]
		}
	}
	if s := fieldIndex[name]; s != nil {
		return *s, true
	}
	return FieldSpec{}, false
}

// Type returns what the values of f are; "" for a field that is none.
func (f FilterField) Type() FieldType {
	spec, _ := f.Spec()
	return spec.Type
}

// String returns f as a filter has it, with the key in double quotes where it
// needs them.
func (f FilterField) String() string {
	if f.Kind == KindAttribute {
		return f.Key
	}
	key, property := f.Key, ""
	if i := strings.LastIndexByte(key, '.'); i >= 0 && f.Kind == KindData {
		key, property = key[:i], key[i:]
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r != '.' && !keyRune(r) }) {
		key = quote(key, '"')
	}
	return string(f.Kind) + "." + key + property
}

// Order is one key of a sort order.
type Order struct {
	Field FilterField
	Desc  bool
}

// String returns o as [ParseOrder] reads it.
func (o Order) String() string {
	if o.Desc {
		return o.Field.String() + " DESC"
	}
	return o.Field.String()
}

// ParseFilter reads a search filter: MLflow's grammar, extended.
//
//	filter     = [ or ]
//	or         = and { OR and }
//	and        = not { AND not }
//	not        = NOT not | "(" or ")" | comparison
//	comparison = key ("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=" | LIKE | ILIKE) value
//	           | key [NOT] IN "(" value { "," value } ")"
//	           | key IS [NOT] NULL
//	key        = a key of [FilterFields]; one that is not of letters, digits, "_", ".", "-",
//	             "/" and ":" alone stands in double quotes or backticks: tags."a b"
//	value      = 'text' | "text" | number | TRUE | FALSE
//
// Words in capitals are read in any case. In quotes, a doubled quote stands for
// one and a backslash for itself. An empty filter lets everything pass.
//
// It returns [CodeInvalid], with the column and what would be right.
func ParseFilter(s string) (*Filter, error) {
	p, err := newFilterParser("filter", s)
	if err != nil {
		return nil, err
	}
	if p.peek().kind == tokenEnd {
		return &Filter{}, nil
	}
	root, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEnd {
		return nil, p.fail(t.pos, "%s is left over; join comparisons with AND or OR", t)
	}
	return &Filter{Root: root}, nil
}

// ParseOrder reads a sort order: keys of [FilterFields] with ASC or DESC, joined by
// commas: "metrics.auc DESC, created_at". An empty text is no order. It returns
// [CodeInvalid], also for a key that is there twice.
func ParseOrder(s string) ([]Order, error) {
	p, err := newFilterParser("order", s)
	if err != nil {
		return nil, err
	}
	if p.peek().kind == tokenEnd {
		return nil, nil
	}
	var orders []Order
	for {
		pos := p.peek().pos
		field, _, err := p.field()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(orders, func(o Order) bool { return o.Field == field }) {
			return nil, p.fail(pos, "%s is there twice", field)
		}
		if len(orders) == MaxOrderKeys {
			return nil, p.fail(pos, "an order has at most %d keys", MaxOrderKeys)
		}
		desc := p.keyword("DESC")
		if !desc {
			p.keyword("ASC")
		}
		orders = append(orders, Order{Field: field, Desc: desc})
		switch t := p.take(); t.kind {
		case tokenEnd:
			return orders, nil
		case tokenComma:
		default:
			return nil, p.fail(t.pos, "%s after %s; write ASC or DESC, then a comma and the next key", t, field)
		}
	}
}

// ParseFilterTime returns the moment that a value of a time field stands for: an
// RFC 3339 time or a date, an age before now ("-7d", "-2h"), or a number of
// milliseconds since 1970. It returns [CodeInvalid].
func ParseFilterTime(v FilterValue, now time.Time) (time.Time, error) {
	if v.IsNumber {
		t := time.UnixMilli(int64(max(min(v.Number, 1e15), -1e15))).UTC()
		if v.Number != math.Trunc(v.Number) || t.Year() < 1 || t.Year() > 9999 {
			return time.Time{}, Errorf(CodeInvalid, "%s is not a number of milliseconds since 1970 in the years 1 to 9999", v.Text)
		}
		return t, nil
	}
	at, err := ParseAt(v.Text, now)
	switch {
	case err != nil || v.Text == "":
		return time.Time{}, Errorf(CodeInvalid, "'%s' is not a time; write '2026-11-02T08:00:00Z', '2026-11-02', an age ('-7d', '-2h') or milliseconds since 1970 without quotes", clip(v.Text))
	case at.Seq != nil:
		return time.Time{}, Errorf(CodeInvalid, "'%s' is not a time; milliseconds since 1970 stand without quotes", clip(v.Text))
	case at.IsNow():
		return now.UTC(), nil
	}
	return at.Time.UTC(), nil
}

// Comparisons returns the Compare nodes of f from left to right, for a caller that
// checks or resolves their fields and values.
func (f *Filter) Comparisons() []*FilterNode {
	var out []*FilterNode
	var walk func(*FilterNode)
	walk = func(n *FilterNode) {
		if n.Op == Compare {
			out = append(out, n)
		}
		for _, arg := range n.Args {
			walk(arg)
		}
	}
	if f.Root != nil {
		walk(f.Root)
	}
	return out
}

// String returns the canonical text of f: [ParseFilter] reads it as a tree that is
// equal but for each Pos. Only a filter of nearly [MaxFilter] bytes may have a
// canonical text that is too long to be read again.
func (f *Filter) String() string {
	if f.Root == nil {
		return ""
	}
	var b strings.Builder
	f.Root.write(&b)
	return b.String()
}

func (n *FilterNode) write(b *strings.Builder) {
	switch n.Op {
	case And, Or:
		for i, arg := range n.Args {
			if i > 0 {
				b.WriteString(" " + string(n.Op) + " ")
			}
			arg.writeInside(b, n.Op == And && arg.Op == Or)
		}
	case Not:
		for _, arg := range n.Args {
			b.WriteString("NOT ")
			arg.writeInside(b, arg.Op == And || arg.Op == Or)
		}
	case Compare:
		b.WriteString(n.Field.String() + " " + string(n.Cmp))
		texts := make([]string, len(n.Values))
		for i, v := range n.Values {
			texts[i] = v.Text
			if !v.IsNumber && n.Field.Type() != BoolField {
				texts[i] = quote(v.Text, '\'')
			}
		}
		switch n.Cmp {
		case CmpIn, CmpNotIn:
			b.WriteString(" (" + strings.Join(texts, ", ") + ")")
		case CmpIsNull, CmpIsNotNull:
		default:
			b.WriteString(" " + strings.Join(texts, ", "))
		}
	}
}

func (n *FilterNode) writeInside(b *strings.Builder, parentheses bool) {
	if parentheses {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	n.write(b)
}

func quote(s string, q byte) string {
	one := string(q)
	return one + strings.ReplaceAll(s, one, one+one) + one
}

// tokenKind is what the lexer takes a piece of a filter for.
type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString
	tokenNumber
	tokenOperator
	tokenOpen
	tokenClose
	tokenComma
)

type token struct {
	kind tokenKind
	// text is the piece as it stands in the filter, of a string what it stands for.
	text string
	// parts are those of a word, between dots and without quotes.
	parts  []string
	quoted bool // some part of the word stood in quotes, so it is no keyword
	pos    int
}

// String names the token in a message.
func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenString:
		return "the text " + quote(clip(t.text), '\'')
	case tokenNumber:
		return "the number " + clip(t.text)
	default:
		return `"` + clip(t.text) + `"`
	}
}

// keyRune says whether r may stand in a key without quotes, "." apart.
func keyRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_' || r == '-' || r == '/' || r == ':'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// operators are the comparators that are written with signs.
var operators = map[string]Comparator{
	"=": CmpEqual, "!=": CmpNotEqual, "<>": CmpNotEqual,
	"<": CmpLess, "<=": CmpLessEqual, ">": CmpGreater, ">=": CmpGreaterEqual,
}

// filterParser is a recursive-descent parser over the tokens of a filter or an order.
type filterParser struct {
	what        string // "filter" or "order", for messages
	tokens      []token
	next        int
	comparisons int
}

func newFilterParser(what, s string) (*filterParser, error) {
	if len(s) > MaxFilter {
		return nil, Errorf(CodeInvalid, "the %s has %d bytes, the limit is %d", what, len(s), MaxFilter)
	}
	if err := checkText(what, s, MaxFilter); err != nil {
		return nil, err
	}
	p := &filterParser{what: what}
	return p, p.lex(s)
}

func (p *filterParser) fail(pos int, format string, args ...any) *Error {
	return Errorf(CodeInvalid, "%s, column %d: %s", p.what, pos, fmt.Sprintf(format, args...))
}

// lex splits s into tokens, the last of which is the end.
func (p *filterParser) lex(s string) error {
	pos := 1
	for s != "" {
		t := token{pos: pos}
		rest, err := p.lexOne(s, &t)
		if err != nil {
			return err
		}
		pos += utf8.RuneCountInString(s[:len(s)-len(rest)])
		s = rest
		if t.kind != tokenEnd {
			p.tokens = append(p.tokens, t)
		}
	}
	p.tokens = append(p.tokens, token{kind: tokenEnd, pos: pos})
	return nil
}

// lexOne takes one token, or some blanks, from the front of s.
func (p *filterParser) lexOne(s string, t *token) (rest string, err error) {
	first, size := utf8.DecodeRuneInString(s)
	take := func(kind tokenKind, n int) (string, error) {
		t.kind, t.text = kind, s[:n]
		return s[n:], nil
	}
	switch {
	case unicode.IsSpace(first):
		return s[size:], nil
	case first == '(':
		return take(tokenOpen, 1)
	case first == ')':
		return take(tokenClose, 1)
	case first == ',':
		return take(tokenComma, 1)
	case strings.ContainsRune("=!<>", first):
		return take(tokenOperator, len(s)-len(strings.TrimLeft(s, "=!<>")))
	case first == '\'' || first == '"':
		t.kind = tokenString
		t.text, rest, err = p.lexQuoted(s, t.pos)
		return rest, err
	case numberLength(s) > 0:
		n := numberLength(s)
		if r, _ := utf8.DecodeRuneInString(s[n:]); n < len(s) && (keyRune(r) || r == '.') {
			return "", p.fail(t.pos, "%q is not a number; text stands in quotes", clip(s[:n]+string(r)))
		}
		return take(tokenNumber, n)
	case first == '`' || first == '_' || unicode.IsLetter(first):
		return p.lexWord(s, t)
	default:
		return "", p.fail(t.pos, "%q does not belong here; text stands in quotes", first)
	}
}

// numberLength returns how many bytes of a decimal number s begins with.
func numberLength(s string) int {
	i := 0
	digits := func() int {
		start := i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		return i - start
	}
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	n := digits()
	if i < len(s) && s[i] == '.' {
		i++
		n += digits()
	}
	if n == 0 {
		return 0
	}
	if end := i; i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '-' || s[i] == '+') {
			i++
		}
		if digits() == 0 {
			return end
		}
	}
	return i
}

// lexQuoted reads the quoted text that s begins with.
func (p *filterParser) lexQuoted(s string, pos int) (text, rest string, err error) {
	q := s[0]
	for i := 1; i < len(s); i++ {
		if s[i] != q {
			continue
		}
		if i+1 < len(s) && s[i+1] == q {
			i++
			continue
		}
		one := string(q)
		return strings.ReplaceAll(s[1:i], one+one, one), s[i+1:], nil
	}
	return "", "", p.fail(pos, "the quote %c is not closed", q)
}

// lexWord reads a key or a keyword: parts between dots, each bare or quoted.
func (p *filterParser) lexWord(s string, t *token) (rest string, err error) {
	rest = s
	for {
		var part string
		if rest != "" && (rest[0] == '`' || rest[0] == '"') {
			t.quoted = true
			pos := t.pos + utf8.RuneCountInString(s[:len(s)-len(rest)])
			if part, rest, err = p.lexQuoted(rest, pos); err != nil {
				return "", err
			}
		} else {
			end := strings.IndexFunc(rest, func(r rune) bool { return !keyRune(r) })
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
		}
		t.parts = append(t.parts, part)
		if !strings.HasPrefix(rest, ".") {
			break
		}
		rest = rest[1:]
	}
	t.kind, t.text = tokenWord, s[:len(s)-len(rest)]
	return rest, nil
}

func (p *filterParser) peek() token { return p.tokens[p.next] }

func (p *filterParser) take() token {
	t := p.tokens[p.next]
	if t.kind != tokenEnd {
		p.next++
	}
	return t
}

func (t token) is(keyword string) bool {
	return t.kind == tokenWord && !t.quoted && strings.EqualFold(t.text, keyword)
}

// keyword takes the word where it is the next.
func (p *filterParser) keyword(word string) bool {
	if !p.peek().is(word) {
		return false
	}
	p.next++
	return true
}

func (p *filterParser) or(depth int) (*FilterNode, error) { return p.chain(Or, depth, p.and) }

func (p *filterParser) and(depth int) (*FilterNode, error) { return p.chain(And, depth, p.not) }

// chain reads what operand reads, once or more, joined by op.
func (p *filterParser) chain(op FilterOp, depth int, operand func(int) (*FilterNode, error)) (*FilterNode, error) {
	chain := &FilterNode{Op: op, Pos: p.peek().pos}
	for {
		n, err := operand(depth)
		if err != nil {
			return nil, err
		}
		if n.Op == op {
			chain.Args = append(chain.Args, n.Args...)
		} else {
			chain.Args = append(chain.Args, n)
		}
		if !p.keyword(string(op)) {
			break
		}
	}
	if len(chain.Args) == 1 {
		return chain.Args[0], nil
	}
	return chain, nil
}

func (p *filterParser) not(depth int) (*FilterNode, error) {
	t := p.peek()
	if depth > MaxFilterDepth {
		return nil, p.fail(t.pos, "more than %d parentheses and NOTs inside one another", MaxFilterDepth)
	}
	switch {
	case p.keyword("NOT"):
		arg, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return &FilterNode{Op: Not, Args: []*FilterNode{arg}, Pos: t.pos}, nil
	case t.kind == tokenOpen:
		p.next++
		n, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if end := p.take(); end.kind != tokenClose {
			return nil, p.fail(end.pos, "%s where a \")\" closes the parenthesis of column %d", end, t.pos)
		}
		return n, nil
	default:
		return p.comparison()
	}
}

func (p *filterParser) comparison() (*FilterNode, error) {
	n := &FilterNode{Op: Compare, Pos: p.peek().pos}
	if p.comparisons++; p.comparisons > MaxFilterComparisons {
		return nil, p.fail(n.Pos, "a filter has at most %d comparisons; IN takes a list of values", MaxFilterComparisons)
	}
	var spec *FieldSpec
	var err error
	if n.Field, spec, err = p.field(); err != nil {
		return nil, err
	}
	if n.Cmp, err = p.comparator(n.Field, spec.Type); err != nil {
		return nil, err
	}
	switch n.Cmp {
	case CmpIsNull, CmpIsNotNull:
		return n, nil
	case CmpIn, CmpNotIn:
		n.Values, err = p.list(n, spec.Type)
	default:
		n.Values = make([]FilterValue, 1)
		n.Values[0], err = p.value(n, spec.Type)
	}
	return n, err
}

// field reads a key and finds its row of FilterFields.
func (p *filterParser) field() (FilterField, *FieldSpec, error) {
	t := p.take()
	if t.kind != tokenWord {
		return FilterField{}, nil, p.fail(t.pos, "%s where a key is wanted, as in owner, tags.team or metrics.auc", t)
	}
	parts := t.parts
	if len(parts) > 1 && (parts[0] == "attribute" || parts[0] == "attributes") {
		parts = parts[1:]
	}
	spec, key, free := findField(parts)
	if spec == nil {
		return FilterField{}, nil, p.unknown(t, parts)
	}
	kind, rest, dotted := strings.Cut(spec.Name, ".")
	if free == "" && (rest == "KEY" || strings.HasPrefix(rest, "ROLE.")) {
		return FilterField{}, nil, p.fail(t.pos, "%s. needs a key, as in %s; one with other signs than letters, digits, \"_.-/:\" stands in double quotes or backticks", kind, spec.Name)
	}
	if free != "" {
		if _, err := ParseKey(kind, free); err != nil {
			return FilterField{}, nil, p.fail(t.pos, "%v", err)
		}
	}
	if !dotted {
		kind = string(KindAttribute)
	}
	return FilterField{Kind: FieldKind(kind), Key: key}, spec, nil
}

// findField returns the row of FilterFields for the parts of a key, the key of its
// [FilterField], and the part of it that stands for KEY or ROLE.
func findField(parts []string) (spec *FieldSpec, key, free string) {
	first, last := parts[0], len(parts)-1
	rest := strings.Join(parts[1:], ".")
	if spec = fieldIndex[first+".KEY"]; spec != nil && last > 0 {
		return spec, rest, rest
	}
	if spec = fieldIndex[first+".ROLE."+parts[last]]; spec != nil && last > 1 {
		return spec, rest, strings.Join(parts[1:last], ".")
	}
	if spec = fieldIndex[strings.Join(parts, ".")]; spec == nil {
		return nil, "", ""
	}
	_, key, dotted := strings.Cut(spec.Name, ".")
	if !dotted {
		key = spec.Name
	}
	return spec, key, ""
}

// unknown is the error for a key that is not in FilterFields: it names the nearest.
func (p *filterParser) unknown(t token, parts []string) error {
	name := strings.Join(parts, ".")
	err := p.fail(t.pos, "%q is no key that can be searched", clip(name))
	if len(parts) == 1 && fieldIndex[name+".KEY"] != nil {
		return err.WithFix("write %s.KEY", name)
	}
	if near := nearestField(parts); near != "" {
		return err.WithFix("did you mean %s?", near)
	}
	names := make([]string, 0, len(FilterFields))
	for _, spec := range FilterFields {
		names = append(names, spec.Name)
	}
	return err.WithFix("the keys are %s", strings.Join(names, ", "))
}

// nearestField returns what parts may be a misspelling of, or "".
func nearestField(parts []string) string {
	first, last := parts[0], len(parts)-1
	var families, properties, names []string
	for _, spec := range FilterFields {
		for _, name := range append([]string{spec.Name}, spec.Also...) {
			switch family, property, _ := strings.Cut(name, "."); {
			case property == "KEY":
				families = append(families, family)
			case strings.HasPrefix(property, "ROLE."):
				properties = append(properties, property[len("ROLE."):])
			default:
				names = append(names, name)
			}
		}
	}
	if first == string(KindData) && last > 1 {
		if near := Nearest(clip(parts[last]), properties); near != "" {
			return FilterField{KindData, strings.Join(parts[1:last], ".") + "." + near}.String()
		}
	}
	if near := Nearest(clip(strings.Join(parts, ".")), names); near != "" {
		return near
	}
	if near := Nearest(clip(first), families); near != "" && last > 0 {
		return FilterField{FieldKind(near), strings.Join(parts[1:], ".")}.String()
	}
	return ""
}

// comparator reads a comparator that fields of type t take.
func (p *filterParser) comparator(field FilterField, t FieldType) (Comparator, error) {
	start := p.take()
	cmp := operators[start.text]
	switch {
	case start.kind == tokenOperator && cmp != "":
	case start.is("LIKE"):
		cmp = CmpLike
	case start.is("ILIKE"):
		cmp = CmpILike
	case start.is("IN"):
		cmp = CmpIn
	case start.is("NOT") && p.keyword("IN"):
		cmp = CmpNotIn
	case start.is("IS"):
		cmp = CmpIsNull
		if p.keyword("NOT") {
			cmp = CmpIsNotNull
		}
		if end := p.peek(); !p.keyword("NULL") {
			return "", p.fail(end.pos, "%s after IS; write %s IS NULL or %s IS NOT NULL", end, field, field)
		}
	case start.is("NOT") && (p.peek().is("LIKE") || p.peek().is("ILIKE")):
		return "", p.fail(start.pos, "NOT stands before the key: NOT %s LIKE …", field)
	default:
		return "", p.fail(start.pos, "%s after %s; it takes %s", start, field, comparatorNames(t))
	}
	if !slices.Contains(comparators[t], cmp) {
		return "", p.fail(start.pos, "%s is of type %s and can't be compared by %s; it takes %s", field, t, cmp, comparatorNames(t))
	}
	return cmp, nil
}

// comparatorNames lists the comparators of a type, for messages.
func comparatorNames(t FieldType) string {
	var names []string
	for _, c := range comparators[t] {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

// list reads the values of IN.
func (p *filterParser) list(n *FilterNode, t FieldType) ([]FilterValue, error) {
	if open := p.take(); open.kind != tokenOpen {
		return nil, p.fail(open.pos, "%s after %s; write %s %s (%s, %s)", open, n.Cmp, n.Field, n.Cmp, examples[t], examples[t])
	}
	if end := p.peek(); end.kind == tokenClose {
		return nil, p.fail(end.pos, "%s %s needs at least one value", n.Field, n.Cmp)
	}
	var values []FilterValue
	for {
		if len(values) == MaxFilterValues {
			return nil, p.fail(p.peek().pos, "%s %s takes at most %d values", n.Field, n.Cmp, MaxFilterValues)
		}
		v, err := p.value(n, t)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		switch end := p.take(); end.kind {
		case tokenClose:
			return values, nil
		case tokenComma:
		default:
			return nil, p.fail(end.pos, "%s where a comma or a \")\" belongs in the list of %s", end, n.Cmp)
		}
	}
}

// examples are literals of each type, for messages.
var examples = map[FieldType]string{
	TextField: "'text'", NumberField: "0.9", TimeField: "'2026-11-02T08:00:00Z'", BoolField: "true",
}

// value reads a literal that fields of type t take.
func (p *filterParser) value(n *FilterNode, t FieldType) (FilterValue, error) {
	literal := p.take()
	wrong := func(right string) (FilterValue, error) {
		return FilterValue{}, p.fail(literal.pos, "%s is of type %s and can't be compared with %s; write %s", n.Field, t, literal, right)
	}
	if literal.kind != tokenString && literal.kind != tokenNumber && literal.kind != tokenWord {
		return FilterValue{}, p.fail(literal.pos, "%s after %s %s, where a value belongs, as %s", literal, n.Field, n.Cmp, examples[t])
	}
	switch t {
	case BoolField:
		if text := strings.ToLower(literal.text); text == "true" || text == "false" {
			return FilterValue{Text: text}, nil
		}
		return wrong("true or false")
	case NumberField:
		if literal.kind == tokenString && numberLength(literal.text) != len(literal.text) || literal.kind == tokenWord || literal.text == "" {
			return wrong("a number, as " + examples[t])
		}
		return p.number(literal)
	case TimeField:
		v, err := FilterValue{Text: literal.text}, error(nil)
		if literal.kind == tokenNumber {
			if v, err = p.number(literal); err != nil {
				return v, err
			}
		}
		if literal.kind == tokenWord {
			return wrong("an RFC 3339 time, as " + examples[t])
		}
		if _, err = ParseFilterTime(v, time.Unix(0, 0)); err != nil {
			return FilterValue{}, p.fail(literal.pos, "%s: %v", n.Field, err)
		}
		return v, nil
	}
	if literal.kind != tokenString {
		return wrong(quote(clip(literal.text), '\''))
	}
	if n.Field == parentField && (n.Cmp == CmpEqual || n.Cmp == CmpNotEqual || n.Cmp == CmpIn || n.Cmp == CmpNotIn) {
		if _, _, ok := SplitVersionSubject(literal.text); !ok {
			if _, err := ParseReference(literal.text); err != nil {
				return FilterValue{}, p.fail(literal.pos, "%v", err)
			}
		}
	}
	return FilterValue{Text: literal.text}, nil
}

var parentField = FilterField{Kind: KindAttribute, Key: "parent"}

// number reads the number that literal's text is.
func (p *filterParser) number(literal token) (FilterValue, error) {
	v, err := strconv.ParseFloat(literal.text, 64)
	if err != nil {
		return FilterValue{}, p.fail(literal.pos, "%q is out of the range of numbers", clip(literal.text))
	}
	if v == 0 {
		v = 0 // not -0
	}
	text := strconv.FormatFloat(v, 'g', -1, 64)
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		text = strconv.FormatInt(int64(v), 10)
	}
	return FilterValue{Text: text, Number: v, IsNumber: true}, nil
}
