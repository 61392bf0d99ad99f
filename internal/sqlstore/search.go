package sqlstore

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Search asks for versions.
type Search struct {
	// Project is an id; "" means all.
	Project string
	// Within, where not nil, are the ids of the projects that may be looked into.
	Within []string
	Filter *pedigree.Filter
	// Order is what to sort by; the newest first within it, and without it.
	Order []pedigree.Order
	// After is where the page begins; nil at the first.
	After *SearchKey
	// Skip passes over that many, for callers that have no key.
	Skip  int64
	Limit int
	// Now is what ages in the filter count from.
	Now time.Time
}

// SearchKey is a place in the order of a search: the values of its keys and the seq of
// a version. Absent values, which sort last, are nil.
type SearchKey struct {
	Values []any `json:"v,omitempty"`
	Seq    int64 `json:"s"`
}

// Search lists the seqs of the versions that q chooses, and the key from which the
// next page goes on; nil where there is none. Archived versions are left out unless
// the filter speaks of them. It returns [pedigree.CodeInvalid] for an order that it
// does not have.
func (tx *Tx) Search(ctx context.Context, q Search) ([]int64, *SearchKey, error) {
	moment, err := tx.Time(ctx)
	if err != nil {
		return nil, nil, err
	}
	var model string
	name := oneModel(q)
	if name != "" {
		// Its versions are found by an index instead of one by one among all.
		model, err = tx.ModelID(ctx, q.Project, pedigree.Name(name))
		if err != nil || model == "" {
			return nil, nil, err
		}
	}
	c := &compiler{tx: tx, ctx: ctx, now: q.Now, moment: moment, project: q.Project, within: q.Within, skip: q.Skip}
	q.Order, c.unique = telling(q.Order, name != "", q.Project != "")
	if c.driver, err = c.chooseDriver(q.Filter); err != nil {
		return nil, nil, err
	}
	c.byNumber = model != "" && c.driver == nil // a driver has an index
	exact := *c
	exact.exact = true
	seqs, next, err := c.search(q, model)
	if err != nil || c.driver == nil || c.driver.Field.Type() == pedigree.NumberField {
		return seqs, next, err
	}
	same, err := c.verified(seqs)
	if err != nil || same {
		return seqs, next, err
	}
	// Another text has the same hash. That hardly ever happens, and is looked at row by row.
	return exact.search(q, model)
}

