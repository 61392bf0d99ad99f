package mlflow

// sqlToken is one piece of a filter, as MLflow's SQL parser cuts it.
type sqlToken struct {
	kind sqlKind
	text string
}

type sqlKind int

const (
	sqlName      sqlKind = iota // a key, parts in quotes among it
	sqlText                     // 'text'
	sqlQuoted                   // "text"
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
	operationPattern = regexp.MustCompile(`^([-+*/%][\pL\pN_$.]+)+`)
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
	for rest != "" {
		first, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(first):
			rest = rest[size:]
		case first == '\'':
			add(quotedSQL(rest, sqlText))
		case first == '"':
			add(quotedSQL(rest, sqlQuoted))
		case first == '(':
			add(sqlGroup, parenLength(rest))
		case first == ';':
			if strings.TrimSpace(rest[1:]) != "" {
				return nil, invalid("Search filter contained multiple expression %s. Provide AND-ed expression list.", pythonRepr(clip(filter)))
			}
			add(sqlOther, 1)
		case commentPattern.MatchString(rest):
			add(sqlOther, len(commentPattern.FindString(rest)))
		case numberPattern.MatchString(rest):
			add(sqlNumber, len(numberPattern.FindString(rest)))
		case comparePattern.MatchString(rest):
			add(sqlCompare, len(comparePattern.FindString(rest)))
		case first == '`' || namePart.MatchString(rest):
			n := nameLength(rest)
			kind := sqlName
			if word := strings.ToLower(rest[:n]); word == "like" || word == "ilike" {
				kind = sqlCompare
			} else if sqlWords[word] {
				kind = sqlWord
			}
			if m := operationPattern.FindString(rest[n:]); m != "" {
				kind, n = sqlOperation, n+len(m)
			}
			add(kind, n)
		default:
			add(sqlOther, size)
		}
	}
	return tokens, nil
}

// quotedSQL measures the text in quotes that s begins with: a doubled quote and one
// after a backslash do not end it, unless nothing else does.
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
	return sqlOther, len(s)
}

// parenLength measures the parentheses that s begins with.
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
	return len(s)
}

// nameLength measures a key: parts between dots, each bare or in quotes. A key that
// holds "-" and the like needs the quotes.
func nameLength(s string) int {
	i := 0
	for i < len(s) {
		switch {
		case s[i] == '`':
			end := strings.IndexByte(s[i+1:], '`')
			if end < 0 {
				return len(s)
			}
			i += end + 2
		case s[i] == '"':
			_, n := quotedSQL(s[i:], sqlQuoted)
			i += n
		default:
			i += len(namePart.FindString(s[i:]))
		}
		if i >= len(s) || s[i] != '.' {
			break
		}
		i++
		if i < len(s) && s[i] != '`' && s[i] != '"' && !namePart.MatchString(s[i:]) {
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
	key   string
	cmp   string
	value sqlToken
	// null says that it is IS NULL or IS NOT NULL, which MLflow's registry does not know.
	null bool
	// wrong is what stands where a key should.
	wrong string
}

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

// sqlComparisons takes the comparisons out of a filter; AND may stand between them, and
// more or less often than it should. It returns MLflow's error for anything else.
func sqlComparisons(filter string) ([]sqlComparison, error) {
	if filter == "" {
		return nil, nil
	}
	if len(filter) > pedigree.MaxFilter {
		return nil, invalid("The filter string has %d bytes, the limit is %d.", len(filter), pedigree.MaxFilter)
	}
	tokens, err := lexSQL(filter)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, invalid("Invalid filter '%s'. Could not be parsed.", clip(filter))
	}
	var out []sqlComparison
	var wrong []string
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
	if len(wrong) > 0 {
		return nil, invalid("Invalid clause(s) in filter string: %s", clip(strings.Join(wrong, ", ")))
	}
	if len(out) > pedigree.MaxFilterComparisons {
		return nil, invalid("The filter string has %d comparisons, the limit is %d.", len(out), pedigree.MaxFilterComparisons)
	}
	return out, nil
}

// oneComparison reads the comparison that tokens begin with, and how many it takes; 0
// for none.
func oneComparison(tokens []sqlToken) (int, sqlComparison) {
	word := func(i int, text string) bool { return i < len(tokens) && tokens[i].isWord(text) }
	c := sqlComparison{key: tokens[0].text}
	if tokens[0].kind != sqlName {
		c.wrong = tokens[0].text
	}
	if len(tokens) > 2 && tokens[1].kind == sqlCompare && tokens[0].isOperand() && tokens[0].kind != sqlGroup && tokens[2].isOperand() {
		c.cmp, c.value = strings.ToUpper(tokens[1].text), tokens[2]
		return 3, c
	}
	if tokens[0].kind != sqlName {
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
		c.null = true
		return 3, c
	case word(1, "is") && word(2, "not") && word(3, "null"):
		c.null = true
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

// parseList reads ('a', "b").
func parseList(text string) ([]string, error) {
	illFormed := invalid("While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.")
	inner := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(text, "("), ")"))
	if inner == "" {
		return nil, invalid("While parsing a list in the query, expected a non-empty list of string values, but got empty list")
	}
	var out []string
	for inner != "" {
		if inner[0] != '\'' && inner[0] != '"' {
			if numberPattern.MatchString(inner) {
				return nil, invalid("While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: %s", clip(text))
			}
			return nil, illFormed
		}
		end := strings.IndexByte(inner[1:], inner[0])
		if end < 0 {
			return nil, illFormed
		}
		out = append(out, inner[1:end+1])
		inner = strings.TrimSpace(inner[end+2:])
		if inner == "" {
			break
		}
		if inner[0] != ',' {
			return nil, illFormed
		}
		inner = strings.TrimSpace(inner[1:])
	}
	if len(out) > pedigree.MaxFilterValues {
		return nil, invalid("A list in the query has %d values, the limit is %d.", len(out), pedigree.MaxFilterValues)
	}
	return out, nil
}

