package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

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