// verified says that the versions have the text by whose hash the driver found them: read
// for one page, since most of what a driver finds is on no page.
func (c *compiler) verified(seqs []int64) (bool, error) {
	if len(seqs) == 0 {
		return true, nil
	}
	probe := &compiler{tx: c.tx, ctx: c.ctx, project: c.project, within: c.within}
	cond, err := probe.attribute("d", c.driver)
	if err != nil {
		return false, err
	}
	found := make(map[int64]bool, len(seqs))
	for chunk := range slices.Chunk(seqs, cardChunk) {
		in, args := list(probe.args, chunk)
		err := c.tx.each(c.ctx, "search", "SELECT d.subject FROM view_attributes d WHERE d.subject IN ("+in+") AND "+cond, args, func(rows rows) error {
			var s int64
			err := rows.Scan(&s)
			found[s] = true
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return len(found) == len(seqs), nil
}

// search compiles and runs a search; model is the id of the one that it is about, "" where
// it names none.
func (c *compiler) search(q Search, model string) ([]int64, *SearchKey, error) {
	if c.tx.current && len(q.Order) > 0 && q.Order[0].Field.Attribute() == "updated_at" && !slices.ContainsFunc(q.Order, func(o pedigree.Order) bool { return !isColumn(o.Field) }) {
		return c.changed(q, model)
	}
	seq, from, where, err := c.conditions(q, model)
	if err != nil {
		return nil, nil, err
	}
	if len(q.Order) > 0 {
		return c.ordered(q, seq, from, where)
	}
	by, before := seq, "%s"
	if c.byNumber {
		by, before = "v.number", "(SELECT w.number FROM view_versions w WHERE w.seq = %s)"
	}
	if q.After != nil {
		where = append(where, by+" < "+fmt.Sprintf(before, c.arg(q.After.Seq)))
	}
	text := "SELECT " + seq + " FROM " + c.joined(from, where) + " ORDER BY " + by + " DESC" + c.limit(q.Limit)
	var seqs []int64
	err = c.tx.each(c.ctx, "search", text, c.args, func(rows rows) error {
		var s int64
		err := rows.Scan(&s)
		seqs = append(seqs, s)
		return err
	})
	if err != nil || len(seqs) <= q.Limit {
		return seqs, nil, err
	}
	seqs = seqs[:q.Limit]
	return seqs, &SearchKey{Seq: seqs[q.Limit-1]}, nil
}

// conditions are what a search reads from, without names, and which rows; seq is the column
// of the version's seq.
func (c *compiler) conditions(q Search, model string) (seq, from string, where []string, err error) {
	tx := c.tx
	seq = "v.seq"
	from = "view_versions v"
	where = []string{tx.alive("v.")}
	if c.driver != nil {
		// CROSS JOIN keeps SQLite from looking at every version first; PostgreSQL takes
		// it for any join.
		seq = "d.subject"
		cond, err := c.attribute("d", c.driver)
		if err != nil {
			return "", "", nil, err
		}
		if c.driver.Field.Type() == pedigree.NumberField {
			// One metric may have been measured on two splits: several rows, one version.
			from = "(SELECT DISTINCT d.subject AS subject FROM view_attributes d WHERE " + cond + ") d CROSS JOIN view_versions v"
			where = append([]string{"v.seq = d.subject"}, where...)
		} else {
			from = "view_attributes d CROSS JOIN view_versions v"
			where = append([]string{cond, "v.seq = d.subject"}, where...)
		}
	}
	from += " CROSS JOIN view_models m"
	where = append(where, "m.id = v.model", tx.alive("m."))
	if q.Project != "" {
		where = append(where, "m.project = "+c.arg(q.Project))
	} else if q.Within != nil {
		var cond string
		cond, c.args = among("m.project", c.args, q.Within)
		where = append(where, cond)
	}
	if model != "" {
		where = append(where, "v.model = "+c.arg(model))
	}
	archived := false
	if q.Filter != nil && q.Filter.Root != nil {
		cond, err := c.node(q.Filter.Root)
		if err != nil {
			return "", "", nil, err
		}
		if cond != "" {
			where = append(where, cond)
		}
		for _, n := range q.Filter.Comparisons() {
			archived = archived || n.Field.Attribute() == "archived"
		}
	}
	if !archived {
		where = append(where, "NOT "+c.tx.flagged("archived"))
	}
	return seq, from, where, nil
}

// joined is FROM and WHERE with those tables of names that the conditions speak of.
func (c *compiler) joined(from string, where []string) string {
	if c.names {
		from += " CROSS JOIN view_names n"
		where = append(where, "n.model = v.model", c.tx.open("n."))
	}
	if c.projects {
		from += " CROSS JOIN view_projects p"
		where = append(where, "p.id = m.project")
	}
	return from + " WHERE " + strings.Join(where, " AND ")
}

// oneModel is the name of the model that all versions of a search must have, "" where it
// names none. It needs a project, within which a name is one model's.
func oneModel(q Search) string {
	if q.Project == "" || q.Filter == nil || q.Filter.Root == nil {
		return ""
	}
	nodes := []*pedigree.FilterNode{q.Filter.Root}
	if q.Filter.Root.Op == pedigree.And {
		nodes = q.Filter.Root.Args
	}
	for _, n := range nodes {
		if n.Op == pedigree.Compare && n.Cmp == pedigree.CmpEqual && n.Field.Attribute() == "model" {
			return n.Values[0].Text
		}
	}
	return ""
}

// limit is the end of a search: one more than the page, to know whether there is another.
func (c *compiler) limit(n int) string {
	text := " LIMIT " + c.arg(n+1)
	if c.skip > 0 {
		text += " OFFSET " + c.arg(c.skip)
	}
	return text
}

// orderKey is one key of an order as SQL has it.
type orderKey struct {
	value string
	kind  pedigree.FieldType
	desc  bool
	// column says that it is a column of the search, never absent: an index may have
	// its order.
	column bool
}

// keys are the keys of an order, and the columns that a search by it selects; direct says
// that all of them are columns of its tables.
func (c *compiler) keys(q Search, seq string) (keys []orderKey, columns string, direct bool, err error) {
	columns = seq + " AS seq"
	direct = true
	for i, o := range q.Order {
		value, t, err := c.orderValue(o.Field)
		if err != nil {
			return nil, "", false, err
		}
		keys = append(keys, orderKey{value: value, kind: t, desc: o.Desc, column: isColumn(o.Field)})
		direct = direct && isColumn(o.Field)
		columns += fmt.Sprintf(", %s AS k%d", value, i)
	}
	return keys, columns, direct, nil
}

// outside are keys as they are called around a SELECT that names them.
func outside(keys []orderKey) []orderKey {
	keys = slices.Clone(keys)
	for i := range keys {
		keys[i].value = fmt.Sprintf("k%d", i)
	}
	return keys
}

// total are keys that tell all versions apart: seq goes with those that do not.
func (c *compiler) total(keys []orderKey, seq string) []orderKey {
	if c.unique {
		return keys
	}
	return append(keys[:len(keys):len(keys)], orderKey{value: seq, desc: true, column: true})
}

func orderBy(keys []orderKey) string {
	order := make([]string, len(keys))
	for i, k := range keys {
		order[i] = k.value + " ASC"
		if k.desc {
			order[i] = k.value + " DESC"
		}
		if !k.column {
			order[i] += " NULLS LAST"
		}
	}
	return " ORDER BY " + strings.Join(order, ", ")
}

// ordered runs a search that is sorted by keys: the values are computed inside, and
// the page is cut outside. Where all keys are columns, there is no outside, so that
// an index can give the order and the page can end early.
func (c *compiler) ordered(q Search, seq, from string, where []string) ([]int64, *SearchKey, error) {
	keys, columns, direct, err := c.keys(q, seq)
	if err != nil {
		return nil, nil, err
	}
	if !direct {
		keys, seq = outside(keys), "seq"
	}
	after, err := c.after(q.After, keys, seq)
	if err != nil {
		return nil, nil, err
	}
	text := "SELECT " + columns + " FROM "
	if direct {
		text += c.joined(from, append(where, after...))
	} else {
		text = "SELECT * FROM (" + text + c.joined(from, where) + ") t"
		if len(after) > 0 {
			text += " WHERE " + strings.Join(after, " AND ")
		}
	}
	return c.rows(q.Limit, text+orderBy(c.total(keys, seq))+c.limit(q.Limit), len(keys))
}

// changed runs a search by the last change. Most versions never change: these are in the
// order in which they were registered, whichever way they are found, so that their page
// ends early. Those that did change have an index of their own, and are merged in.
func (c *compiler) changed(q Search, model string) ([]int64, *SearchKey, error) {
	few, err := c.fewChanged(model)
	if err != nil {
		return nil, nil, err
	}
	var halves []string
	var keys []orderKey
	for _, touched := range []bool{false, true} {
		h := *c
		if touched && few {
			h.driver = nil // there are fewer of them than versions that it finds, as a rule
		}
		seq, from, where, err := h.conditions(q, model)
		if err != nil {
			return nil, nil, err
		}
		var columns string
		if keys, columns, _, err = h.keys(q, seq); err != nil {
			return nil, nil, err
		}
		after, err := h.after(q.After, keys, seq)
		if err != nil {
			return nil, nil, err
		}
		where = append(where, after...)
		by := h.total(keys, seq)
		if touched {
			where = append(where, "v.updated_seq > v.seq")
		} else {
			where = append(where, "v.updated_seq = v.seq")
			inOrder := orderKey{value: seq, kind: timeOrVersion, desc: q.Order[0].Desc, column: true}
			if q.After != nil { // for the index by which they are found
				where = append(where, h.from(inOrder, q.After.Values[0]))
			}
			if h.byNumber {
				inOrder.value = "v.number"
			}
			by = []orderKey{inOrder}
		}
		halves = append(halves, "SELECT * FROM (SELECT "+columns+" FROM "+h.joined(from, where)+orderBy(by)+" LIMIT "+h.arg(min(q.Skip, math.MaxInt64-int64(q.Limit)-1)+int64(q.Limit)+1)+") h"+itoa(len(halves)))
		c.args = h.args
	}
	text := "SELECT * FROM (" + strings.Join(halves, " UNION ALL ") + ") u" + orderBy(c.total(outside(keys), "seq")) + c.limit(q.Limit)
	return c.rows(q.Limit, text, len(keys))
}

// fewChanged says that few versions, or few of one model, changed after they were registered.
func (c *compiler) fewChanged(model string) (bool, error) {
	text := "SELECT 1 FROM view_versions v WHERE v.updated_seq > v.seq"
	var args []any
	if model != "" {
		text += " AND v.model = $1"
		args = append(args, model)
	}
	var n int
	err := c.tx.row(c.ctx, "SELECT count(*) FROM ("+text+" LIMIT "+itoa(sample)+") x", args, &n)
	return n < sample, c.tx.s.d.translate(err, "search")
}

// telling leaves out the keys that can't tell two versions apart which those before them
// have not, and says whether the rest tell all apart: SQLite gives up the order of an index
// for the sake of two more keys. Two versions that were changed by one event are of one
// model, and so are, within one project, two whose models have one name.
func telling(order []pedigree.Order, oneModel, oneProject bool) (out []pedigree.Order, all bool) {
	for _, o := range order {
		switch o.Field.Attribute() {
		case "created_at":
			return append(out, o), true
		case "updated_at":
			oneModel = true
		case "model":
			if oneModel {
				continue
			}
			oneModel = oneProject
		case "version":
			if oneModel {
				return append(out, o), true
			}
		}
		out = append(out, o)
	}
	return out, false
}

// isColumn says whether an order's value is a column that is never absent.
func isColumn(f pedigree.FilterField) bool {
	switch f.Attribute() {
	case "created_at", "updated_at", "version", "model":
		return true
	}
	return false
}

// rows runs a search and reads its page: the seq and n keys a row.
func (c *compiler) rows(limit int, text string, n int) ([]int64, *SearchKey, error) {
	var seqs []int64
	var keys []*SearchKey
	err := c.tx.each(c.ctx, "search", text, c.args, func(rows rows) error {
		k := &SearchKey{Values: make([]any, n)}
		dest := []any{&k.Seq}
		for i := range k.Values {
			dest = append(dest, &k.Values[i])
		}
		err := rows.Scan(dest...)
		for i, v := range k.Values {
			if b, ok := v.([]byte); ok {
				k.Values[i] = string(b)
			}
		}
		seqs, keys = append(seqs, k.Seq), append(keys, k)
		return err
	})
	if err != nil || len(seqs) <= limit {
		return seqs, nil, err
	}
	return seqs[:limit], keys[limit-1], nil
}

// after is the condition that a row comes after a key, where there is one. Absent values
// come last. The first key is compared once more by itself, for an index.
func (c *compiler) after(after *SearchKey, keys []orderKey, seq string) ([]string, error) {
	if after == nil {
		return nil, nil
	}
	if !slices.EqualFunc(after.Values, keys, func(v any, k orderKey) bool { return k.takes(v) }) {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "the page cursor is not one that this registry gave out for this order").WithFix("begin again without a cursor")
	}
	cond := seq + " < " + c.arg(after.Seq)
	for i := len(keys) - 1; i >= 0; i-- {
		k := keys[i]
		v := after.Values[i]
		if v == nil {
			cond = "(" + k.value + " IS NULL AND " + cond + ")"
			continue
		}
		p := c.arg(k.argument(v))
		null := ""
		if !k.column {
			null = " OR " + k.value + " IS NULL"
		}
		cond = fmt.Sprintf("(%s %s %s%s OR (%s = %s AND %s))", k.value, k.beyond(), p, null, k.value, p, cond)
	}
	if keys[0].column {
		return []string{c.from(keys[0], after.Values[0]), cond}, nil
	}
	return []string{cond}, nil
}

// from is the condition that a row is at a value of a key or beyond it.
func (c *compiler) from(k orderKey, v any) string {
	return k.value + " " + k.beyond() + "= " + c.arg(k.argument(v))
}

// beyond compares with what comes earlier in the order.
func (k orderKey) beyond() string {
	if k.desc {
		return "<"
	}
	return ">"
}

// takes says that a value of a cursor, which comes from outside, can be one of the key: a
// database fails on a text where it compares numbers.
func (k orderKey) takes(v any) bool {
	switch v := v.(type) {
	case nil:
		return !k.column
	case string:
		return k.kind != pedigree.NumberField && k.kind != timeOrVersion && !strings.ContainsRune(v, 0)
	case float64:
		return k.kind == pedigree.NumberField || k.kind == timeOrVersion && v == math.Trunc(v) && math.Abs(v) < 1<<53
	}
	return false
}

// argument is a value of a cursor, in which JSON has one kind of numbers.
func (k orderKey) argument(v any) any {
	if n, ok := v.(float64); ok && k.kind == timeOrVersion {
		return int64(n)
	}
	return v
}

// timeOrVersion marks order values that are integers.
const timeOrVersion pedigree.FieldType = "integer"

// orderValue is the expression of an order's value for version v.
func (c *compiler) orderValue(f pedigree.FilterField) (string, pedigree.FieldType, error) {
	switch key := f.Attribute(); key {
	case "created_at":
		if c.byNumber {
			return "v.number", timeOrVersion, nil
		}
		return "v.seq", timeOrVersion, nil
	case "updated_at":
		return c.updated(), timeOrVersion, nil
	case "version":
		return "v.number", timeOrVersion, nil
	case "model":
		c.names = true
		return "n.name", pedigree.TextField, nil
	case "project":
		c.projects = true
		return "p.name", pedigree.TextField, nil
	case "complete":
		return c.complete(), timeOrVersion, nil
	case "approval":
		return c.tx.approvalState(micros(c.moment)), pedigree.TextField, nil
	case "alias", "archived", "withdrawn", "deployed_to":
		return "", "", pedigree.Errorf(pedigree.CodeInvalid, "versions can't be ordered by %s", key).WithFix("order by created_at, version, model or a stored key such as metrics.auc")
	}
	column := "text"
	if f.Type() == pedigree.NumberField {
		column = "number"
	}
	return fmt.Sprintf("(SELECT max(a.%s) FROM view_attributes a WHERE a.subject = v.seq AND a.field = %s AND a.key = %s AND %s)",
		column, c.arg(attributeField(f)), c.arg(f.Attribute()), c.tx.open("a.")), f.Type(), nil
}

// compiler turns a filter's tree into conditions on v (view_versions), n
// (view_names), m (view_models) and p (view_projects).
type compiler struct {
	tx  *Tx
	ctx context.Context
	now time.Time
	// moment is the time that the search is about.
	moment  time.Time
	project string
	within  []string
	skip    int64
	// byNumber says that all versions are of one model, whose order in time is that of
	// their numbers.
	byNumber bool
	// driver is the comparison by which the versions are found, nil where they are looked
	// at one by one. Unless exact, a text is found by its hash alone, which the index has.
	driver *pedigree.FilterNode
	exact  bool
	// unique says that the order tells all versions apart.
	unique bool
	// names and projects say that the names of models and of projects are spoken of.
	names, projects bool
	args            []any
}

func (c *compiler) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + itoa(len(c.args))
}

// sample is how many rows a driver is counted up to.
const sample = 200

// chooseDriver chooses the comparison that finds its versions by an index, and the fewest of
// them: an equality on a stored text that must hold, or a rare range of numbers. nil
// means to look at versions one by one, newest first.
func (c *compiler) chooseDriver(f *pedigree.Filter) (*pedigree.FilterNode, error) {
	if f == nil || f.Root == nil {
		return nil, nil
	}
	nodes := []*pedigree.FilterNode{f.Root}
	if f.Root.Op == pedigree.And {
		nodes = f.Root.Args
	}
	var best *pedigree.FilterNode
	least := sample + 1
	for _, n := range nodes {
		if n.Op != pedigree.Compare {
			continue
		}
		spec, ok := n.Field.Spec()
		if !ok || !spec.Stored {
			continue
		}
		equal := n.Cmp == pedigree.CmpEqual && spec.Type != pedigree.NumberField
		ranged := spec.Type == pedigree.NumberField && (n.Cmp == pedigree.CmpEqual || strings.ContainsAny(string(n.Cmp), "<>"))
		if !equal && !ranged || n.Field.Attribute() == "parent" {
			continue
		}
		probe := &compiler{tx: c.tx, ctx: c.ctx, now: c.now, moment: c.moment, project: c.project}
		cond, err := probe.attribute("d", n)
		if err != nil {
			return nil, err
		}
		var count int
		if err := c.tx.row(c.ctx, "SELECT count(*) FROM (SELECT 1 FROM view_attributes d WHERE "+cond+" LIMIT "+itoa(sample)+") x", probe.args, &count); err != nil {
			return nil, c.tx.s.d.translate(err, "search")
		}
		if ranged && count >= sample { // no order in it, and many: not worth it
			continue
		}
		if count < least {
			best, least = n, count
		}
	}
	return best, nil
}

// node is the condition of a node, "" for the driver, which holds already.
func (c *compiler) node(n *pedigree.FilterNode) (string, error) {
	if n == c.driver {
		return "", nil
	}
	switch n.Op {
	case pedigree.And, pedigree.Or:
		var parts []string
		for _, a := range n.Args {
			part, err := c.node(a)
			if err != nil {
				return "", err
			}
			if part != "" {
				parts = append(parts, part)
			}
		}
		if len(parts) == 0 {
			return "", nil
		}
		return "(" + strings.Join(parts, " "+string(n.Op)+" ") + ")", nil
	case pedigree.Not:
		inner, err := c.node(n.Args[0])
		return "NOT " + inner, err
	}
	spec, ok := n.Field.Spec()
	if !ok {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "there is nothing to search by under %s", n.Field)
	}
	if !spec.Stored {
		return c.computed(n, spec)
	}
	exists := "EXISTS "
	if n.Cmp == pedigree.CmpIsNull {
		exists = "NOT EXISTS "
	}
	cond, err := c.attribute("a", n)
	return exists + "(SELECT 1 FROM view_attributes a WHERE a.subject = v.seq AND " + cond + ")", err
}

