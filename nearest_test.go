package pedigree

import (
	"strings"
	"testing"
)

func TestMisspelt(t *testing.T) {
	commands := []string{"push", "pull", "ls", "rm", "show", "history"}
	for _, tt := range []struct{ in, want string }{
		{"psh", "push"},
		{"shwo", "show"},
		{"histroy", "history"},
		{"hstry", "history"},
		{"pul", "pull"},
		{"lss", "ls"},
		{"foo", ""},
		{"x", ""},
		{"", ""},
		{"hst", ""},
		{"größe", ""},
	} {
		if got := Misspelt(tt.in, commands, 4); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, tt := range []struct{ in, candidate, want string }{
		{"prod/fraud-ap", "prod/fraud-api", "prod/fraud-api"},
		{"prod/nix", "prod/y", ""},
		{"auk", "auc", "auc"},
		{"ls", "rs", "rs"},
		{"foo", "for", "for"},
		{"foo", "fur", ""},
		{"fraud", "fraud", ""},
		{"ownr", "owner", "owner"},
		{"metrcis", "metrics", "metrics"},
		{"prodution", "production", "production"},
		{"", "owner", ""},
		{strings.Repeat("x", 50), "owner", ""},
	} {
		if got := Nearest(tt.in, []string{"zzzzzzzzzzzz", tt.candidate}); got != tt.want {
			t.Errorf("%s with %s: got %q, want %q", tt.in, tt.candidate, got, tt.want)
		}
	}
}

func TestSimilarName(t *testing.T) {
	for _, tt := range []struct{ name, other, want Name }{
		{"fruad", "fraud", "fraud"},
		{"frauds", "fraud", "fraud"},
		{"churn", "charm", ""},
		{"cat", "car", ""},
		{"card", "cart", "cart"},
		{"card-fruads", "card-fraud", "card-fraud"},
		{"card-2024", "card-2025", ""},
		{"fraud2", "fraud", ""},
		{"fraud", "fraud", ""},
	} {
		if got := SimilarName(tt.name, []Name{"zzzzzzzzzzzz", tt.other}); got != tt.want {
			t.Errorf("%s with %s: got %q, want %q", tt.name, tt.other, got, tt.want)
		}
	}
}
