package mlflow

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// searchTarget is what may be searched of models or of versions, with MLflow's words.
type searchTarget struct {
	models bool
	// keys are MLflow's attribute keys and the fields that they stand for.
	keys []searchKey
	// orders are the keys that results may be sorted by.
	orders []searchKey
	// keyNames and orderNames list them as MLflow's messages do.
	keyNames, orderNames string
}

type searchKey struct {
	name  string
	field pedigree.FilterField
}

func attribute(key string) pedigree.FilterField {
	return pedigree.FilterField{Kind: pedigree.KindAttribute, Key: key}
}

var (
	runIDField   = pedigree.FilterField{Kind: pedigree.KindRun, Key: "id"}
	updatedField = attribute("updated_at")

	modelSearch = searchTarget{
		models:     true,
		keys:       []searchKey{{"name", attribute("model")}},
		keyNames:   "{'name'}",
		orders:     []searchKey{{"name", attribute("model")}, {"timestamp", updatedField}, {"last_updated_timestamp", updatedField}},
		orderNames: "{'name', 'timestamp'}",
	}
	versionSearch = searchTarget{
		keys: []searchKey{
			{"name", attribute("model")},
			{"version_number", attribute("version")},
			{"run_id", runIDField},
			{"source_path", pedigree.FilterField{Kind: pedigree.KindArtifact, Key: "uri"}},
		},
		keyNames: "{'name', 'version_number', 'run_id', 'source_path'}",
		orders: []searchKey{
			{"name", attribute("model")},
			{"version_number", attribute("version")},
			{"creation_timestamp", attribute("created_at")},
			{"last_updated_timestamp", updatedField},
		},
		orderNames: "{'name', 'version_number', 'creation_timestamp', 'last_updated_timestamp'}",
	}
)

func findKey(keys []searchKey, name string) (pedigree.FilterField, bool) {
	for _, k := range keys {
		if k.name == name {
			return k.field, true
		}
	}
	return pedigree.FilterField{}, false
}

// clause is a comparison whose key and value were read.
type clause struct {
	tag   bool
	key   string
	field pedigree.FilterField
	cmp   string
	text  string
	list  []string
	// isList, number and float say how the value was written: as a list, without
	// quotes, with a fraction.
	isList, number, float bool
}

// parse turns a filter of MLflow's into one of ours. Prompts are left out unless the
// filter asks for them.
func (t *searchTarget) parse(text string) (*pedigree.Filter, error) {
	parts, wrong, err := sqlComparisons(text)
	if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return nil, wrong.error("")
	}
	clauses := make([]clause, len(parts))
	for i, part := range parts {
		if clauses[i], err = t.clause(part); err != nil {
			return nil, err
		}
	}
	prompts := asksForPrompts(clauses)
	var nodes []*pedigree.FilterNode
	for _, cl := range clauses {
		node, err := t.node(cl)
		if err != nil {
			return nil, err
		}
		if cl.isPrompt() && !prompts {
			continue // ordinary models do not have the tag, and are meant all the same
		}
		nodes = append(nodes, node)
	}
	filter := &pedigree.Filter{}
	switch len(nodes) {
	case 0:
	case 1:
		filter.Root = nodes[0]
	default:
		filter.Root = &pedigree.FilterNode{Op: pedigree.And, Args: nodes}
	}
	return filter.WithoutPrompts(), nil
}

