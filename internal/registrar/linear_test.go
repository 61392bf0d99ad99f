package registrar_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pedigree-ml/pedigree"
)

// ask is one call about a target, told what the call answered.
type ask struct {
	kind    string // deploy, rollback, which, alias
	version pedigree.VersionNumber
	ifNow   string // of a deploy the version, of a rollback the deployment; "" for no belief
}

// told is the answer: what is there now, or the code of the refusal.
type told struct {
	id      string
	version pedigree.VersionNumber
	back    string // the deployment that was restored
	code    pedigree.ErrorCode
}

// line is a target one call after the other: all that was active there, oldest first. It is
// a text, so that states compare.
type line string

type ran struct {
	id         string
	version    pedigree.VersionNumber
	rolledBack bool
}

func (l line) all() []ran {
	var out []ran
	for word := range strings.FieldsSeq(string(l)) {
		var r ran
		if _, err := fmt.Sscanf(word, "%d:%t:%s", &r.version, &r.rolledBack, &r.id); err != nil {
			panic(err)
		}
		out = append(out, r)
	}
	return out
}

func (l line) and(all []ran, r ran) line {
	var b strings.Builder
	for _, o := range append(all, r) {
		fmt.Fprintf(&b, "%d:%t:%s ", o.version, o.rolledBack, o.id)
	}
	return line(b.String())
}

// step says whether the answer is the one that a target gives which is called by one at a
// time, and what is there then.
func (l line) step(a ask, t told) (bool, line) {
	all := l.all()
	var now ran
	if len(all) > 0 {
		now = all[len(all)-1]
	}
	switch a.kind {
	case "which":
		return t.code == fine && t.id == now.id || t.code == missing && now.id == "", l
	case "alias":
		return t.code == fine && t.version == now.version || t.code == missing && now.id == "", l
	case "deploy":
		if a.ifNow != "" && a.ifNow != now.version.String() {
			return t.code == conflict, l
		}
		return t.code == fine && t.version == a.version, l.and(all, ran{id: t.id, version: a.version})
	}
	if a.ifNow != "" && a.ifNow != now.id {
		return t.code == conflict, l
	}
	judged := map[pedigree.VersionNumber]bool{}
	for _, r := range slices.Backward(all) {
		if judged[r.version] {
			continue
		}
		if judged[r.version] = true; r.rolledBack || r.version == now.version {
			continue
		}
		all[len(all)-1].rolledBack = true
		return t.code == fine && t.back == r.id && t.version == r.version, l.and(all, ran{id: t.id, version: r.version})
	}
	return t.code == refused, l
}

// TestLinearizable: deployers, those who roll back, and readers of one target and its tied
// alias, all at once, over one registrar and over two on one database, see what they would
// see one after the other.
func TestLinearizable(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return line("") },
		Step: func(state, input, output any) (bool, any) {
			return state.(line).step(input.(ask), output.(told))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	}
	for name, tt := range map[string]struct {
		servers int
		alias   pedigree.Alias
	}{"one server": {1, "production"}, "two servers": {2, "production"}, "two servers, no alias": {2, ""}} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, database string) {
				var registries []*registry
				for range tt.servers {
					registries = append(registries, mustOpen(t, database))
				}
				ctx, r := t.Context(), registries[0]
				if _, err := r.CreateTarget(ctx, me, "default", "prod/api", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: tt.alias}); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if _, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{CreateModel: true}); err != nil {
						t.Fatal(err)
					}
				}
				kinds := []string{"deploy", "rollback", "which", "alias"}
				if tt.alias == "" { // which would also order the moves
					kinds = kinds[:3]
				}
				history := callTogether(t, registries, kinds)
				count := map[string]int{}
				for _, o := range history {
					count[o.Input.(ask).kind+" "+string(o.Output.(told).code)]++
				}
				t.Log(count)
				result, info := porcupine.CheckOperationsVerbose(model, history, 2*time.Minute)
				if result != porcupine.Ok {
					var longest []string
					for _, part := range info.PartialLinearizations() {
						for _, order := range part {
							if len(order) > len(longest) {
								longest = nil
								for _, i := range order {
									longest = append(longest, model.DescribeOperation(history[i].Input, history[i].Output))
								}
							}
						}
					}
					t.Fatalf("the history is %s; the longest order that fits has %d of %d calls:\n%s", result, len(longest), len(history), strings.Join(longest, "\n"))
				}
				for _, r := range registries {
					r.verify(t)
				}
			})
		})
	}
}

// callTogether makes random calls from several callers at once, and says what each was
// told and when.
func callTogether(t *testing.T, registries []*registry, kinds []string) []porcupine.Operation {
	const callers, calls = 5, 12
	var clock atomic.Int64
	var mu sync.Mutex
	var history []porcupine.Operation
	together(callers, func(i int) {
		r := registries[i%len(registries)]
		random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(i)))
		var last told // what the caller believes to be there
		for range calls {
			a := ask{version: pedigree.VersionNumber(1 + random.IntN(3))}
			switch a.kind = kinds[random.IntN(len(kinds))]; {
			case last.id == "" || random.IntN(2) == 0:
			case a.kind == "deploy":
				a.ifNow = last.version.String()
			case a.kind == "rollback":
				a.ifNow = last.id
			}
			begin := clock.Add(1)
			got, err := r.ask(context.Background(), a)
			end := clock.Add(1)
			if got.code == pedigree.CodeInternal || got.code == pedigree.CodeUnavailable {
				t.Errorf("%+v: %v", a, err)
				return
			}
			if got.id != "" {
				last = got
			}
			mu.Lock()
			history = append(history, porcupine.Operation{ClientId: i, Input: a, Output: got, Call: begin, Return: end})
			mu.Unlock()
		}
	})
	return history
}

func (r *registry) ask(ctx context.Context, a ask) (told, error) {
	var d pedigree.Deployment
	var err error
	switch a.kind {
	case "deploy":
		var ifCurrent *pedigree.VersionNumber
		if a.ifNow != "" {
			n, err := pedigree.ParseVersionNumber(a.ifNow)
			if err != nil {
				return told{}, err
			}
			ifCurrent = &n
		}
		d, err = r.Deploy(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Version: a.version}, "prod/api", pedigree.Deploy{}, ifCurrent)
	case "rollback":
		d, err = r.Rollback(ctx, me, "default", "prod/api", pedigree.Rollback{Reason: "it rejects everybody", IfCurrent: a.ifNow})
	case "which":
		var found pedigree.List[pedigree.Finding]
		if found, err = r.Which(ctx, me, "default", "prod/api", pedigree.At{}); err == nil {
			d = *found.Items[0].Deployment
		}
	case "alias":
		var found pedigree.Resolved
		found, err = r.Resolve(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Alias: "production"}, pedigree.At{})
		d.Version = found.Number
	}
	if err != nil {
		return told{code: pedigree.CodeOf(err)}, err
	}
	return told{id: d.ID, version: d.Version, back: d.Restores}, nil
}
