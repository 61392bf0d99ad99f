package mlflow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// The filter of MLflow's searches over experiments, runs and logged models: comparisons
// that all must hold, joined by AND. As in MLflow, an AND too many or too few is
// forgiven, and quotes have no escapes.

// valueKind says how a value of a filter was written.
type valueKind int

const (
	quotedValue valueKind = iota // 'text' or "text"
	numberValue
	listValue
	bareValue
)

// comparison is one comparison as it was written.
type comparison struct {
	// identifier is the key with its quotes.
	identifier string
	// cmp is the comparator in capitals.
	cmp   string
	kind  valueKind
	raw   string
	texts []string
	// length is how many tokens a list takes.
	length int
}

// token is a piece of a filter.
type token struct {
	kind rune // 'w' word, 'q' quoted with ', 'd' quoted with ", 'n' number, 'o' operator, '(' ')' ',' as they are, 'x' anything else
	text string
	at   int // where it stands in the filter
}

// scanFilter cuts a filter into tokens. A word is a key with all its parts:
// params.`a b`, tags."x y".
func scanFilter(filter string) []token {
	var out []token
	for s := filter; s != ""; {
		r, size := utf8.DecodeRuneInString(s)
		n := size
		kind := 'x'
		switch {
		case unicode.IsSpace(r):
			s = s[size:]
			continue
		case r == '(' || r == ')' || r == ',':
			kind = r
		case strings.HasPrefix(s, "--"): // SQL's comment
			line, _, _ := strings.Cut(s, "\n")
			n = len(line)
		case r == '\'':
			kind, n = 'q', quotedLength(s)
		case strings.ContainsRune("=<>!~", r):
			for n < len(s) && strings.IndexByte("=<>!~", s[n]) >= 0 {
				n++
			}
			kind = 'o'
		case unicode.IsDigit(r) || (r == '-' || r == '.') && len(s) > 1 && (s[1] >= '0' && s[1] <= '9' || s[1] == '.'):
			kind, n = numberLength(s)
		case unicode.IsLetter(r) || r == '_' || r == '`' || r == '"':
			n = wordLength(s)
			kind = 'w'
			if r == '"' && n == quotedLength(s) {
				kind = 'd'
			}
		}
		out = append(out, token{kind, s[:n], len(filter) - len(s)})
		s = s[n:]
	}
	return out
}

// quotedLength is the length of the quoted text that s begins with; all of s where the
// quote never ends.
func quotedLength(s string) int {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == quote && quote != '`':
			i++
		case s[i] == quote:
			if i+1 < len(s) && s[i+1] == quote && quote != '`' {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(s)
}

func numberLength(s string) (rune, int) {
	n := 0
	if s[0] == '-' {
		n++
	}
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.' || s[n] == '_' || s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' ||
		(s[n] == '-' || s[n] == '+') && (s[n-1] == 'e' || s[n-1] == 'E')) {
		n++
	}
	if _, err := strconv.ParseFloat(s[:n], 64); err != nil || strings.ContainsAny(s[:n], "_xXpPiInN") {
		return 'x', max(n, 1)
	}
	return 'n', n
}

// wordLength is the length of a key: parts joined by dots, each a word or quoted.
func wordLength(s string) int {
	n := 0
	for n < len(s) {
		r, _ := utf8.DecodeRuneInString(s[n:])
		switch {
		case r == '`' || r == '"':
			n += quotedLength(s[n:])
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_':
			for n < len(s) {
				r, size := utf8.DecodeRuneInString(s[n:])
				if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' {
					break
				}
				n += size
			}
		default:
			return n
		}
		if n >= len(s) || s[n] != '.' {
			return n
		}
		n++
	}
	return n
}