// attribute is the condition that a row of view_attributes, under an alias, has what
// n compares. The field comes with the key, since the primary key begins with it.
func (c *compiler) attribute(alias string, n *pedigree.FilterNode) (string, error) {
	key := n.Field.Attribute()
	cond := fmt.Sprintf("%s.key = %s AND %s.field = %s AND %s", alias, c.arg(key), alias, c.arg(attributeField(n.Field)), c.tx.open(alias+"."))
	values := n.Values
	if key == "parent" {
		values = nil
		for _, v := range n.Values {
			subject, err := c.parent(v.Text)
			if err != nil {
				return "", err
			}
			values = append(values, pedigree.FilterValue{Text: subject})
		}
	}
	switch {
	case n.Cmp == pedigree.CmpIsNull || n.Cmp == pedigree.CmpIsNotNull:
		return cond, nil
	case n.Field.Type() == pedigree.NumberField:
		column := alias + ".number"
		if alias == "a" {
			// The unary plus keeps SQLite from looking up all versions with such a number
			// for each candidate: the candidate's own rows are found by the primary key.
			column = "+" + column
		}
		return cond + " AND " + c.compare(column, n.Cmp, values, func(v pedigree.FilterValue) any { return v.Number }), nil
	case n.Cmp == pedigree.CmpEqual:
		cond += " AND " + alias + ".hash = " + c.arg(textHash(values[0].Text))
		if n == c.driver && !c.exact {
			return cond, nil
		}
	case n.Cmp == pedigree.CmpIn:
		hashes := make([]string, len(values))
		for i, v := range values {
			hashes[i] = c.arg(textHash(v.Text))
		}
		cond += " AND " + alias + ".hash IN (" + strings.Join(hashes, ", ") + ")"
	}
	return cond + " AND " + c.compare(alias+".text", n.Cmp, values, textValue), nil
}

