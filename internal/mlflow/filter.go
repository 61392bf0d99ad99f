package mlflow

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
)

// The filters of MLflow's searches: comparisons that all must hold, joined by AND.
// MLflow reads each of them with one parser of SQL, and then has rules and messages for
// each noun. So it is here: this file cuts a filter into comparisons, search.go says
// what may be asked of models and versions, and clause.go what of experiments, runs and
// logged models.
//
// What comes out is the tree of [pedigree.Filter], or clauses of the same comparators
// and values. The lexer is not that of [pedigree.ParseFilter]: to MLflow a key ends at a
// "-" or "/", "version" and "source" are no keys, an AND too many or too few is
// forgiven, quotes have no escapes, and the messages show the pieces as they were cut.

// sqlToken is one piece of a filter, as MLflow's SQL parser cuts it.
type sqlToken struct {
	kind sqlKind
	text string
}

type sqlKind int

const (
	sqlName      sqlKind = iota // a key, parts in quotes among it
	sqlText                     // 'text'
	sqlQuoted                   // "text", which is a text or a key
	sqlNumber                   // 5, 0.5, -1
	sqlCompare                  // =, !=, LIKE …
	sqlWord                     // a word that SQL keeps for itself
	sqlGroup                    // (…)
	sqlOperation                // a-b: arithmetic, since the key stands without quotes
	sqlOther
)

// sqlWords are words that MLflow's SQL parser does not take for keys.
var sqlWords = map[string]bool{
	"and": true, "or": true, "not": true, "is": true, "null": true, "in": true, "between": true,
	"select": true, "from": true, "where": true, "limit": true, "order": true, "group": true, "by": true, "union": true,
	"version": true, "source": true, "user": true, "timestamp": true, "exists": true, "case": true, "when": true, "end": true,
	"true": true, "false": true, "having": true, "offset": true, "drop": true, "delete": true, "insert": true, "update": true,
}

var (
	numberPattern    = regexp.MustCompile(`^-?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?`)
	comparePattern   = regexp.MustCompile(`^[<>=~!]+`)
	namePart         = regexp.MustCompile(`^[\pL\pN_$]+`)
	operationPattern = regexp.MustCompile(`^(?:[-+*/%][\pL\pN_$.]+|\s*[-+*/%]\s+[\pL\pN_$.]+)+`)
	commentPattern   = regexp.MustCompile(`^(--|#)[^\n]*`)
)

// lexSQL cuts a filter into tokens. It returns MLflow's error for a second statement.
func lexSQL(filter string) ([]sqlToken, error) {
	var tokens []sqlToken
	rest := filter
	add := func(kind sqlKind, n int) {
		tokens = append(tokens, sqlToken{kind, rest[:n]})
		rest = rest[n:]
	}
	// operand adds a key or a number, with the arithmetic that follows it.
	operand := func(kind sqlKind, n int) {
		if m := operationPattern.FindString(rest[n:]); m != "" {
			kind, n = sqlOperation, n+len(m)
		}
		add(kind, n)
	}
	for rest != "" {
		first, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(first):
			rest = rest[size:]
		case first == '\'':
			add(quotedSQL(rest, sqlText))
		case first == '"':
			add(quotedSQL(rest, sqlQuoted))
		case first == '(' && parenLength(rest) > 0:
			add(sqlGroup, parenLength(rest))
		case first == ';':
			if strings.TrimSpace(rest[1:]) != "" {
				return nil, invalid("Search filter contained multiple expression %s. Provide AND-ed expression list.", pythonRepr(clip(filter)))
			}
			add(sqlOther, 1)
		case commentPattern.MatchString(rest):
			add(sqlOther, len(commentPattern.FindString(rest)))
		case numberPattern.MatchString(rest):
			operand(sqlNumber, len(numberPattern.FindString(rest)))
		case comparePattern.MatchString(rest):
			add(sqlCompare, len(comparePattern.FindString(rest)))
		case first == '`' || namePart.MatchString(rest):
			n := nameLength(rest)
			switch word := strings.ToLower(rest[:n]); {
			case n == 0: // a backtick that nothing closes
				add(sqlOther, 1)
			case word == "like" || word == "ilike":
				add(sqlCompare, n)
			case sqlWords[word]:
				add(sqlWord, n)
			default:
				operand(sqlName, n)
			}
		default:
			add(sqlOther, size)
		}
	}
	return tokens, nil
}