// parseFilter reads a filter into its comparisons, as they were written.
func parseFilter(s string) ([]comparison, error) {
	if len(s) > pedigree.MaxFilter {
		return nil, invalid("The filter string has %d bytes, the limit is %d", len(s), pedigree.MaxFilter)
	}
	tokens := scanFilter(s)
	if s != "" && len(tokens) == 0 {
		return nil, invalid("Invalid filter '%s'. Could not be parsed.", clip(s))
	}
	var out []comparison
	var wrong []string
	for i := 0; i < len(tokens); {
		if isWord(tokens[i], "AND") {
			i++
			continue
		}
		c, n, ok := parseComparison(tokens[i:])
		if !ok {
			n = groupLength(tokens[i:])
			wrong = append(wrong, "'"+source(s, tokens[i:i+n])+"'")
		} else {
			if c.kind == listValue {
				c.raw = source(s, tokens[i+n-c.length:i+n])
			}
			out = append(out, c)
		}
		i += n
	}
	switch {
	case len(wrong) > 0:
		return nil, invalid("Invalid clause(s) in filter string: %s", clip(strings.Join(wrong, ", ")))
	case len(out) > pedigree.MaxFilterComparisons:
		return nil, invalid("The filter string has more than %d comparisons", pedigree.MaxFilterComparisons)
	}
	return out, nil
}

