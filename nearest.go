package pedigree

import "strings"

// Nearest returns the candidate that s is most likely a misspelling of, or "" where
// none is near: within a third of its length in edits, or one.
func Nearest(s string, candidates []string) string {
	best, least := "", max(1, len([]rune(s))/3)+1
	for _, c := range candidates {
		if d := editDistance([]rune(s), []rune(c)); d < least && c != s {
			best, least = c, d
		}
	}
	return best
}

// Misspelt returns the first candidate that s is a misspelling of by one edit, or by two
// where s has at least long characters, so that two say something; "" for none. It is
// stricter than [Nearest]: for offering another word where s may be meant.
func Misspelt(s string, candidates []string, long int) string {
	most := 1
	if len([]rune(s)) >= long {
		most = 2
	}
	for k := 1; k <= most; k++ {
		for _, c := range candidates {
			if editDistance([]rune(s), []rune(c)) == k {
				return c
			}
		}
	}
	return ""
}

// SimilarName returns the name that a new model's name may be a misspelling of, "" for
// none. Short names are all alike, and names that differ in digits alone are meant to.
func SimilarName(name Name, names []Name) Name {
	if len([]rune(name)) < 4 {
		return ""
	}
	letters := func(s Name) string {
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, string(s))
	}
	var candidates []string
	for _, n := range names {
		if letters(n) != letters(name) {
			candidates = append(candidates, string(n))
		}
	}
	return Name(Misspelt(string(name), candidates, 8))
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b.
func editDistance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
