package mlflow

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// noun says what a search over experiments or runs may ask.
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
	// absent are the kinds of key that take IS NULL, and what an error says of others.
	absent     []registrar.ClauseKind
	notAbsent  func(kind registrar.ClauseKind, key string) error
	comparator func(kind registrar.ClauseKind, key string, number bool, cmp string) error
	// quote stands around each piece that an error shows.
	quote string
	// repeats says that a key may stand twice in an order: the first counts.
	repeats bool
}

// key finds what an identifier names.
func (n *noun) key(identifier string, attributes map[string]string) (registrar.ClauseKind, string, error) {
	kind, key := registrar.ClauseAttribute, identifier
	if entity, rest, dotted := strings.Cut(identifier, "."); dotted {
		var ok bool
		if kind, ok = n.entities[strings.Trim(entity, "`")]; !ok {
			return "", "", invalid("Invalid entity type '%s'. %s", clip(entity), n.names)
		}
		key = rest
	}
	key = unquoteKey(key)
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
func pythonSet(names map[string]string) string {
	return "{'" + strings.Join(sortedKeys(names), "', '") + "'}"
}

// clauses reads a filter into what the registrar searches by.
func (n *noun) clauses(filter string) ([]registrar.Clause, error) {
	comparisons, wrong, err := sqlComparisons(filter)
	if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return nil, wrong.error(n.quote)
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

func (n *noun) clause(c sqlComparison) (registrar.Clause, error) {
	if c.wrong != "" {
		return registrar.Clause{}, invalid("Invalid comparison clause. Expected 'Identifier' found '%s'", clip(c.wrong))
	}
	kind, key, err := n.key(c.key, n.attributes)
	if err != nil {
		return registrar.Clause{}, err
	}
	out := registrar.Clause{Kind: kind, Key: key, Cmp: pedigree.Comparator(c.cmp)}
	if c.absence() {
		if !slices.Contains(n.absent, kind) {
			return out, n.notAbsent(kind, key)
		}
		return out, nil
	}
	number := kind == registrar.ClauseMetric || kind == registrar.ClauseAttribute && slices.Contains(n.numeric, key)
	if out.Values, err = n.values(kind, key, number, c.value); err != nil {
		return out, err
	}
	if err := n.comparator(kind, key, number, c.cmp); err != nil {
		return out, err
	}
	if (c.cmp == "IN" || c.cmp == "NOT IN") != (c.value.kind == sqlGroup) {
		return out, invalid("Invalid comparator '%s' for the value %s", clip(c.cmp), clip(c.value.text))
	}
	return out, nil
}

// values reads a value as its key wants it written.
func (n *noun) values(kind registrar.ClauseKind, key string, number bool, v sqlToken) ([]pedigree.FilterValue, error) {
	if number {
		return numberValue(kind, key, v)
	}
	switch {
	case v.kind == sqlText, v.kind == sqlQuoted, v.kind == sqlName:
		text, err := unquoteValue(v)
		return []pedigree.FilterValue{{Text: text}}, err
	case kind == registrar.ClauseParam || kind == registrar.ClauseTag:
		return nil, invalid("Expected a quoted string value for %s (e.g. 'my-value'). Got value %s", entityName(kind), clip(v.text))
	case v.kind == sqlGroup:
		if kind == registrar.ClauseAttribute && !slices.Contains(n.lists, key) {
			return nil, invalid("Only ['%s'] attributes support comparison with a list of quoted string values.", strings.Join(n.lists, "', '"))
		}
		texts, err := parseList(v.text)
		out := make([]pedigree.FilterValue, len(texts))
		for i, text := range texts {
			out[i].Text = text
		}
		return out, err
	case kind == registrar.ClauseDataset:
		return nil, invalid("Expected a quoted string value for dataset attributes. Got value %s", clip(v.text))
	}
	return nil, invalid("Expected a quoted string value for attributes. Got value %s", clip(v.text))
}

func numberValue(kind registrar.ClauseKind, key string, v sqlToken) ([]pedigree.FilterValue, error) {
	f, err := strconv.ParseFloat(v.text, 64)
	switch {
	case v.kind == sqlNumber && err == nil:
		return []pedigree.FilterValue{{Text: v.text, Number: f, IsNumber: true}}, nil
	case kind == registrar.ClauseMetric:
		return nil, invalid("Expected numeric value type for metric. Found %s", clip(v.text))
	}
	return nil, invalid("Expected numeric value type for numeric attribute: %s. Found %s", key, clip(v.text))
}

func entityName(kind registrar.ClauseKind) string {
	if kind == registrar.ClauseParam {
		return "parameter"
	}
	return string(kind)
}

// The comparators that MLflow takes of numbers, of texts, and of parameters and tags.
var (
	numberComparators = []string{"!=", "<", "<=", "=", ">", ">="}
	textComparators   = []string{"!=", "=", "ILIKE", "IN", "LIKE", "NOT IN"}
	keyComparators    = []string{"!=", "=", "ILIKE", "IS NOT NULL", "IS NULL", "LIKE"}
)

// runComparator refuses what a search over runs can't compare so. That the texts do not
// all end in a quote is MLflow's.
func runComparator(kind registrar.ClauseKind, _ string, number bool, cmp string) error {
	valid, shown, end := textComparators, textComparators, "'"
	switch {
	case kind == registrar.ClauseMetric:
		valid, shown, end = numberComparators, numberComparators, ""
	case number:
		valid, end = numberComparators, ""
	case kind == registrar.ClauseParam:
		valid, shown = keyComparators, keyComparators
	case kind == registrar.ClauseTag:
		valid, shown, end = keyComparators, keyComparators, ""
	case kind == registrar.ClauseDataset:
		end = ""
	}
	if slices.Contains(valid, cmp) {
		return nil
	}
	return invalid("Invalid comparator '%s' not one of '{'%s'}%s", clip(cmp), strings.Join(shown, "', '"), end)
}

// sortKeys reads the items of order_by.
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
		identifier, desc, err := orderItem(item)
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
		twice := slices.ContainsFunc(out, func(k registrar.SortKey) bool { return k.Kind == kind && k.Key == key })
		switch {
		case !twice:
			out = append(out, registrar.SortKey{Kind: kind, Key: key, Desc: desc})
		case !n.repeats:
			return nil, invalid("`order_by` contains duplicate fields: %s", pythonList(items))
		}
	}
	return out, nil
}