// quotedSQL measures the text in quotes that s begins with: a doubled quote and one
// after a backslash do not end it, unless nothing else does. A quote that nothing ends
// is a piece of its own.
func quotedSQL(s string, kind sqlKind) (sqlKind, int) {
	last := 0
	for i := 1; i < len(s); i++ {
		if s[i] != s[0] {
			continue
		}
		last = i
		if s[i-1] == '\\' {
			continue
		}
		if i+1 < len(s) && s[i+1] == s[0] {
			i++
			continue
		}
		return kind, i + 1
	}
	if last > 0 {
		return kind, last + 1
	}
	return sqlOther, 1
}

// parenLength measures the parentheses that s begins with; 0 where they are not closed.
func parenLength(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\'', '"':
			_, n := quotedSQL(s[i:], sqlText)
			i += n - 1
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// nameLength measures a key: parts between dots, each bare or in quotes. A key that
// holds "-" and the like needs the quotes. It returns 0 for a backtick that nothing
// closes.
func nameLength(s string) int {
	i := 0
	for i < len(s) {
		switch quote := s[i]; {
		case quote == '`':
			end := strings.IndexByte(s[i+1:], '`')
			if end < 0 {
				return i
			}
			i += end + 2
		case i > 0 && (quote == '"' || quote == '\''):
			kind, n := quotedSQL(s[i:], sqlText)
			if kind == sqlOther {
				return i
			}
			i += n
		default:
			i += len(namePart.FindString(s[i:]))
		}
		if i >= len(s) || s[i] != '.' {
			break
		}
		i++
		if i < len(s) && !strings.ContainsRune("`\"'", rune(s[i])) && !namePart.MatchString(s[i:]) {
			break
		}
	}
	return i
}

// pythonRepr is a text as Python shows it.
func pythonRepr(s string) string {
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	s = strings.ReplaceAll(s, `\`, `\\`)
	if quote == "'" {
		s = strings.ReplaceAll(s, "'", `\'`)
	}
	return quote + s + quote
}

// sqlComparison is a key, a comparator and a value.
type sqlComparison struct {
	key string
	// cmp is the comparator in capitals.
	cmp   string
	value sqlToken
	// wrong is what stands where a key should.
	wrong string
}

// absence says whether the comparison asks if a key is there at all: it has no value.
func (c sqlComparison) absence() bool { return c.cmp == "IS NULL" || c.cmp == "IS NOT NULL" }

// isOperand says whether MLflow's parser makes a comparison of t and what is beside it.
func (t sqlToken) isOperand() bool {
	switch t.kind {
	case sqlName, sqlText, sqlQuoted, sqlNumber, sqlGroup, sqlOperation:
		return true
	}
	return t.isWord("null")
}

func (t sqlToken) isWord(word string) bool {
	return t.kind == sqlWord && strings.EqualFold(t.text, word)
}

// isKey says whether t may name what is compared.
func (t sqlToken) isKey() bool { return t.kind == sqlName || t.kind == sqlQuoted }

// wrongClauses are the pieces of a filter that are no comparison.
type wrongClauses []string

// error is MLflow's; it shows the pieces in quotes where a search over runs asks.
func (w wrongClauses) error(quote string) error {
	return invalid("Invalid clause(s) in filter string: %s", clip(quote+strings.Join(w, quote+", "+quote)+quote))
}

// sqlComparisons takes the comparisons out of a filter; AND may stand between them, and
// more or less often than it should. What is neither is returned beside them, for the
// caller to refuse.
func sqlComparisons(filter string) ([]sqlComparison, wrongClauses, error) {
	if filter == "" {
		return nil, nil, nil
	}
	if len(filter) > pedigree.MaxFilter {
		return nil, nil, invalid("The filter string has %d bytes, the limit is %d.", len(filter), pedigree.MaxFilter)
	}
	tokens, err := lexSQL(filter)
	if err != nil {
		return nil, nil, err
	}
	if len(tokens) == 0 {
		return nil, nil, invalid("Invalid filter '%s'. Could not be parsed.", clip(filter))
	}
	var out []sqlComparison
	var wrong wrongClauses
	for len(tokens) > 0 {
		n, c := oneComparison(tokens)
		switch {
		case n > 0:
			out = append(out, c)
		case tokens[0].isWord("and"):
			n = 1
		default:
			n = 1
			wrong = append(wrong, tokens[0].text)
		}
		tokens = tokens[n:]
	}
	if len(out) > pedigree.MaxFilterComparisons {
		return nil, nil, invalid("The filter string has %d comparisons, the limit is %d.", len(out), pedigree.MaxFilterComparisons)
	}
	return out, wrong, nil
}

// oneComparison reads the comparison that tokens begin with, and how many it takes; 0
// for none.
func oneComparison(tokens []sqlToken) (int, sqlComparison) {
	word := func(i int, text string) bool { return i < len(tokens) && tokens[i].isWord(text) }
	c := sqlComparison{key: tokens[0].text}
	if !tokens[0].isKey() {
		c.wrong = tokens[0].text
	}
	if len(tokens) > 2 && tokens[1].kind == sqlCompare && tokens[0].isOperand() && tokens[0].kind != sqlGroup && tokens[2].isOperand() {
		c.cmp, c.value = strings.ToUpper(tokens[1].text), tokens[2]
		return 3, c
	}
	if !tokens[0].isKey() {
		return 0, c
	}
	switch {
	case word(1, "in") && len(tokens) > 2 && tokens[2].kind == sqlGroup:
		c.cmp, c.value = "IN", tokens[2]
		return 3, c
	case word(1, "not") && word(2, "in") && len(tokens) > 3 && tokens[3].kind == sqlGroup:
		c.cmp, c.value = "NOT IN", tokens[3]
		return 4, c
	case word(1, "is") && word(2, "null"):
		c.cmp = "IS NULL"
		return 3, c
	case word(1, "is") && word(2, "not") && word(3, "null"):
		c.cmp = "IS NOT NULL"
		return 4, c
	}
	return 0, c
}

// unquoteKey takes the quotes off a key.
func unquoteKey(key string) string {
	for _, q := range []string{`"`, "'", "`"} {
		if len(key) >= 2 && strings.HasPrefix(key, q) && strings.HasSuffix(key, q) {
			return key[1 : len(key)-1]
		}
	}
	return key
}

// unquoteValue takes the quotes off a value that must have them.
func unquoteValue(v sqlToken) (string, error) {
	if v.kind != sqlText && v.kind != sqlQuoted {
		return "", invalid("Parameter value is either not quoted or unidentified quote types used for string value %s. Use either single or double quotes.", clip(v.text))
	}
	return v.text[1 : len(v.text)-1], nil
}

// parseList reads ('a', "b").
func parseList(text string) ([]string, error) {
	illFormed := invalid("While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.")
	inner := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(text, "("), ")"))
	if inner == "" {
		return nil, invalid("While parsing a list in the query, expected a non-empty list of string values, but got empty list")
	}
	var texts, shown []string
	for inner != "" {
		if number := numberPattern.FindString(inner); number != "" {
			shown = append(shown, number)
			inner = inner[len(number):]
		} else {
			if inner[0] != '\'' && inner[0] != '"' {
				return nil, illFormed
			}
			end := strings.IndexByte(inner[1:], inner[0])
			if end < 0 {
				return nil, illFormed
			}
			texts = append(texts, inner[1:end+1])
			shown = append(shown, pythonRepr(inner[1:end+1]))
			inner = inner[end+2:]
		}
		inner = strings.TrimSpace(inner)
		if inner == "" {
			break
		}
		if inner[0] != ',' {
			return nil, illFormed
		}
		inner = strings.TrimSpace(inner[1:])
	}
	switch tuple := strings.Join(shown, ", "); {
	case len(texts) > pedigree.MaxFilterValues:
		return nil, invalid("A list in the query has %d values, the limit is %d.", len(texts), pedigree.MaxFilterValues)
	case len(shown) == 1 && len(texts) == 0:
		tuple += ","
		fallthrough
	case len(texts) < len(shown):
		return nil, invalid("While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: (%s)", clip(tuple))
	}
	return texts, nil
}

