package gate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"

	"github.com/pedigree-ml/pedigree"
)

// explanation makes a check of what came out of one gate.
type explanation struct {
	gate  *pedigree.Gate
	in    *Input
	prog  *program
	trace *trace
}

func (e *explanation) check(state pedigree.CheckState, why, fix string) pedigree.Check {
	c := pedigree.Check{Name: e.gate.Name, State: state, Message: why, Fix: fix, Expr: e.gate.Expr}
	if e.trace != nil {
		c.Values = e.trace.observed()
	}
	return c
}

// passed says what was read, and what was passed over on the way.
func (e *explanation) passed() pedigree.Check {
	why := sentence(e.complaints(), e.values())
	if why == "" {
		why = "holds"
	}
	return e.check(pedigree.CheckPassed, why, "")
}

// nothingThere is the check of a gate whose answer depends on a version that is not there.
func (e *explanation) nothingThere() pedigree.Check {
	why := append([]string{"nothing is deployed there yet: not compared"}, e.complaints()...)
	return e.check(pedigree.CheckPassed, sentence(why, e.values()), "")
}

// broken is the check of a gate that can't be compiled: an earlier release of the
// registry took it.
func (e *explanation) broken(f *failure) pedigree.Check {
	for i := range f.faults {
		f.faults[i].gate = "the expression can't be used"
	}
	return e.check(pedigree.CheckFailed, e.because(faultError(f.faults).Error()), "correct it and apply the policy again: pedigree policy apply -f FILE")
}

// failed says why the gate does not hold. err is nil where the expression is false.
func (e *explanation) failed(ctx context.Context, err error) pedigree.Check {
	var why []string
	switch {
	case err == nil:
		why = e.complaints()
	case tooMuch(ctx, err):
		return e.check(
			pedigree.CheckFailed, e.because("the gate costs too much: it was stopped before it had an answer"),
			"make the expression look at less: pedigree policy apply -f FILE",
		)
	default:
		if why = e.complaints(); len(why) == 0 {
			why = []string{"it can't be judged: " + short(err.Error())}
		}
	}
	for _, kind := range e.absentEvidence() {
		why = append(why, "there is no evidence of kind "+short(kind))
	}
	text := sentence(why, e.values())
	if text == "" {
		text = "it is false"
	}
	return e.check(pedigree.CheckFailed, e.because(text), e.fix())
}

// tooMuch says that an evaluation was stopped.
func tooMuch(ctx context.Context, err error) bool {
	var stopped interpreter.EvalCancelledError
	return ctx.Err() != nil || errors.As(err, &stopped) || errors.Is(err, errTooMuch)
}

// because puts the gate's own message before what was found.
func (e *explanation) because(why string) string {
	if e.gate.Message == "" {
		return why
	}
	return strings.TrimRight(e.gate.Message, ".: ") + ": " + why
}

// sentence puts the values after the reasons.
func sentence(why []string, values string) string {
	if values != "" {
		why = append(why, values)
	}
	return strings.Join(why, "; ")
}

func (e *explanation) complaints() []string {
	var out []string
	for _, m := range e.trace.misses {
		out = append(out, m.text)
	}
	return out
}

// maxTold is how many values a message tells; the check has them all.
const maxTold = 6

// values tells what was read, without what the complaints say already. Where it is much,
// the last values say most: there the expression had its answer.
func (e *explanation) values() string {
	var out []string
	for _, r := range e.trace.readings() {
		if r.value != nil {
			out = append(out, r.path()+" = "+short(longDigest.ReplaceAllString(jsonOf(r.value), "$1…")))
		}
	}
	if len(out) > maxTold {
		out = slices.Concat(out[:2], []string{"…"}, out[len(out)-maxTold+2:])
	}
	return strings.Join(out, ", ")
}

var longDigest = regexp.MustCompile(`(sha256:[0-9a-f]{12})[0-9a-f]{52}`)

