package pedigree

// Nearest returns the candidate that s is most likely a misspelling of, or "" where
// none is near: within a third of its length in edits.
func Nearest(s string, candidates []string) string {
	best, least := "", len([]rune(s))/3+1
	for _, c := range candidates {
		if d := editDistance([]rune(s), []rune(c)); d <= least && c != s {
			if d < least || best == "" {
				best, least = c, d
			}
		}
	}
	return best
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