// orderItem reads one item of order_by: a key, with its quotes where it stands alone,
// and perhaps a direction.
func orderItem(item string) (key string, desc bool, err error) {
	unread := invalid("Invalid order_by clause '%s'. Could not be parsed.", clip(item))
	tokens, err := lexSQL(item)
	if err != nil || len(item) > pedigree.MaxFilter {
		return "", false, unread
	}
	switch {
	case len(tokens) == 0 || len(tokens) > 2 || !tokens[0].isKey() && !tokens[0].isWord("timestamp"):
		return "", false, unread
	case len(tokens) == 1:
		return tokens[0].text, false, nil
	case !slices.Contains([]sqlKind{sqlName, sqlWord}, tokens[1].kind):
		return "", false, unread
	case strings.EqualFold(tokens[1].text, "desc"):
		return tokens[0].text, true, nil
	case strings.EqualFold(tokens[1].text, "asc"):
		return tokens[0].text, false, nil
	}
	return "", false, invalid("Invalid ordering key in order_by clause '%s'.", clip(item))
}

// pythonList is a list of texts as Python shows it.
func pythonList(items []string) string {
	shown := make([]string, len(items))
	for i, s := range items {
		shown[i] = pythonRepr(s)
	}
	return clip("[" + strings.Join(shown, ", ") + "]")
}
