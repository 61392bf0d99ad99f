package mlflow

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParseFilter: whatever is written, a filter is read or refused, and what was read
// stood there.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{
		"", " ", "metrics.auc > 0.9 AND params.`a b` = 'x'", "tags.\"a\".b LIKE '%' and status != \"y\"", "run_id IN ('a', 'b')", "run_id NOT IN ()", "a = 'b", "a = `b", "-", "--", "a--b\n= 1",
		"a IS NULL b IS NOT NULL", "NOT (a = 'b')", "((((", "metrics.m=-1e-3", "'' ''", "a.", "é.ü = 'x'", "a = '\\''", "\xff = 1", "a IN ('x' 1)",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseFilter(s)
		if err != nil {
			if utf8.ValidString(s) && !utf8.ValidString(err.Error()) {
				t.Errorf("%q: the error is not UTF-8: %q", s, err)
			}
			return
		}
		for _, c := range list {
			if !strings.Contains(s, c.identifier) || !strings.Contains(s, c.raw) {
				t.Errorf("%q: read %+v", s, c)
			}
		}
		for _, n := range []*noun{runNoun, experimentNoun} {
			_, _ = n.clauses(s)
			_, _ = n.sortKeys([]string{s})
		}
		_, _ = loggedModelClauses(s)
	})
}