func textValue(v pedigree.FilterValue) any { return v.Text }

// parent turns a reference into the subject that attributes hold; what names nothing
// stays as it is, and finds nothing.
func (c *compiler) parent(text string) (string, error) {
	if _, _, ok := pedigree.SplitVersionSubject(text); ok {
		return text, nil
	}
	ref, err := pedigree.ParseReference(text)
	if err != nil {
		return "", err
	}
	project := c.project
	if ref.Project != "" || project == "" {
		name := ref.In(pedigree.DefaultProject).Project
		project, err = c.tx.ProjectID(c.ctx, name)
		if err == nil && c.within != nil && !slices.Contains(c.within, project) {
			err = NoProject(name)
		}
		if err != nil {
			return "", err
		}
	}
	id, err := c.tx.ModelID(c.ctx, project, ref.Model)
	if err != nil || id == "" {
		return text, err
	}
	found, err := c.tx.Resolve(c.ctx, id, ref)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return text, nil
	}
	return pedigree.VersionSubject(id, found.Number), err
}

// compare is "column op values".
func (c *compiler) compare(column string, cmp pedigree.Comparator, values []pedigree.FilterValue, value func(pedigree.FilterValue) any) string {
	switch cmp {
	case pedigree.CmpNotEqual:
		return column + " <> " + c.arg(value(values[0]))
	case pedigree.CmpLike:
		return c.tx.s.d.like(column, c.arg(c.tx.s.d.likePattern(values[0].Text)))
	case pedigree.CmpILike:
		return "lower(" + column + ") LIKE " + c.arg(lowerASCII(values[0].Text)) + c.tx.s.d.noEscape
	case pedigree.CmpIn, pedigree.CmpNotIn:
		params := make([]string, len(values))
		for i, v := range values {
			params[i] = c.arg(value(v))
		}
		return column + " " + string(cmp) + " (" + strings.Join(params, ", ") + ")"
	default:
		return column + " " + string(cmp) + " " + c.arg(value(values[0]))
	}
}

