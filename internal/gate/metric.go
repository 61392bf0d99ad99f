package gate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/pedigree-ml/pedigree"
)

// measurement is one metric of a version, and what it was measured on.
type measurement struct {
	pedigree.Metric
	version *pedigree.Version
	// digest is that of the metric, or of the data reference that the metric names by its
	// role; data is where that one is, for those without a digest.
	digest pedigree.Digest
	data   string
}

func measure(v *pedigree.Version, m pedigree.Metric) measurement {
	out := measurement{Metric: m, version: v, digest: m.Digest}
	if m.Dataset == "" {
		return out
	}
	named := 0
	for i := range v.Record.Data {
		d := &v.Record.Data[i]
		if d.Role != m.Dataset {
			continue
		}
		if named++; named > 1 {
			// Two references of one role: which of them it was is not recorded.
			out.digest, out.data = m.Digest, ""
			return out
		}
		out.digest = cmp.Or(m.Digest, d.Digest)
		out.data = strings.TrimSpace(string(d.URI) + " " + d.Version)
	}
	return out
}

// where says what it was measured on, for people.
func (m *measurement) where() string {
	var parts []string
	if s := place(m.Dataset, m.Split); s != "" {
		parts = append(parts, short(s))
	}
	switch {
	case m.digest != "":
		parts = append(parts, string(m.digest))
	case m.data != "":
		parts = append(parts, short(m.data))
	}
	if len(parts) == 0 {
		return "data that is not recorded"
	}
	return strings.Join(parts, " ")
}

// place is data set and split as flags have them: test, test/eu.
func place(dataset, split string) string {
	if split == "" {
		return dataset
	}
	return dataset + "/" + split
}

// comparable says whether two measurements can be compared: they are of the same split,
// and of the same data. The digest says which data it is, where both have one; where
// neither has, the name of the data set and the place of its data reference. One with and
// one without a digest can't be compared: nobody knows.
func (m *measurement) comparable(other measurement) bool {
	if m.Split != other.Split {
		return false
	}
	if m.digest != "" || other.digest != "" {
		return m.digest == other.digest
	}
	return m.Dataset == other.Dataset && (m.data == "" || other.data == "" || m.data == other.data)
}

// pair are the measurements of one metric that an expression read: those of the version,
// and those of the version that it would replace.
type pair struct{ own, current []measurement }

// metrics is the map of a version's measurements.
func (o *object) metrics() ref.Val {
	byName := map[string][]pedigree.Metric{}
	for _, m := range o.of.(*judged).version.Record.Metrics {
		byName[m.Name] = append(byName[m.Name], m)
	}
	k := &keyed{at: o, field: o.kind.byName["metrics"], keys: slices.Sorted(maps.Keys(byName))}
	k.has = func(key string) bool { return len(candidates(byName, key)) > 0 }
	k.get = func(key string) (ref.Val, error) {
		m, err := o.measurement(k, byName, key)
		if err != nil {
			return nil, err
		}
		if math.IsNaN(float64(m.Value)) {
			o.trace.complain(miss{at: o, text: keyPath("metrics", "metrics", key) + whose(o) + " is NaN"})
		}
		if err := o.compare(m); err != nil {
			return nil, err
		}
		return types.Double(m.Value), nil
	}
	return k
}

// candidates are the measurements that a key may mean: NAME, or NAME@WHERE, where WHERE is
// a data set, a split, or DATASET/SPLIT.
func candidates(byName map[string][]pedigree.Metric, key string) []pedigree.Metric {
	name, where, named := strings.Cut(key, "@")
	if !named {
		return byName[name]
	}
	var out []pedigree.Metric
	for _, m := range byName[name] {
		if where == m.Split || where == m.Dataset || where == place(m.Dataset, m.Split) {
			out = append(out, m)
		}
	}
	return out
}

// choose picks the measurement that a key means: the only one; otherwise the only one
// without data set and split; otherwise the only one on the test data.
func choose(found []pedigree.Metric) (pedigree.Metric, bool) {
	for _, rule := range []func(m pedigree.Metric) bool{
		func(pedigree.Metric) bool { return true },
		func(m pedigree.Metric) bool { return m.Dataset == "" && m.Split == "" },
		func(m pedigree.Metric) bool { return m.Split == "test" || m.Dataset == "test" && m.Split == "" },
	} {
		var chosen []pedigree.Metric
		for _, m := range found {
			if rule(m) {
				chosen = append(chosen, m)
			}
		}
		if len(chosen) == 1 {
			return chosen[0], true
		}
	}
	return pedigree.Metric{}, false
}

