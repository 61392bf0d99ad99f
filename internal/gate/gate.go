package gate

import (
	"context"
	"maps"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/pedigree-ml/pedigree"
)

// Input is what gates judge.
type Input struct {
	// Version is the version that is to pass, Model its model. Both are needed.
	Version *pedigree.Version
	Model   *pedigree.Model
	// Target is where it is to go; nil for an alias that is tied to no target.
	Target *pedigree.Target
	// Current is the version that it would replace, nil without one; CurrentDeployment is
	// how that one came there, nil where an alias was moved.
	Current           *pedigree.Version
	CurrentDeployment *pedigree.Deployment
	// Deploy is the request.
	Deploy pedigree.Deploy
	// Now is the moment of the decision.
	Now time.Time
}

// Check compiles every gate of p. It returns [pedigree.CodeInvalid] that names each gate
// that can't be used, the line and the column in its expression, and what is wrong there.
func Check(p *pedigree.Policy) error {
	var faults []fault
	for i := range p.Gates {
		if _, err := compiled(p.Gates[i].Expr); err != nil {
			for _, f := range err.faults {
				f.gate = `gate "` + p.Gates[i].Name + `"`
				faults = append(faults, f)
			}
		}
	}
	return faultError(faults)
}

// CheckExpression compiles one expression, as the condition of an approval has it; name
// says in the error which. It returns what [Check] returns.
func CheckExpression(name, expr string) error {
	_, err := compiled(expr)
	if err == nil {
		return nil
	}
	for i := range err.faults {
		err.faults[i].gate = name
	}
	return faultError(err.faults)
}

// Reads says which fields some gate of the policies reads: of the record by their keys
// ("owner", "evidence"), of the model as "model.tier". What a gate reads must not change
// behind the back of those who approved, or who wrote the gate. A gate that can't be
// compiled counts as one that reads everything.
func Reads(policies pedigree.Policies) func(field string) bool {
	reads, everything := map[string]bool{}, false
	for i := range policies {
		for k := range policies[i].Gates {
			prog, err := compiled(policies[i].Gates[k].Expr)
			if err != nil {
				everything = true
				continue
			}
			maps.Copy(reads, prog.reads)
		}
	}
	return func(field string) bool {
		return everything || reads[field] || strings.HasPrefix(field, "model.") && reads["model"]
	}
}

// Evaluate asks every gate about in, and returns one check a gate, in their order. Scope
// is whose gates they are: [pedigree.InstanceScope] puts "instance/" before their names,
// anything else leaves them as they are.
//
// Each check has passed or failed. It fails where the expression is false, where it reads
// what is not recorded, where it compares what can't be compared, and where it costs too
// much; it passes where it names the version that is replaced, there is none yet, and what
// it asks beside does not make it false.
func Evaluate(ctx context.Context, scope string, gates []pedigree.Gate, in Input) []pedigree.Check {
	out := make([]pedigree.Check, len(gates))
	root := newRoot(&in)
	for i := range gates {
		out[i] = judge(ctx, root, &gates[i], &in)
		if scope == pedigree.InstanceScope {
			out[i].Name = scope + "/" + out[i].Name
		}
	}
	return out
}

// judge asks one gate.
func judge(ctx context.Context, root *object, g *pedigree.Gate, in *Input) pedigree.Check {
	e := explanation{gate: g, in: in}
	prog, fail := compiled(g.Expr)
	if fail != nil {
		return e.broken(fail)
	}
	t := root.trace
	*t = trace{}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	value, _, err := prog.program.ContextEval(ctx, activation{root})
	e.trace, e.prog = t, prog
	switch {
	case err != nil && in.Current == nil && prog.namesCurrent && !tooMuch(ctx, err):
		return e.nothingThere()
	case err != nil:
		return e.failed(ctx, err)
	case value == types.True:
		return e.passed()
	case types.IsUnknown(value):
		return e.nothingThere()
	default:
		return e.failed(ctx, nil)
	}
}
