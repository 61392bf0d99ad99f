package mlflow

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