// computed is the condition of a field that is no attribute.
func (c *compiler) computed(n *pedigree.FilterNode, spec pedigree.FieldSpec) (string, error) {
	isNull := map[pedigree.Comparator]string{pedigree.CmpIsNull: "1 = 0", pedigree.CmpIsNotNull: "1 = 1"} // of fields that every version has
	always, null := isNull[n.Cmp]
	switch spec.Name {
	case "model", "project", "version":
		if null {
			return always, nil
		}
		c.names = c.names || spec.Name == "model"
		c.projects = c.projects || spec.Name == "project"
		column := map[string]string{"model": "n.name", "project": "p.name", "version": "v.number"}[spec.Name]
		if spec.Name == "version" {
			return c.compare("CAST("+column+" AS DOUBLE PRECISION)", n.Cmp, n.Values, func(v pedigree.FilterValue) any { return v.Number }), nil
		}
		return c.compare(column, n.Cmp, n.Values, textValue), nil
	case "alias":
		exists := "EXISTS "
		cond := ""
		switch n.Cmp {
		case pedigree.CmpIsNull:
			exists = "NOT EXISTS "
		case pedigree.CmpIsNotNull:
		default:
			cond = " AND " + c.compare("x.alias", n.Cmp, n.Values, textValue)
		}
		return exists + "(SELECT 1 FROM view_aliases x WHERE x.model = v.model AND x.version = v.number AND " + c.tx.open("x.") + cond + ")", nil
	case "created_at", "updated_at":
		if null {
			return always, nil
		}
		t, err := pedigree.ParseFilterTime(n.Values[0], c.now)
		if err != nil {
			return "", err
		}
		column := map[string]string{"created_at": "v.seq", "updated_at": c.updated()}[spec.Name]
		return "(SELECT e.time FROM log_events e WHERE e.seq = " + column + ") " + c.compare("", n.Cmp, []pedigree.FilterValue{{}}, func(pedigree.FilterValue) any { return micros(t) }), nil
	case "created_by":
		if null {
			return always, nil
		}
		// People say the name of an account; the record has its id.
		either := " OR "
		if n.Cmp == pedigree.CmpNotEqual || n.Cmp == pedigree.CmpNotIn {
			either = " AND "
		}
		name := "coalesce((SELECT o.name FROM own_actors o WHERE o.id = a.text), a.text)"
		return "EXISTS (SELECT 1 FROM view_attributes a WHERE a.subject = v.seq AND a.field = 'created_by' AND a.key = 'created_by' AND (" +
			c.compare("a.text", n.Cmp, n.Values, textValue) + either + c.compare(name, n.Cmp, n.Values, textValue) + "))", nil
	case "archived", "withdrawn":
		if null {
			return always, nil
		}
		if want := n.Values[0].Text == "true"; want == (n.Cmp == pedigree.CmpEqual) {
			return c.tx.flagged(spec.Name), nil
		}
		return "NOT " + c.tx.flagged(spec.Name), nil
	case "approval":
		if null {
			return always, nil
		}
		return c.compare("("+c.tx.approvalState(micros(c.moment))+")", n.Cmp, n.Values, textValue), nil
	case "deployed_to":
		exists := "EXISTS "
		cond := ""
		switch n.Cmp {
		case pedigree.CmpIsNull:
			exists = "NOT EXISTS "
		case pedigree.CmpIsNotNull:
		default:
			cond = " AND " + c.compare("t.name", n.Cmp, n.Values, textValue)
		}
		return exists + "(SELECT 1 FROM view_deployments d JOIN view_targets t ON t.id = d.target WHERE d.model = v.model AND d.number = v.number AND " + c.tx.standing("d.") + cond + ")", nil
	case "complete":
		if null {
			return always, nil
		}
		return c.compare("CAST("+c.complete()+" AS DOUBLE PRECISION)", n.Cmp, n.Values, func(v pedigree.FilterValue) any { return v.Number }), nil
	}
	return "", pedigree.Errorf(pedigree.CodeUnsupported, "searching by %s is not offered", spec.Name)
}

