package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

func TestNear(t *testing.T) {
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
		if got := near(tt.in, commands, 4); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSimilarName(t *testing.T) {
	for _, tt := range []struct{ name, other, want pedigree.Name }{
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
		if got := similarName(tt.name, []pedigree.Model{{Name: "zzzzzzzzzzzz"}, {Name: tt.other}}); got != tt.want {
			t.Errorf("%s with %s: got %q, want %q", tt.name, tt.other, got, tt.want)
		}
	}
}

// TestPlaced: what failed in a folder says which, and not the URL that stands for it.
func TestPlaced(t *testing.T) {
	err := pedigree.Errorf(pedigree.CodeUnavailable, "no server answers at %s: %w", embeddedURL, errors.New("closed"))
	folder := &app{registry: &registry{kind: kindEmbedded, where: "/var/lib/pedigree"}}
	if got := folder.placed(err).Error(); strings.Contains(got, embeddedURL) || !strings.Contains(got, "/var/lib/pedigree: closed") {
		t.Errorf("got %q", got)
	}
	if got := (&app{registry: &registry{kind: kindServer}}).placed(err); got != err {
		t.Errorf("of a server: got %q", got)
	}
}