// clause reads key and value of a comparison, with MLflow's errors.
func (t *searchTarget) clause(c sqlComparison) (clause, error) {
	if c.wrong != "" {
		return clause{}, invalid("Invalid comparison clause. Expected 'Identifier' found '%s'", clip(c.wrong))
	}
	if c.absence() {
		return clause{}, invalid("IS NULL and IS NOT NULL are not supported in searches of the model registry.")
	}
	out := clause{key: c.key, cmp: c.cmp}
	if entity, key, dotted := strings.Cut(c.key, "."); dotted {
		switch entity {
		case "tag", "tags":
			out.tag = true
		case "attribute":
		default:
			return out, invalid("Invalid entity type '%s'. Valid entity types are ('attribute', 'tag', 'tags')", clip(entity))
		}
		out.key = key
	}
	if out.tag {
		out.key = unquoteKey(out.key)
		out.field = pedigree.FilterField{Kind: pedigree.KindTags, Key: out.key}
		if c.value.kind != sqlText && c.value.kind != sqlQuoted && c.value.kind != sqlName {
			return out, invalid("Expected a quoted string value for tag (e.g. 'my-value'). Got value %s", clip(c.value.text))
		}
	} else {
		var ok bool
		if out.field, ok = findKey(t.keys, out.key); !ok {
			return out, invalid("Invalid attribute key '%s' specified. Valid keys are '%s'", clip(out.key), t.keyNames)
		}
	}
	return out, t.value(&out, c.value)
}

// value reads the value of a comparison.
func (t *searchTarget) value(out *clause, v sqlToken) error {
	var err error
	switch v.kind {
	case sqlText, sqlQuoted, sqlName:
		out.text, err = unquoteValue(v)
		return err
	case sqlGroup:
		lists := []string{"name", "run_id"}
		if t.models {
			lists = lists[:1]
		}
		if !slices.Contains(lists, out.key) {
			return invalid("Only ['%s'] attributes support comparison with a list of quoted string values.", strings.Join(lists, "', '"))
		}
		out.isList = true
		out.list, err = parseList(v.text)
		return err
	case sqlNumber:
		if t.models {
			break
		}
		if out.key != "version_number" {
			return invalid("Only the '{'version_number', 'creation_timestamp', 'last_updated_timestamp'}' attributes support comparison with numeric values.")
		}
		out.text, out.number = v.text, true
		out.float = strings.ContainsAny(v.text, ".eE")
		return nil
	}
	return invalid("Expected a quoted string value or a list of quoted string values for attributes. Got value %s", clip(v.text))
}

// node makes the condition of a clause, and checks that its key takes the comparator.
func (t *searchTarget) node(cl clause) (*pedigree.FilterNode, error) {
	n := &pedigree.FilterNode{Op: pedigree.Compare, Field: cl.field, Cmp: pedigree.Comparator(cl.cmp), Values: []pedigree.FilterValue{{Text: cl.text}}}
	switch {
	case cl.tag:
		if !slices.Contains([]string{"=", "!=", "LIKE", "ILIKE"}, cl.cmp) {
			return nil, invalid("Invalid comparator for tag: %s", clip(cl.cmp))
		}
		return n, nil
	case cl.key == "version_number":
		return numberNode(n, cl)
	case !slices.Contains([]string{"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"}, cl.cmp),
		cl.isList != (cl.cmp == "IN" || cl.cmp == "NOT IN"):
		return nil, invalid("Invalid comparator for attribute: %s", clip(cl.cmp))
	}
	if cl.isList {
		n.Values = nil
		for _, text := range cl.list {
			n.Values = append(n.Values, pedigree.FilterValue{Text: text})
		}
	}
	if cl.key == "run_id" {
		return withoutRun(n), nil
	}
	return n, nil
}

func numberNode(n *pedigree.FilterNode, cl clause) (*pedigree.FilterNode, error) {
	if !slices.Contains([]string{"=", "!=", ">", ">=", "<", "<="}, cl.cmp) {
		return nil, invalid("Invalid comparator for attribute version_number: %s", clip(cl.cmp))
	}
	text := strings.TrimSpace(cl.text)
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || cl.float {
		shown := pythonRepr(cl.text)
		if cl.number {
			shown = cl.text
		}
		return nil, invalid("Invalid value for numeric attribute 'version_number': %s", clip(shown))
	}
	n.Values = []pedigree.FilterValue{{Text: text, Number: float64(v), IsNumber: true}}
	return n, nil
}

