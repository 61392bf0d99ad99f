package gate

import (
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/parser"

	"github.com/pedigree-ml/pedigree"
)

// The bounds of one gate. Cost counts steps as CEL counts them: about one for each name,
// field and operator, and for each element that a loop goes through. A look at each of
// 10,000 files that compares two endings costs 100,000.
const (
	maxCost   = 500_000
	maxTime   = 5 * time.Second // a backstop: on an idle machine cost stops everything long before
	maxDepth  = 64              // of brackets and operators in each other
	maxNodes  = 10_000          // of the expression, macros expanded
	maxLength = 64 << 10        // of a text or a list that an expression puts together
	maxRegexp = 300             // instructions of a pattern's program
)

// withheld are functions of the libraries whose result or time is not bounded by what
// they cost.
var withheld = map[string]bool{
	"replace": true, "join": true, "format": true, "indexOf": true, "lastIndexOf": true, "distinct": true, "dyn": true,
}

// environment is made when the first gate is compiled: a registry without policies does
// not pay for it.
var environment = sync.OnceValue(func() *cel.Env {
	base, err := types.NewRegistry()
	if err != nil {
		panic("gate: " + err.Error())
	}
	limits := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(pedigree.MaxExpr),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserErrorRecoveryLimit(4),
		cel.ExpressionNodeLimit(maxNodes),
		cel.RegexProgramSizeLimit(maxRegexp),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals(),
		),
	}
	language := []cel.EnvOption{
		cel.CustomTypeProvider(&provider{base}),
		cel.CustomTypeAdapter(base),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.OptionalTypes(),
		ext.Strings(), ext.Math(), ext.Lists(ext.ListsMaxRangeSize(10_000)), ext.Bindings(),
		cel.Lib(sets{}),
		cel.Macros(
			cel.GlobalMacro("metric", 2, func(eh parser.ExprHelper, _ ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
				return metricMacro(eh, eh.NewIdent("metrics"), args)
			}),
			cel.ReceiverMacro("metric", 2, func(eh parser.ExprHelper, target ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
				return metricMacro(eh, eh.NewSelect(target, "metrics"), args)
			}),
		),
		cel.Function("days", cel.Overload("days_int", []*cel.Type{cel.IntType}, cel.DurationType, cel.UnaryBinding(days))),
	}
	for _, f := range inputKind.fields {
		language = append(language, cel.Variable(f.name, f.kind))
	}
	env, err := cel.NewEnv(append(language, limits...)...)
	if err != nil {
		panic("gate: " + err.Error())
	}
	return env
})

// metricMacro writes metric(NAME, WHERE) as a look-up of "NAME@WHERE" in metrics; the name
// of a metric has no "@".
func metricMacro(eh parser.ExprHelper, metrics ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
	key := eh.NewCall(operators.Add, eh.NewCall(operators.Add, args[0], eh.NewLiteral(types.String("@"))), args[1])
	name, ok1 := literal(args[0])
	where, ok2 := literal(args[1])
	if ok1 && ok2 {
		key = eh.NewLiteral(types.String(name + "@" + where))
	}
	return eh.NewCall(operators.Index, metrics, key), nil
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// days makes days(90) of the length of time that policies mostly speak of.
func days(n ref.Val) ref.Val {
	d := n.(types.Int)
	if d < 0 || d > 36500 {
		return types.NewErr("days(%d): want 0 to 36500", int64(d))
	}
	return types.Duration{Duration: time.Duration(d) * 24 * time.Hour}
}

// program is a compiled expression, and what it is known to read.
type program struct {
	program cel.Program
	// reads are the fields that it names, as [Reads] has them; namesCurrent says that it
	// names the version that is replaced.
	reads        map[string]bool
	namesCurrent bool
	// evidenceKinds are the kinds that it asks for.
	evidenceKinds []string
}

// compile checks expr and makes its program.
func compile(expr string) (*program, *failure) {
	env := environment()
	if len(expr) > pedigree.MaxExpr {
		return nil, failf("the expression has %d bytes, the limit is %d", len(expr), pedigree.MaxExpr)
	}
	checked, issues := env.Compile(expr)
	if issues.Err() != nil {
		parsed, parseIssues := env.Parse(expr)
		if parseIssues.Err() != nil {
			parsed = nil
		}
		return nil, failures(issues, parsed)
	}
	tree := checked.NativeRep()
	if f := inspect(tree); f != nil {
		return nil, f
	}
	if got := checked.OutputType(); got != cel.BoolType {
		return nil, failf("it gives %s, and true or false is wanted: compare it with something", typeName(got.String()))
	}
	prog, err := env.Program(
		checked,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostLimit(maxCost),
		cel.CostTrackerOptions(
			cost.OverloadTracker("add_string", growing), cost.OverloadTracker("add_bytes", growing), cost.OverloadTracker("add_list", growing),
			cost.OverloadTracker("size_string", passing), cost.OverloadTracker("string_size", passing),
			cost.OverloadTracker("sets_contains", passing), cost.OverloadTracker("sets_intersects", passing), cost.OverloadTracker("sets_equivalent", passing),
		),
		cel.InterruptCheckFrequency(10),
	)
	if err != nil {
		return nil, failf("%s", err)
	}
	out := &program{program: prog, reads: map[string]bool{}}
	out.note(tree)
	return out, nil
}

// growing makes what is put together cost everything once it is too long: doubled a
// hundred times, a text would fill the memory before its steps are counted.
func growing(_ []ref.Val, result ref.Val) *uint64 {
	price := uint64(1)
	if s, ok := result.(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok {
			price += uint64(n) / 10
			if n > maxLength {
				price = maxCost + 1
			}
		}
	}
	return &price
}

// passing is the price of a function that goes through its texts and lists.
func passing(args []ref.Val, _ ref.Val) *uint64 {
	price := uint64(1)
	for _, arg := range args {
		switch arg := arg.(type) {
		case types.String:
			price += uint64(len(arg)) / 100
		case traits.Lister:
			price += uint64(arg.Size().(types.Int))
		}
	}
	return &price
}

// inspect refuses what the checker allows and no bound would hold: functions that are
// withheld, and lists in lists, which share their parts and so can be compared only in
// exponential time.
func inspect(tree *ast.AST) *failure {
	var found *failure
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if found != nil {
			return
		}
		if e.Kind() == ast.CallKind && withheld[e.AsCall().FunctionName()] {
			found = failf("%s is not offered in gates: its cost has no bound", e.AsCall().FunctionName())
		} else if nested(tree.GetType(e.ID()), 0) {
			found = failf("a list or map inside another is not offered in gates")
		}
		if found != nil {
			at := tree.SourceInfo().GetStartLocation(e.ID())
			found.faults[0].line, found.faults[0].column = at.Line(), at.Column()+1
		}
	}))
	return found
}