// measurement finds the one that a key means, or notes why there is none.
func (o *object) measurement(k *keyed, byName map[string][]pedigree.Metric, key string) (measurement, error) {
	v := o.of.(*judged).version
	name, where, named := strings.Cut(key, "@")
	if err := o.trace.weigh(len(byName[name]) + len(v.Record.Data)); err != nil {
		return measurement{}, err
	}
	found := candidates(byName, key)
	if m, ok := choose(found); ok {
		return measure(v, m), nil
	}
	what := "metric " + short(name)
	value := name + "=VALUE"
	if named {
		what += " on " + short(where)
		value += "@" + where
	}
	if len(found) > 0 {
		// More metrics don't mend it.
		text := fmt.Sprintf("%s%s is ambiguous, it is recorded on %s: name the split, as in metric(%q, %q)", what, whose(o), places(found), name, "test")
		o.trace.note(reading{at: o, field: k.field, key: key})
		o.trace.complain(miss{at: o, text: text})
		return measurement{}, errors.New(text)
	}
	text := what + whose(o) + " is not recorded"
	if o.trace.full() {
		return measurement{}, errors.New(text)
	}
	if others := byName[name]; named && len(others) > 0 {
		text += "; " + name + " is recorded on " + places(others)
	} else {
		text += meant(name, k.keys)
	}
	o.trace.miss(o, k.field, key, text, "--metric "+quoted(value))
	return measurement{}, errors.New(text)
}

// meant says which of the keys was perhaps meant. It looks at no more than people write.
func meant(key string, keys []string) string {
	if len(key) > pedigree.MaxKey {
		return ""
	}
	return suggest("", key, keys[:min(len(keys), 500)])
}

// places lists what measurements were made on.
func places(list []pedigree.Metric) string {
	var out []string
	for _, m := range list {
		out = append(out, short(cmp.Or(place(m.Dataset, m.Split), "no data set")))
		if len(out) == maxElements {
			break
		}
	}
	return strings.Join(out, ", ")
}

// compare notes that a measurement is read. It fails where the same metric was read of the
// other version too and the two can't be compared: whatever the expression makes of the
// numbers would say nothing. What is refused was not read, so that another branch of the
// expression may still do without the comparison.
func (o *object) compare(m measurement) error {
	t := o.trace
	p := t.measured[m.Name]
	if p == nil {
		if t.measured == nil {
			t.measured = map[string]*pair{}
		}
		p = &pair{}
		t.measured[m.Name] = p
	}
	if err := t.weigh(len(p.own) + len(p.current)); err != nil {
		return err
	}
	if o.up != nil {
		if len(p.own) > 0 && !slices.ContainsFunc(p.own, m.comparable) {
			return t.incomparable(&p.own[len(p.own)-1], &m)
		}
		p.current = m.into(p.current)
		return nil
	}
	for i := range p.current {
		if c := &p.current[i]; !m.comparable(*c) && !slices.ContainsFunc(p.own, c.comparable) {
			return t.incomparable(&m, c)
		}
	}
	p.own = m.into(p.own)
	return nil
}

// into adds m to a list where it is not in it; NaN is not equal to itself.
func (m *measurement) into(list []measurement) []measurement {
	if slices.ContainsFunc(list, func(old measurement) bool {
		return old.Dataset == m.Dataset && old.Split == m.Split && old.Digest == m.Digest
	}) {
		return list
	}
	return append(list, *m)
}

// incomparable says so of two measurements, and what would be comparable.
func (t *trace) incomparable(own, current *measurement) error {
	text := fmt.Sprintf(
		"metric %s is not comparable: that of %s was measured on %s, that of %s on %s",
		short(own.Name), own.version.Reference(), own.where(), current.version.Reference(), current.where(),
	)
	flag := own.Name + "=VALUE"
	if s := place(current.Dataset, current.Split); s != "" {
		flag += "@" + s
	}
	t.complain(miss{text: text, flag: "--metric " + quoted(flag)})
	return errors.New(text)
}
