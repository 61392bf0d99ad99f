package gate

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/pedigree-ml/pedigree"
)

// object is a value of a kind as an expression sees it. It knows the way to it, so that
// each read can be told, and makes its parts when they are asked for.
type object struct {
	kind *kind
	of   any
	up   *object
	// name is the field of up that holds it; index its place there, -1 for one that is in
	// no list.
	name  string
	index int
	trace *trace
	parts map[string]ref.Val
}

func newRoot(in *Input) *object {
	return &object{kind: inputKind, of: &judged{version: in.Version, in: in}, index: -1, trace: &trace{}}
}

func (o *object) part(name string, k *kind, of any) *object {
	return &object{kind: k, of: of, up: o, name: name, index: -1, trace: o.trace}
}

func listOf[U any](o *object, name string, k *kind, items []U) ref.Val {
	values := make([]ref.Val, len(items))
	for i := range items {
		e := o.part(name, k, &items[i])
		e.index = i
		values[i] = e
	}
	return types.NewRefValList(types.DefaultTypeAdapter, values)
}

// path is the way to o as an expression writes it; "" for the root.
func (o *object) path() string {
	if o.up == nil {
		return ""
	}
	p := join(o.up.path(), o.name)
	if o.index >= 0 {
		p += "[" + strconv.Itoa(o.index) + "]"
	}
	return p
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// inList says that o is in a list, or part of what is.
func (o *object) inList() bool {
	for ; o != nil; o = o.up {
		if o.index >= 0 {
			return true
		}
	}
	return false
}

// value is that of a field; objects, lists and maps are made once. false says that it is
// not recorded.
func (o *object) value(f *field) (ref.Val, bool) {
	if v, ok := o.parts[f.name]; ok {
		return v, true
	}
	v, ok := f.get(o)
	switch v.(type) {
	case *object, *keyed, traits.Lister:
		if o.parts == nil {
			o.parts = map[string]ref.Val{}
		}
		o.parts[f.name] = v
	}
	return v, ok
}

// read gives the value of a field and notes that it was read; of a list of objects its size
// is noted.
func (o *object) read(f *field) (any, error) {
	if o.erased(f.name) {
		text := join(o.path(), f.name) + " was erased"
		o.trace.miss(o, f, "", text, "")
		return nil, errors.New(text)
	}
	v, ok := o.value(f)
	if !ok {
		text := o.missing(f)
		o.trace.miss(o, f, "", text, "")
		return nil, errors.New(text)
	}
	switch list := v.(type) {
	case *object, *keyed, *types.Unknown: // what is read of them is noted
	case traits.Lister:
		if f.of == nil {
			o.trace.note(reading{at: o, field: f, value: v})
		} else {
			o.trace.note(reading{at: o, field: f, value: list.Size(), size: true})
		}
	default:
		o.trace.note(reading{at: o, field: f, value: v})
	}
	return v, nil
}

// missing says that a field is not recorded.
func (o *object) missing(f *field) string {
	s := join(o.path(), f.name) + " is not recorded"
	if o.kind.label != nil {
		if l := o.kind.label(o.of); l != "" {
			s += " (" + short(l) + ")"
		}
	}
	return s
}

// erased says that a field of the record was erased: reading it as empty would let
// data.all(…) pass.
func (o *object) erased(name string) bool {
	j, ok := o.of.(*judged)
	if !ok || len(j.version.Erased) == 0 {
		return false
	}
	if name == "target_name" {
		name = "target"
	} else if name == "target" {
		return false // that of the input, not of the record
	}
	return slices.Contains(j.version.Erased, name)
}

// isSet answers has().
func (o *object) isSet(f *field) bool {
	v, ok := o.value(f)
	if !ok || o.erased(f.name) {
		return false
	}
	switch v := v.(type) {
	case *object:
		return !reflect.ValueOf(v.of).Elem().IsZero()
	case types.String:
		return v != ""
	case traits.Sizer:
		return v.Size() != types.IntZero
	}
	return true
}

// Equal implements [ref.Val]: two objects are equal where all their parts are.
func (o *object) Equal(other ref.Val) ref.Val {
	with, ok := other.(*object)
	if !ok || with.kind != o.kind {
		return types.False
	}
	if o.of == with.of {
		return types.True
	}
	weight := 1
	if o.kind.weight != nil {
		weight += o.kind.weight(o.of) + o.kind.weight(with.of)
	}
	if err := o.trace.weigh(weight); err != nil {
		return types.WrapErr(err)
	}
	if _, ok := o.of.(*judged); ok {
		return types.False // two versions
	}
	if reflect.DeepEqual(o.of, with.of) {
		return types.True
	}
	if !o.inList() {
		o.trace.differ(o, with)
	}
	return types.False
}

// ConvertToNative implements [ref.Val].
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a %s can't be converted to %v", o.kind.name, t)
}

// ConvertToType implements [ref.Val].
func (o *object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.kind.celType()
	}
	return types.NewErr("a %s can't be converted", o.kind.name)
}

// Type implements [ref.Val].
func (o *object) Type() ref.Type { return o.kind.celType() }

// Value implements [ref.Val].
func (o *object) Value() any { return o }

// keyed is a map of texts to values that notes what is read from it. It is no
// [traits.Mapper], so that a question of has() can be told from a read.
type keyed struct {
	at    *object
	field *field
	keys  []string
	get   func(key string) (ref.Val, error)
	has   func(key string) bool
}

