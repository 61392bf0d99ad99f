package gate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/pedigree-ml/pedigree"
)

// fault is one thing that is wrong with an expression, and where: line and column count
// from 1, in characters; 0 where it is about the whole.
type fault struct {
	gate         string
	line, column int
	text         string
}

// String returns `gate "auc", line 1, column 9: …`. Commands that read policies from files
// find the place in it.
func (f fault) String() string {
	s := f.gate
	if f.line > 0 {
		s += fmt.Sprintf(", line %d, column %d", f.line, f.column)
	}
	return s + ": " + f.text
}

// failure is why an expression can't be used.
type failure struct{ faults []fault }

func failf(format string, args ...any) *failure {
	return &failure{[]fault{{text: fmt.Sprintf(format, args...)}}}
}

func (f *failure) copy() *failure {
	if f == nil {
		return nil
	}
	return &failure{slices.Clone(f.faults)}
}

// maxFaults is how many faults of one expression are told: the first ones explain the rest.
const maxFaults = 3

func faultError(faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = f.String()
	}
	return pedigree.Errorf(pedigree.CodeInvalid, "%s", strings.Join(texts, "; "))
}

// failures puts what the compiler found into words. parsed is nil where the expression is
// not one.
func failures(issues *cel.Issues, parsed *cel.Ast) *failure {
	out := &failure{}
	for _, e := range issues.Errors() {
		if len(out.faults) == maxFaults {
			break
		}
		f := fault{text: reword(e.Message, e.ExprID, parsed)}
		if e.Location != nil && e.Location.Line() > 0 {
			f.line, f.column = e.Location.Line(), e.Location.Column()+1
			if noField.MatchString(e.Message) {
				f.column++ // the checker points to the dot
			}
		}
		if !slices.Contains(out.faults, f) {
			out.faults = append(out.faults, f)
		}
	}
	return out
}

var (
	noReference = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noField     = regexp.MustCompile(`^undefined field '([^']*)'`)
	noOverload  = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	syntax      = regexp.MustCompile(`^Syntax error: (?:mismatched|extraneous|no viable alternative at) input '(.*?)'(?: expecting .*)?$`)
	operator    = regexp.MustCompile(`^_?([^_a-z?@]+)_$`)
)

// unreadable are what people look for and gates can't read.
var unreadable = map[string]bool{
	"description": true, "descriptions": true, "tag": true, "tags": true, "note": true, "notes": true, "rollback_note": true, "comment": true,
}

const whyUnreadable = "gates can't read %s: descriptions, tags and notes may change without making an approval stale; " +
	"put what decides into params, metrics or evidence"

// reword says in plain words what the checker says in those of types.
func reword(message string, id int64, parsed *cel.Ast) string {
	if m := noReference.FindStringSubmatch(message); m != nil {
		name := m[1]
		if unreadable[name] {
			return fmt.Sprintf(whyUnreadable, name)
		}
		if isCall(id, parsed) {
			return suggest("there is no function "+name, name, functions)
		}
		return suggest("there is nothing named "+name, name, names(inputKind))
	}
	if m := noField.FindStringSubmatch(message); m != nil {
		if unreadable[m[1]] {
			return fmt.Sprintf(whyUnreadable, m[1])
		}
		k := kindOf(operand(id, parsed))
		if k == nil {
			return suggest("there is no field "+m[1], m[1], everyField())
		}
		return suggest("there is no field "+m[1]+" in "+k.name, m[1], names(k))
	}
	if m := noOverload.FindStringSubmatch(message); m != nil {
		return mismatch(m[1], strings.TrimSuffix(strings.TrimPrefix(m[2], "("), ")"))
	}
	if strings.Contains(message, "recursion") {
		return fmt.Sprintf("brackets and operators stand in each other deeper than %d levels", maxDepth)
	}
	if m := syntax.FindStringSubmatch(message); m != nil {
		if m[1] == "<EOF>" {
			return "the expression ends too early"
		}
		return m[1] + " is not expected here"
	}
	return typeName(strings.TrimPrefix(message, "Syntax error: "))
}

// mismatch says which operator or function does not fit its operands, and what is mostly
// meant.
func mismatch(function, types string) string {
	name, verb := function, "does not fit"
	if o := operator.FindStringSubmatch(function); o != nil {
		name = o[1]
	}
	if function == "@in" {
		name = "in"
	}
	text := fmt.Sprintf("%s %s (%s)", name, verb, typeName(types))
	switch {
	case function == "_[_]":
		return text
	case strings.Contains(types, "double") && strings.Contains(types, "string"), strings.Contains(types, "int") && strings.Contains(types, "string"):
		return text + ": write numbers without quotes, and double(params.x) for a parameter, which is a text"
	case strings.Contains(types, "double") && strings.Contains(types, "int"):
		return text + ": write whole numbers with a point, as in 1.0"
	}
	return text
}

func typeName(s string) string { return strings.ReplaceAll(s, typePrefix, "") }

func suggest(text, name string, candidates []string) string {
	if near := pedigree.Nearest(name, candidates); near != "" {
		return text + "; did you mean " + near + "?"
	}
	return text
}

// functions are what can be called, for suggestions.
var functions = []string{
	"has", "all", "exists", "exists_one", "filter", "map", "metric", "days", "size", "matches", "contains", "startsWith", "endsWith",
	"lowerAscii", "upperAscii", "trim", "split", "substring", "charAt", "double", "int", "string", "duration", "timestamp", "slice", "sort", "first", "last",
}

func names(k *kind) []string {
	out := make([]string, len(k.fields))
	for i, f := range k.fields {
		out[i] = f.name
	}
	return out
}

func everyField() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, names(k)...)
	}
	return out
}

func find(id int64, parsed *cel.Ast) ast.Expr {
	var out ast.Expr
	if parsed != nil {
		ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if e.ID() == id {
				out = e
			}
		}))
	}
	return out
}

func isCall(id int64, parsed *cel.Ast) bool {
	e := find(id, parsed)
	return e != nil && e.Kind() == ast.CallKind
}

// operand is what a field is selected from.
func operand(id int64, parsed *cel.Ast) ast.Expr {
	if e := find(id, parsed); e != nil && e.Kind() == ast.SelectKind {
		return e.AsSelect().Operand()
	}
	return nil
}

// kindOf follows a chain of fields from a variable; nil where it starts elsewhere, as in
// the variable of a loop.
func kindOf(e ast.Expr) *kind {
	switch {
	case e == nil:
		return nil
	case e.Kind() == ast.IdentKind:
		return inputKind.part(e.AsIdent())
	case e.Kind() == ast.SelectKind:
		if k := kindOf(e.AsSelect().Operand()); k != nil {
			return k.part(e.AsSelect().FieldName())
		}
	}
	return nil
}
