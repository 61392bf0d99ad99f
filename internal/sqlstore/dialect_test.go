package sqlstore

import (
	"crypto/rand"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

// TestOpenRefused: a database that is not there, and a user that it does not know, are told
// in a line, with what to do.
func TestOpenRefused(t *testing.T) {
	there, err := url.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(u *url.URL)
		want   string
	}{
		{"no such database", func(u *url.URL) { u.Path = "/nowhere" }, `PostgreSQL refuses the connection: database "nowhere" does not exist; create it (createdb nowhere), or correct the URL of --database`},
		{"no such user", func(u *url.URL) { u.User = url.User("nobody_at_all") }, `PostgreSQL refuses the connection: role "nobody_at_all" does not exist; correct user and password in the URL of --database`},
	} {
		u := *there
		tt.change(&u)
		s, err := Open(t.Context(), Config{Database: u.String(), Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = s.Close()
			t.Fatalf("%s: it opens", tt.name)
		}
		if pedigree.CodeOf(err) != pedigree.CodeUnavailable || err.Error() != tt.want || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s:\n\tgot  %s %v\n\twant %s", tt.name, pedigree.CodeOf(err), err, tt.want)
		}
	}
}