func (o *object) params() ref.Val {
	params := o.of.(*judged).version.Record.Params
	keys := make([]string, 0, len(params))
	for k := range params {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	k := &keyed{at: o, field: o.kind.byName["params"], keys: keys}
	k.has = func(key string) bool { _, ok := params[key]; return ok }
	k.get = func(key string) (ref.Val, error) {
		v, ok := params[key]
		if !ok {
			text := "param " + short(key) + whose(o) + " is not recorded"
			if !o.trace.full() {
				o.trace.miss(o, k.field, key, text+meant(key, keys), "--param "+quoted(key+"=VALUE"))
			}
			return nil, errors.New(text)
		}
		return types.String(v), nil
	}
	return k
}

// whose names the version of a record that is not the one that is to pass.
func whose(o *object) string {
	if o.up == nil {
		return ""
	}
	return " of " + o.of.(*judged).version.Reference().String()
}

// Get implements [traits.Indexer].
func (k *keyed) Get(index ref.Val) ref.Val {
	key, ok := index.(types.String)
	if !ok {
		return types.NewErr("%s are named by texts", k.field.name)
	}
	if len(key) > maxKey {
		return types.NewErr("nothing in %s has a name of %d bytes", k.field.name, len(key))
	}
	v, err := k.get(string(key))
	if err != nil {
		return types.WrapErr(err)
	}
	k.at.trace.note(reading{at: k.at, field: k.field, key: string(key), value: v})
	return v
}

// IsSet implements [traits.FieldTester].
func (k *keyed) IsSet(index ref.Val) ref.Val { return k.Contains(index) }

// Contains implements [traits.Container].
func (k *keyed) Contains(index ref.Val) ref.Val {
	key, ok := index.(types.String)
	if !ok {
		return types.False
	}
	has := k.has(string(key))
	k.at.trace.note(reading{at: k.at, field: k.field, key: string(key), value: types.Bool(has), asked: true})
	return types.Bool(has)
}

// Iterator implements [traits.Iterable].
func (k *keyed) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, k.keys).Iterator()
}

// Size implements [traits.Sizer].
func (k *keyed) Size() ref.Val {
	n := types.Int(len(k.keys))
	k.at.trace.note(reading{at: k.at, field: k.field, value: n, size: true})
	return n
}

// Equal implements [ref.Val].
func (k *keyed) Equal(other ref.Val) ref.Val {
	with, ok := other.(*keyed)
	if !ok {
		return types.NewErr("%s can be compared only with those of another version", k.field.name)
	}
	if err := k.at.trace.weigh(len(k.keys)); err != nil {
		return types.WrapErr(err)
	}
	if !slices.Equal(k.keys, with.keys) {
		return types.False
	}
	for _, key := range k.keys {
		a, b := k.Get(types.String(key)), with.Get(types.String(key))
		if types.IsError(a) {
			return a
		}
		if types.IsError(b) {
			return b
		}
		if a.Equal(b) != types.True {
			return types.False
		}
	}
	return types.True
}

// ConvertToNative implements [ref.Val].
func (k *keyed) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s can't be converted to %v", k.field.name, t)
}

// ConvertToType implements [ref.Val].
func (k *keyed) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return types.MapType
	}
	return types.NewErr("%s can't be converted", k.field.name)
}

// Type implements [ref.Val].
func (k *keyed) Type() ref.Type { return types.MapType }

// Value implements [ref.Val].
func (k *keyed) Value() any { return k }

// activation gives an expression its variables.
type activation struct{ root *object }

// ResolveName implements [cel.Activation].
func (a activation) ResolveName(name string) (any, bool) {
	f := inputKind.byName[name]
	if f == nil {
		return nil, false
	}
	v, err := a.root.read(f)
	if err != nil {
		return types.WrapErr(err), true
	}
	return v, true
}

// Parent implements [cel.Activation].
func (activation) Parent() cel.Activation { return nil }

// provider tells the compiler of the kinds, beside the types of the language.
type provider struct{ *types.Registry }

// FindStructType implements [types.Provider].
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if k := kindByType[name]; k != nil {
		return types.NewTypeTypeWithParam(k.celType()), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames implements [types.Provider].
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if k := kindByType[name]; k != nil {
		return names(k), true
	}
	return p.Registry.FindStructFieldNames(name)
}

// FindStructFieldType implements [types.Provider].
func (p *provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	k := kindByType[name]
	if k == nil {
		return p.Registry.FindStructFieldType(name, fieldName)
	}
	f := k.byName[fieldName]
	if f == nil {
		return nil, false
	}
	return &types.FieldType{
		Type: f.kind,
		IsSet: func(target any) bool {
			o, ok := target.(*object)
			return ok && o.isSet(f)
		},
		GetFrom: func(target any) (any, error) {
			switch t := target.(type) {
			case *object:
				return t.read(f)
			case *types.Unknown:
				return t, nil
			}
			return nil, fmt.Errorf("%s is read from what is no %s", fieldName, k.name)
		},
	}, true
}

// NewValue implements [types.Provider]: an expression reads objects and makes none.
func (p *provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if kindByType[name] != nil {
		return types.NewErr("a gate can't make a %s", kindByType[name].name)
	}
	return p.Registry.NewValue(name, fields)
}

// maxKey is the most bytes of a key: a name and "@", data set and split, whose characters
// take up to four.
const maxKey = 4 * (3*pedigree.MaxKey + 2)

// short cuts what is told to people.
func short(s string) string {
	const most = 120
	n := 0
	for i := range s {
		if n++; n == most && len(s) > i+utf8.UTFMax {
			return s[:i] + "…"
		}
	}
	return s
}