// absentEvidence are the kinds of evidence that the expression looked for and that are
// not there.
func (e *explanation) absentEvidence() []string {
	if !slices.ContainsFunc(e.trace.readings(), func(r reading) bool { return r.field.name == "evidence" && r.at.up == nil }) {
		return nil
	}
	var out []string
	for _, kind := range e.prog.evidenceKinds {
		there := slices.ContainsFunc(e.in.Version.Record.Evidence, func(ev pedigree.Evidence) bool { return ev.Kind == kind })
		if !there && !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	return out
}

// placeholder is what stands for the version in a gate's own fix: who writes a policy does
// not know which version it will judge.
var placeholder = regexp.MustCompile(`\bREF\b`)

// fix is what to do about a gate that fails: what the gate says, or the command that fills
// what is missing, or where to look.
func (e *explanation) fix() string {
	if e.gate.Fix != "" {
		return placeholder.ReplaceAllLiteralString(e.gate.Fix, quoted(e.in.Version.Reference().String()))
	}
	var commands commands
	for _, kind := range e.absentEvidence() {
		commands.add(e.amend(e.in.Version), "--evidence "+quoted(kind+"=FILE"))
	}
	for _, m := range e.trace.misses {
		if m.flag != "" {
			commands.add(e.command(m.at), m.flag)
		}
	}
	if len(commands) > 0 {
		return commands.String()
	}
	for _, r := range e.trace.readings() {
		e.fill(&commands, &r)
	}
	if len(commands) > 0 {
		return commands.String()
	}
	ref := e.in.Version.Reference().String()
	if e.in.Current != nil && e.prog.namesCurrent {
		return fmt.Sprintf("see what changed: pedigree diff %s %s", quoted(e.in.Current.Reference().String()), quoted(ref))
	}
	name := string(e.in.Version.Model)
	if i := strings.LastIndexByte(ref, '/'); i > 0 {
		name = ref[:i]
	}
	return "register a version that passes: pedigree push " + quoted(name) + " PATH"
}

// fill adds the command that fills an empty value.
func (e *explanation) fill(to *commands, r *reading) {
	if stage, ok := r.at.of.(*pedigree.Completeness); ok && r.at.up.up.up == nil {
		for _, gap := range stage.Missing {
			if strings.HasPrefix(gap.Flag, "--") {
				to.add(e.amend(e.in.Version), gap.Flag)
			}
		}
		return
	}
	flag := r.field.fill
	if e.command(r.at) == "" || flag == "" {
		return
	}
	switch v := r.value.(type) {
	case types.String:
		if v == "" && r.key == "" {
			to.add(e.command(r.at), flag)
		}
	case traits.Lister:
		if v.Size() == types.IntZero {
			to.add(e.command(r.at), flag)
		}
	case types.Int:
		if v == 0 && r.size {
			to.add(e.command(r.at), flag)
		}
	case types.Bool:
		if r.asked && !bool(v) {
			name, where, named := strings.Cut(r.key, "@")
			value := name + "=VALUE"
			if named {
				value += "@" + where
			}
			option, _, _ := strings.Cut(flag, " ")
			to.add(e.command(r.at), option+" "+quoted(value))
		}
	}
}

// command is the one that changes what o belongs to, nil being the version that is to
// pass; "" where none does.
func (e *explanation) command(o *object) string {
	var names []string
	for ; o != nil && o.up != nil; o = o.up {
		names = append(names, o.name)
	}
	if len(names) == 0 {
		return e.amend(e.in.Version)
	}
	switch top := names[len(names)-1]; {
	case top == "model":
		return "pedigree model edit " + quoted(string(e.in.Version.Model))
	case top == "target" && e.in.Target != nil:
		return "pedigree target edit " + quoted(string(e.in.Target.Name))
	case top == "target":
		return ""
	case top == "deploy" && e.in.Target != nil:
		return "pedigree deploy " + quoted(e.in.Version.Reference().String()) + " --to " + quoted(string(e.in.Target.Name))
	case top == "deploy":
		return ""
	case top == "current" && len(names) > 1 && names[len(names)-2] == "deploy":
		return ""
	case top == "current":
		return e.amend(e.in.Current)
	}
	return e.amend(e.in.Version)
}

func (e *explanation) amend(v *pedigree.Version) string {
	return "pedigree amend " + quoted(v.Reference().String())
}

// commands gather flags by command, in order.
type commands []struct {
	command string
	flags   []string
}

func (c *commands) add(command, flag string) {
	if command == "" {
		return
	}
	for i := range *c {
		if old := &(*c)[i]; old.command == command {
			if !slices.Contains(old.flags, flag) {
				old.flags = append(old.flags, flag)
			}
			return
		}
	}
	*c = append(*c, struct {
		command string
		flags   []string
	}{command, []string{flag}})
}

// String writes the commands as a shell takes them.
func (c commands) String() string {
	var out []string
	for _, one := range c {
		out = append(out, one.command+" "+strings.Join(one.flags, " "))
	}
	return strings.Join(out, " && ")
}

// quoted quotes an argument of a command where a shell needs it.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r < '0' && strings.ContainsRune("+,-./", r) || r >= '0' && r <= '9' || strings.ContainsRune(":=@_%", r) || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
