package gate

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// sets are the functions of CEL's sets extension, with a bound: those of the library
// compare every element with every other before they are charged for it.
type sets struct{}

// CompileOptions implements [cel.Library].
func (sets) CompileOptions() []cel.EnvOption {
	list := cel.ListType(cel.TypeParamType("T"))
	function := func(name, overload string, f func(a, b traits.Lister) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.Overload(overload, []*cel.Type{list, list}, cel.BoolType, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
			return f(a.(traits.Lister), b.(traits.Lister))
		})))
	}
	return []cel.EnvOption{
		function("sets.contains", "sets_contains", func(a, b traits.Lister) ref.Val { return within(b, a) }),
		function("sets.intersects", "sets_intersects", func(a, b traits.Lister) ref.Val {
			n, err := shared(a, b)
			if err != nil {
				return err
			}
			return types.Bool(n > 0)
		}),
		function("sets.equivalent", "sets_equivalent", func(a, b traits.Lister) ref.Val {
			if in := within(a, b); in != types.True {
				return in
			}
			return within(b, a)
		}),
	}
}

// ProgramOptions implements [cel.Library].
func (sets) ProgramOptions() []cel.ProgramOption { return nil }

// within says whether each element of a is in b.
func within(a, b traits.Lister) ref.Val {
	n, err := shared(a, b)
	if err != nil {
		return err
	}
	return types.Bool(n == int64(a.Size().(types.Int)))
}

// maxPairs is how many elements a function of sets compares with each other; texts are
// looked up and don't count.
const maxPairs = 100_000

// shared counts the elements of a that are in b.
func shared(a, b traits.Lister) (int64, ref.Val) {
	texts, others := map[types.String]bool{}, []ref.Val{}
	for it := b.Iterator(); it.HasNext() == types.True; {
		if v := it.Next(); v.Type() == types.StringType {
			texts[v.(types.String)] = true
		} else {
			others = append(others, v)
		}
	}
	n, pairs := int64(0), 0
	for it := a.Iterator(); it.HasNext() == types.True; {
		v := it.Next()
		if s, ok := v.(types.String); ok {
			if texts[s] {
				n++
			}
			continue
		}
		for _, o := range others {
			if pairs++; pairs > maxPairs {
				return 0, types.WrapErr(errTooMuch)
			}
			switch eq := v.Equal(o); {
			case types.IsUnknownOrError(eq):
				return 0, eq
			case eq == types.True:
				n++
			default:
				continue
			}
			break
		}
	}
	return n, nil
}
