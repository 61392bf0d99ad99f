package capture

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestCapture looks at the real machine, with nothing else to look at.
func TestCapture(t *testing.T) {
	got := Capture(context.Background(), Options{})
	attachments(t, got)
	rec := got.Record
	if rec.Code != nil || rec.Run == nil || rec.Run.System != "local" || rec.Runtime == nil || rec.Runtime.Environment != nil {
		t.Errorf("record %+v of an empty environment", rec)
	}
	if c := rec.Runtime.Compute; c.OS != runtime.GOOS || c.Cores < 1 || runtime.GOOS == "linux" && c.Memory <= 0 {
		t.Errorf("compute %+v", c)
	}
	wantNote(t, got, "code version is not recorded; use --code REPO@COMMIT")
	wantNote(t, got, "packages are not recorded")
}

func TestAttached(t *testing.T) {
	tests := []struct {
		name     string
		evidence []pedigree.Evidence
		want     string // the first note
	}{
		{"nothing", nil, ""},
		{"patch", []pedigree.Evidence{{Name: PatchName, Kind: "patch"}}, "attached: capture/changes.patch (3 B); --no-diff leaves it out"},
		{"lock file", []pedigree.Evidence{{Name: "capture/uv.lock", Kind: "environment"}}, "attached: capture/uv.lock (3 B)"},
		{
			"both",
			[]pedigree.Evidence{{Name: PatchName, Kind: "patch"}, {Name: "capture/uv.lock", Kind: "environment"}},
			"attached: capture/changes.patch (3 B), capture/uv.lock (3 B); --no-diff leaves out all but the lock file",
		},
		{
			"patch and notebook",
			[]pedigree.Evidence{{Name: PatchName, Kind: "patch"}, {Name: "capture/nb/a.ipynb", Kind: "notebook"}},
			"attached: capture/changes.patch (3 B), capture/nb/a.ipynb (3 B); --no-diff leaves them out",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &capturer{left: pedigree.MaxEvidence}
			for _, e := range tt.evidence {
				c.attach(e, []byte("abc"))
			}
			c.announce()
			if got := strings.Join(c.result.Notes, "\n"); got != tt.want {
				t.Errorf("notes %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAttachNames(t *testing.T) {
	c := &capturer{left: pedigree.MaxEvidence}
	for _, name := range []string{"capture/nb/con.py", "capture/nb/a:b.py", "capture/nb/../x.py"} {
		c.attach(pedigree.Evidence{Name: name, Kind: "notebook"}, []byte("x"))
	}
	if len(c.result.Attachments) != 0 || len(c.result.Notes) != 3 {
		t.Errorf("attached %v with notes %q, want none and a note each", c.result.Attachments, c.result.Notes)
	}
}

func TestSummary(t *testing.T) {
	many := slices.Repeat([]string{"x"}, 10)
	if got, want := summary(many), strings.Join(many[:8], ", ")+" and 2 more"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
}

func TestSize(t *testing.T) {
	tests := []struct {
		n    int64
		want string
	}{{0, "0 B"}, {999, "999 B"}, {3210, "3.2 kB"}, {1 << 20, "1.0 MB"}}
	for _, tt := range tests {
		if got := size(tt.n); got != tt.want {
			t.Errorf("size(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}