// updated is the last event that changed v, as MLflow counts it. The column has no
// history: about the past it is read from the log.
func (c *compiler) updated() string {
	if c.tx.current {
		return "v.updated_seq"
	}
	last := fmt.Sprintf(" AND e.seq <= %d", c.tx.last)
	return "(SELECT max(u.seq) FROM (SELECT max(e.seq) AS seq FROM log_events e WHERE e.subject = v.model || '/' || v.number AND (e.type IN " +
		"('version.registered', 'version.edited', 'version.amended', 'version.archived', 'version.restored', 'version.deleted', 'version.withdrawn', 'version.reinstated') OR " +
		"e.type IN ('version.tagged', 'version.untagged') AND EXISTS (SELECT 1 FROM log_fields f WHERE f.seq = e.seq AND f.name = 'key' AND f.value = '\"" + pedigree.StageTag + "\"'))" + last +
		" UNION ALL SELECT max(e.seq) FROM log_events e WHERE e.subject = v.model AND e.type = 'model.renamed' AND e.seq > v.seq" + last + ") u)"
}

// flagged is the condition that v has a flag of its own: archived, withdrawn.
func (tx *Tx) flagged(flag string) string {
	return "EXISTS (SELECT 1 FROM view_attributes a WHERE a.subject = v.seq AND a.field = '" + flag + "' AND a.key = '" + flag + "' AND " + tx.open("a.") + ")"
}

