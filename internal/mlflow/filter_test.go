package mlflow

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzFilter: whatever is written, a filter is read or refused by every search, with a
// message that is text; and what was read stood there.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"", " ", "metrics.auc > 0.9 AND params.`a b` = 'x'", "tags.\"a\".b LIKE '%' and status != \"y\"", "run_id IN ('a', 'b')", "run_id NOT IN ()", "a = 'b", "a = `b", "-", "--", "a--b\n= 1",
		"a IS NULL b IS NOT NULL", "NOT (a = 'b')", "((((", "metrics.m=-1e-3", "'' ''", "a.", "é.ü = 'x'", "a = '\\''", "\xff = 1", "a IN ('x' 1)", "params.'lr' = '1'", "a = 1 + 1", "name = 'x'; drop",
		"name IN (1, 'a')", "\"name\" = 'x'", "version_number > 1e300", "creation_timestamp_ms > 'nan'", "tags.`mlflow.prompt.is_prompt` = 'true'", "name DESC", "`a", "a.`b", "(a = ')'", "timestamp ASC",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		check := func(err error) {
			if err == nil {
				return
			}
			wire, ok := err.(*wireError)
			if !ok || wire.status != 400 {
				t.Errorf("%q: the error is not a 400 of MLflow's: %v", s, err)
			}
			if utf8.ValidString(s) && !utf8.ValidString(err.Error()) {
				t.Errorf("%q: the error is not UTF-8: %q", s, err)
			}
		}
		list, wrong, err := sqlComparisons(s)
		check(err)
		for _, c := range list {
			if !strings.Contains(s, c.key) || !strings.Contains(s, c.value.text) {
				t.Errorf("%q: read %+v", s, c)
			}
		}
		for _, w := range wrong {
			if w == "" || !strings.Contains(s, w) {
				t.Errorf("%q: refused %q", s, w)
			}
		}
		for _, n := range []*noun{runNoun, experimentNoun} {
			_, err := n.clauses(s)
			check(err)
			_, err = n.sortKeys([]string{s})
			check(err)
		}
		_, err = experimentClauses(s)
		check(err)
		_, err = loggedModelClauses(s)
		check(err)
		for _, target := range []*searchTarget{&modelSearch, &versionSearch} {
			filter, err := target.parse(s)
			check(err)
			if err == nil && filter.Root == nil {
				t.Errorf("%q: prompts are not left out", s)
			}
			_, err = target.order([]string{s})
			check(err)
		}
	})
}