// nested says whether values of type t hold lists or maps inside lists or maps.
func nested(t *types.Type, depth int) bool {
	if t == nil {
		return false
	}
	if t.Kind() == types.ListKind || t.Kind() == types.MapKind {
		if depth++; depth > 1 {
			return true
		}
	}
	if t.Kind() == types.TypeKind {
		return false
	}
	for _, p := range t.Parameters() {
		if nested(p, depth) {
			return true
		}
	}
	return false
}

// note finds out what the expression names.
func (p *program) note(tree *ast.AST) {
	selected := map[int64]bool{} // where model stands before one of its fields
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch {
		case e.Kind() == ast.SelectKind && isIdent(e.AsSelect().Operand(), "model"):
			selected[e.AsSelect().Operand().ID()] = true
			p.reads["model."+e.AsSelect().FieldName()] = true
		case e.Kind() == ast.IdentKind:
			p.names(e.AsIdent(), selected[e.ID()])
		case e.Kind() == ast.ComprehensionKind && isIdent(e.AsComprehension().IterRange(), "evidence"):
			p.evidenceKinds = append(p.evidenceKinds, kindsAsked(e.AsComprehension())...)
		}
	}))
}

// names notes that a variable is read; selected says that it is one field of it.
func (p *program) names(variable string, selected bool) {
	switch variable {
	case "current":
		p.namesCurrent = true
	case "target": // where it is to go, which is no field of the record
	case "target_name":
		p.reads["target"] = true
	case "completeness": // of its points, what an amendment fills and nothing else guards
		p.reads["owner"], p.reads["target"] = true, true
	case "model":
		if !selected {
			p.reads["model"] = true
		}
	default:
		p.reads[variable] = true
	}
}

func isIdent(e ast.Expr, name string) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == name }

// kindsAsked are the texts that the kind of a loop's element is compared with.
func kindsAsked(loop ast.ComprehensionExpr) []string {
	var out []string
	isKind := func(e ast.Expr) bool {
		return e.Kind() == ast.SelectKind && e.AsSelect().FieldName() == "kind" && isIdent(e.AsSelect().Operand(), loop.IterVar())
	}
	ast.PreOrderVisit(loop.LoopStep(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.Equals {
			return
		}
		args := e.AsCall().Args()
		for i, arg := range args {
			if s, ok := literal(args[1-i]); ok && isKind(arg) {
				out = append(out, s)
			}
		}
	}))
	return out
}

// cache keeps compiled expressions, those that failed among them. It has two halves: when
// the young one is full it becomes the old one, and what is asked for again moves over, so
// that it is bounded and holds what is used.
type cache struct {
	mu         sync.Mutex
	young, old map[string]outcome
}

type outcome struct {
	prog *program
	fail *failure
}

// maxCached is how many expressions each half holds. A program takes some 8 KiB.
const maxCached = 256

var programs cache

// compiled returns the program of expr from the cache, or compiles it.
func compiled(expr string) (*program, *failure) {
	if o, ok := programs.get(expr); ok {
		return o.prog, o.fail.copy()
	}
	prog, fail := compile(expr)
	if len(expr) <= pedigree.MaxExpr {
		programs.put(expr, outcome{prog, fail})
	}
	return prog, fail.copy()
}

func (c *cache) get(expr string) (outcome, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.young[expr]; ok {
		return o, true
	}
	o, ok := c.old[expr]
	if ok {
		c.keep(expr, o)
	}
	return o, ok
}

func (c *cache) put(expr string, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(expr, o)
}

// keep is called with the lock held.
func (c *cache) keep(expr string, o outcome) {
	if c.young == nil || len(c.young) >= maxCached {
		c.old, c.young = c.young, make(map[string]outcome, maxCached)
	}
	c.young[expr] = o
}