// complete counts the points of the minimum record, as [pedigree.Points] does.
func (c *compiler) complete() string {
	has := func(field, more string) string {
		return "EXISTS (SELECT 1 FROM view_attributes a WHERE a.subject = v.seq AND a.field = '" + field + "' AND " + c.tx.open("a.") + more + ")"
	}
	points := []string{
		has("artifact", " AND a.key = 'artifact.kind' AND a.text <> 'none'"),
		has("owner", ""), has("data", " AND a.key = 'data.role'"), has("metrics", ""), has("target", ""), has("rollback_note", ""),
		"(" + has("code", " AND a.key = 'code.commit'") + " AND " + has("runtime", " AND a.key IN ('runtime.image', 'runtime.environment')") + ")",
	}
	for i, p := range points {
		points[i] = "CASE WHEN " + p + " THEN 1 ELSE 0 END"
	}
	decided := "CASE WHEN " + c.tx.need("0") + " = 0 OR " + c.tx.approvalState(micros(c.moment)) + " = 'approved' THEN 1 ELSE 0 END"
	return "(" + decided + " + " + strings.Join(points, " + ") + ")"
}

// attributeField is the payload field that a stored key belongs to.
func attributeField(f pedigree.FilterField) string {
	key := f.Attribute()
	head, _, _ := strings.Cut(key, ".")
	switch head {
	case "file":
		return "artifact"
	case "output":
		return "outputs"
	case "flavor":
		return "flavors"
	case "parent":
		return "parents"
	}
	return head
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// WithAttribute lists the versions that have a stored text under a key at tx's moment,
// newest first, at most limit.
func (tx *Tx) WithAttribute(ctx context.Context, field, key, text string, limit int) ([]int64, error) {
	var seqs []int64
	err := tx.each(ctx, "search", "SELECT DISTINCT d.subject FROM view_attributes d WHERE d.key = $1 AND d.hash = $2 AND d.text = $3 AND d.field = $4 AND "+tx.open("d.")+" ORDER BY d.subject DESC LIMIT $5",
		[]any{key, textHash(text), text, field, limit}, func(rows rows) error {
			var s int64
			err := rows.Scan(&s)
			seqs = append(seqs, s)
			return err
		})
	return seqs, err
}