// withoutRun completes a condition on the run: to MLflow a version without one has the
// id "".
func withoutRun(n *pedigree.FilterNode) *pedigree.FilterNode {
	holds := false
	switch n.Cmp {
	case pedigree.CmpEqual:
		holds = n.Values[0].Text == ""
	case pedigree.CmpNotEqual:
		holds = n.Values[0].Text != ""
	case pedigree.CmpLike, pedigree.CmpILike:
		holds = strings.Trim(n.Values[0].Text, "%") == ""
	default:
		holds = slices.ContainsFunc(n.Values, func(v pedigree.FilterValue) bool { return v.Text == "" }) == (n.Cmp == pedigree.CmpIn)
	}
	if !holds {
		return n
	}
	absent := &pedigree.FilterNode{Op: pedigree.Compare, Field: n.Field, Cmp: pedigree.CmpIsNull}
	return &pedigree.FilterNode{Op: pedigree.Or, Args: []*pedigree.FilterNode{n, absent}}
}

// order reads the items of order_by, with MLflow's errors.
func (t *searchTarget) order(items []string) ([]pedigree.Order, error) {
	var out []pedigree.Order
	for _, item := range items {
		key, desc, err := orderItem(item)
		if err != nil {
			return nil, err
		}
		o := pedigree.Order{Desc: desc}
		if o.Field, err = t.orderField(key); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(other pedigree.Order) bool { return other.Field == o.Field }) {
			return nil, invalid("`order_by` contains duplicate fields: %s", pythonList(items))
		}
		out = append(out, o)
	}
	return out, nil
}

func (t *searchTarget) orderField(word string) (pedigree.FilterField, error) {
	key := unquoteKey(word)
	if t.models {
		field, ok := findKey(t.orders, key)
		if !ok {
			return field, invalid("Invalid order by key '%s' specified. Valid keys are '%s'", clip(key), t.orderNames)
		}
		return field, nil
	}
	if entity, rest, dotted := strings.Cut(key, "."); dotted {
		switch entity {
		case "attribute":
		case "tag", "tags":
			return pedigree.FilterField{}, invalid("Invalid order by key '%s' specified. Valid keys are %s", clip(rest), t.orderNames)
		default:
			return pedigree.FilterField{}, invalid("Invalid entity type '%s'. Valid entity types are ('attribute', 'tag', 'tags')", clip(entity))
		}
		key = unquoteKey(rest)
	}
	field, ok := findKey(t.orders, key)
	if !ok {
		return field, invalid("Invalid attribute key '%s' specified. Valid keys are '%s'", clip(key), t.orderNames)
	}
	return field, nil
}

// pageToken is where a page begins. MLflow's own has the offset alone; ours also has the
// key, so that pages neither skip nor repeat what is added meanwhile.
type pageToken struct {
	Offset int64  `json:"offset"`
	Cursor string `json:"cursor,omitempty"`
}

func (p pageToken) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic("mlflow: page token: " + err.Error()) // a number and a text
	}
	return base64.StdEncoding.EncodeToString(text)
}

// parsePageToken reads a token, with MLflow's errors.
func parsePageToken(s string) (p pageToken, err error) {
	if s == "" {
		return p, nil
	}
	text, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return p, invalid("Invalid page token, could not base64-decode")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil {
		return p, invalid("Invalid page token, decoded value=b%s", pythonRepr(clip(string(text))))
	}
	if json.Unmarshal(text, &p) != nil || p.Offset < 1 || strings.ContainsRune(p.Cursor, 0) {
		return p, invalid("Invalid page token, parsed value=%s", clip(strings.ReplaceAll(string(text), `"`, "'")))
	}
	return p, nil
}

// checkMaxResults returns MLflow's error for a max_results over its limit.
func (c *call) checkMaxResults(n, most int64) error {
	if n <= most {
		return nil
	}
	raw := c.in.fields["max_results"]
	if raw == nil {
		raw = c.in.fields["maxResults"]
	}
	if texts, ok := raw.([]string); ok {
		raw = texts[0]
	}
	return invalidValue("max_results", raw)
}