// groupLength is how many tokens the piece takes that t begins with and that is no
// comparison: one, or those of a pair of parentheses.
func groupLength(t []token) int {
	depth := 0
	for i := range t {
		switch t[i].kind {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth <= 0 {
			return i + 1
		}
	}
	return len(t)
}

// source is the part of a filter from the first to the last of some tokens.
func source(filter string, t []token) string {
	last := t[len(t)-1]
	return filter[t[0].at : last.at+len(last.text)]
}

func isWord(t token, word string) bool { return t.kind == 'w' && strings.EqualFold(t.text, word) }

func parseComparison(t []token) (c comparison, n int, ok bool) {
	if len(t) < 3 || t[0].kind != 'w' && t[0].kind != 'd' {
		return c, 0, false
	}
	c.identifier = t[0].text
	switch {
	case isWord(t[1], "IS") && isWord(t[2], "NULL"):
		c.cmp = "IS NULL"
		return c, 3, true
	case isWord(t[1], "IS") && isWord(t[2], "NOT") && len(t) > 3 && isWord(t[3], "NULL"):
		c.cmp = "IS NOT NULL"
		return c, 4, true
	case isWord(t[1], "IN"):
		c.cmp, n = "IN", 2
	case isWord(t[1], "NOT") && isWord(t[2], "IN"):
		c.cmp, n = "NOT IN", 3
	case isWord(t[1], "LIKE"), isWord(t[1], "ILIKE"):
		c.cmp, n = strings.ToUpper(t[1].text), 2
	case t[1].kind == 'o':
		c.cmp, n = t[1].text, 2
	default:
		return c, 0, false
	}
	if n >= len(t) {
		return c, 0, false
	}
	switch v := t[n]; v.kind {
	case 'q', 'd':
		if len(v.text) < 2 || v.text[len(v.text)-1] != v.text[0] {
			return c, 0, false // the quote never ends
		}
		c.kind, c.raw, c.texts = quotedValue, v.text, []string{v.text[1 : len(v.text)-1]}
	case 'n':
		c.kind, c.raw = numberValue, v.text
	case 'w':
		c.kind, c.raw = bareValue, v.text
	case '(':
		return parseListValue(c, t, n)
	default:
		return c, 0, false
	}
	return c, n + 1, true
}

// parseListValue reads a list in parentheses, which begins at t[n].
func parseListValue(c comparison, t []token, n int) (comparison, int, bool) {
	c.kind = listValue
	for i := n + 1; i < len(t); i++ {
		switch v := t[i]; v.kind {
		case ')':
			c.length = i + 1 - n
			return c, i + 1, true
		case 'q', 'd':
			if len(v.text) < 2 || v.text[len(v.text)-1] != v.text[0] {
				return c, 0, false
			}
			c.texts = append(c.texts, v.text[1:len(v.text)-1])
		case ',':
		case 'n':
			c.kind = listValue
			c.texts = append(c.texts, "\x00") // no text: refused later
		default:
			return c, 0, false
		}
	}
	return c, 0, false
}

// noun says what a search over one noun may ask.
type noun struct {
	// entities are the kinds of key, by the words that stand before the dot.
	entities map[string]registrar.ClauseKind
	// names is what an error says of other words.
	names string
	// attributes are the keys of the noun itself, with what the registrar calls them.
	attributes map[string]string
	// orders are the attributes that it may be ordered by, where they are others.
	orders map[string]string
	// numeric are the attributes that are numbers, lists those that take IN.
	numeric, lists []string
	// ids are those whose comparators are checked by whoever reads the clauses.
	ids []string
	// absent are the kinds of key that take IS NULL.
	absent []registrar.ClauseKind
}

// key finds what an identifier names.
func (n *noun) key(identifier string, attributes map[string]string) (registrar.ClauseKind, string, error) {
	kind, key := registrar.ClauseAttribute, identifier
	if entity, rest, dotted := strings.Cut(identifier, "."); dotted && identifier[0] != '`' && identifier[0] != '"' {
		var ok bool
		if kind, ok = n.entities[entity]; !ok {
			return "", "", invalid("Invalid entity type '%s'. %s", clip(entity), n.names)
		}
		key = rest
	}
	for _, quote := range []string{`"`, "'", "`"} {
		if len(key) >= 2 && strings.HasPrefix(key, quote) && strings.HasSuffix(key, quote) {
			key = key[1 : len(key)-1]
		}
	}
	switch kind {
	case registrar.ClauseAttribute:
		name, ok := attributes[key]
		if !ok {
			return "", "", invalid("Invalid attribute key '%s' specified. Valid keys are '%s'", clip(key), pythonSet(attributes))
		}
		return kind, name, nil
	case registrar.ClauseDataset:
		if !slices.Contains(datasetKeys, key) {
			return "", "", invalid("Invalid dataset key '%s' specified. Valid keys are '{'context', 'digest', 'name'}'", clip(key))
		}
	}
	return kind, key, nil
}

var datasetKeys = []string{"context", "digest", "name"}

// pythonSet is the text of a set of names in the error messages of MLflow.
func pythonSet[V any](names map[string]V) string {
	keys := make([]string, 0, len(names))
	for k := range names {
		keys = append(keys, "'"+k+"'")
	}
	slices.Sort(keys)
	return "{" + strings.Join(keys, ", ") + "}"
}

// clauses reads a filter into what the registrar searches by.
func (n *noun) clauses(filter string) ([]registrar.Clause, error) {
	comparisons, err := parseFilter(filter)
	if err != nil {
		return nil, err
	}
	var out []registrar.Clause
	for _, c := range comparisons {
		clause, err := n.clause(c)
		if err != nil {
			return nil, err
		}
		out = append(out, clause)
	}
	return out, nil
}

func (n *noun) clause(c comparison) (registrar.Clause, error) {
	kind, key, err := n.key(c.identifier, n.attributes)
	if err != nil {
		return registrar.Clause{}, err
	}
	out := registrar.Clause{Kind: kind, Key: key, Cmp: pedigree.Comparator(c.cmp)}
	if c.cmp == "IS NULL" || c.cmp == "IS NOT NULL" {
		if !slices.Contains(n.absent, kind) {
			return out, invalid("IS NULL / IS NOT NULL is only supported for tags and params, not for '%s' '%s'", kind, clip(key))
		}
		return out, nil
	}
	number := kind == registrar.ClauseMetric || kind == registrar.ClauseAttribute && slices.Contains(n.numeric, key)
	if err := n.checkValue(kind, key, number, c); err != nil {
		return out, err
	}
	if err := checkComparator(kind, number, c.cmp); err != nil && !slices.Contains(n.ids, key) {
		return out, err
	}
	if number {
		f, err := strconv.ParseFloat(c.raw, 64)
		if err != nil {
			return out, invalid("Expected numeric value type for %s. Found %s", kind, clip(c.raw))
		}
		out.Values = []pedigree.FilterValue{{Text: c.raw, Number: f, IsNumber: true}}
		return out, nil
	}
	for _, text := range c.texts {
		out.Values = append(out.Values, pedigree.FilterValue{Text: text})
	}
	return out, nil
}

// checkValue checks that a value is written as its key wants it.
func (n *noun) checkValue(kind registrar.ClauseKind, key string, number bool, c comparison) error {
	switch {
	case number && c.kind != numberValue && kind == registrar.ClauseMetric:
		return invalid("Expected numeric value type for metric. Found %s", clip(c.raw))
	case number && c.kind != numberValue:
		return invalid("Expected numeric value type for numeric attribute: %s. Found %s", key, clip(c.raw))
	case number || c.kind == quotedValue:
		return nil
	case c.kind == listValue:
		return n.checkList(kind, key, c)
	case c.kind == bareValue:
		return invalid("Parameter value is either not quoted or unidentified quote types used for string value %s. Use either single or double quotes.", clip(c.raw))
	case kind == registrar.ClauseDataset:
		return invalid("Expected a quoted string value for dataset attributes. Got value %s", clip(c.raw))
	case kind == registrar.ClauseAttribute:
		return invalid("Expected a quoted string value for attributes. Got value %s", clip(c.raw))
	}
	return invalid("Expected a quoted string value for %s (e.g. 'my-value'). Got value %s", entityName(kind), clip(c.raw))
}

func (n *noun) checkList(kind registrar.ClauseKind, key string, c comparison) error {
	if kind == registrar.ClauseParam || kind == registrar.ClauseTag {
		return invalid("Expected a quoted string value for %s (e.g. 'my-value'). Got value %s", entityName(kind), clip(c.raw))
	}
	if kind == registrar.ClauseAttribute && n.lists != nil && !slices.Contains(n.lists, key) {
		return invalid("Only ['%s'] attributes support comparison with a list of quoted string values.", strings.Join(n.lists, "', '"))
	}
	switch {
	case len(c.texts) == 0:
		return invalid("While parsing a list in the query, expected a non-empty list of string values, but got empty list")
	case slices.Contains(c.texts, "\x00"):
		return invalid("While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: %s", clip(c.raw))
	case len(c.texts) > pedigree.MaxFilterValues:
		return invalid("A list of the filter string has %d values, the limit is %d", len(c.texts), pedigree.MaxFilterValues)
	case c.cmp != "IN" && c.cmp != "NOT IN":
		return invalid("Invalid comparator '%s' for a list", clip(c.cmp))
	}
	return nil
}

func entityName(kind registrar.ClauseKind) string {
	if kind == registrar.ClauseParam {
		return "parameter"
	}
	return string(kind)
}

var (
	numberComparators = []string{"!=", "<", "<=", "=", ">", ">="}
	textComparators   = []string{"!=", "=", "ILIKE", "IN", "LIKE", "NOT IN"}
	keyComparators    = []string{"!=", "=", "ILIKE", "IS NOT NULL", "IS NULL", "LIKE"}
)

func checkComparator(kind registrar.ClauseKind, number bool, cmp string) error {
	valid := textComparators
	switch {
	case number:
		valid = numberComparators
	case kind == registrar.ClauseParam, kind == registrar.ClauseTag:
		valid = keyComparators
	}
	if slices.Contains(valid, cmp) {
		return nil
	}
	return invalid("Invalid comparator '%s' not one of '{'%s'}'", clip(cmp), strings.Join(valid, "', '"))
}

// orders reads the items of order_by.
func (n *noun) sortKeys(items []string) ([]registrar.SortKey, error) {
	if len(items) > pedigree.MaxOrderKeys {
		return nil, invalid("`order_by` has %d items, the limit is %d", len(items), pedigree.MaxOrderKeys)
	}
	attributes := n.orders
	if attributes == nil {
		attributes = n.attributes
	}
	var out []registrar.SortKey
	for _, item := range items {
		identifier, desc, err := parseOrderItem(item)
		if err != nil {
			return nil, err
		}
		kind, key, err := n.key(identifier, attributes)
		if err != nil {
			return nil, err
		}
		if kind == registrar.ClauseDataset {
			return nil, invalid("Invalid identifier type 'dataset'")
		}
		for _, k := range out {
			if k.Kind == kind && k.Key == key {
				return nil, invalid("`order_by` contains duplicate fields: %s", pythonList(items))
			}
		}
		out = append(out, registrar.SortKey{Kind: kind, Key: key, Desc: desc})
	}
	return out, nil
}

func parseOrderItem(item string) (identifier string, desc bool, err error) {
	tokens := scanFilter(item)
	switch {
	case len(tokens) == 0 || len(tokens) > 2 || tokens[0].kind != 'w' && tokens[0].kind != 'd':
		return "", false, invalid("Invalid order_by clause '%s'. Could not be parsed.", clip(item))
	case len(tokens) == 1:
	case isWord(tokens[1], "DESC"):
		desc = true
	case !isWord(tokens[1], "ASC"):
		return "", false, invalid("Invalid ordering key in order_by clause '%s'.", clip(item))
	}
	return tokens[0].text, desc, nil
}

func pythonList(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = "'" + s + "'"
	}
	return clip(fmt.Sprintf("[%s]", strings.Join(quoted, ", ")))
}
