package registrar_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// registry is a registrar over a real store, with what the tests need beside it.
type registry struct {
	*registrar.Registrar
	store *sqlstore.Store
	blobs blob.Store
	key   string
}

// testKey signs the logs of these tests.
var testKey = func() string {
	key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
	if err != nil {
		panic(err)
	}
	return key
}()

func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return prefix + "_" + hex.EncodeToString(b[:])
}

func mustOpen(t testing.TB, database string) *registry {
	t.Helper()
	return mustOpenWith(t, database, testKey, blob.NewMemory())
}

// mustOpenBlobs opens a registry over a blob store of the test's.
func mustOpenBlobs(t testing.TB, database string, blobs blob.Store) *registry {
	t.Helper()
	return mustOpenWith(t, database, testKey, blobs)
}

// mustDamage flips a byte of a stored blob.
func mustDamage(t *testing.T, dir string, d pedigree.Digest) {
	t.Helper()
	name := filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex())
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[0] ^= 1
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o400); err != nil {
		t.Fatal(err)
	}
}

func mustOpenWith(t testing.TB, database, key string, blobs blob.Store) *registry {
	t.Helper()
	return mustOpenConfig(t, database, key, registrar.Config{Blobs: blobs})
}

// mustOpenClock opens a registry with a clock of the test's.
func mustOpenClock(t testing.TB, database string, now func() time.Time) *registry {
	t.Helper()
	return mustOpenConfig(t, database, testKey, registrar.Config{Now: now})
}

// mustOpenConfig opens a registry of which cfg says what a test wants otherwise.
func mustOpenConfig(t testing.TB, database, key string, cfg registrar.Config) *registry {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	store, err := sqlstore.Open(context.Background(), sqlstore.Config{Database: database, Now: cfg.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	cfg.Store, cfg.Rand = store, rand.Reader
	if cfg.NewID == nil {
		cfg.NewID = newID
	}
	cfg.Signer = func() (*ledger.Signer, error) { return ledger.NewSigner(key) }
	if cfg.Blobs == nil {
		cfg.Blobs = blob.NewMemory()
	}
	r, err := registrar.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &registry{Registrar: r, store: store, blobs: cfg.Blobs, key: key}
}

// eachDatabase runs a test on SQLite and on PostgreSQL.
func eachDatabase(t *testing.T, f func(t *testing.T, database string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "pedigree.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, pgtest.Database(t)) })
}

var me = pedigree.Local

func TestSmoke(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		size := int64(9)
		out, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{
			CreateModel: true,
			Record: pedigree.Record{
				Owner: "team:risk", Metrics: []pedigree.Metric{{Name: "auc", Value: 0.93}},
				Params: pedigree.Params{"depth": "6"},
				Data:   []pedigree.DataReference{{Role: "train", Kind: pedigree.DataSnapshot, URI: "s3://lake/tx", Size: &size}},
			},
			Tags: map[string]string{"team": "risk"}, Aliases: []pedigree.Alias{"candidate"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if out.Number != 1 || !out.CreatedModel {
			t.Fatalf("got version %d, created %v", out.Number, out.CreatedModel)
		}
		v, err := r.Version(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Alias: "candidate"}, pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		if v.RecordDigest != out.RecordDigest || v.Tags["team"] != "risk" || len(v.Aliases) != 1 {
			t.Fatalf("got %+v", v)
		}
		for _, filter := range []string{
			"tags.team = 'risk'", "metrics.auc > 0.9", "metrics.auc > 0.9 AND tags.team = 'risk'", "NOT tags.x = 'y'", "alias = 'candidate'",
			"data.train.uri LIKE 's3://%'", "owner ILIKE 'TEAM:%'", "params.depth IN ('6', '7')", "created_at > '-1h'", "created_by = 'local'", "complete = 4",
			"model = 'fraud'", "version = 1", "owner IS NOT NULL", "target IS NULL", "project = 'default'", "archived = false",
		} {
			for _, order := range []string{"", "metrics.auc DESC", "version", "model, created_at DESC", "params.depth"} {
				list, err := r.Search(ctx, me, "default", filter, order, pedigree.Page{}, pedigree.At{})
				if err != nil {
					t.Errorf("%s order %s: %v", filter, order, err)
				} else if len(list.Items) != 1 {
					t.Errorf("%s order %s: got %d", filter, order, len(list.Items))
				}
			}
		}
		if _, err := r.Checkpoint(ctx, me); err != nil {
			t.Fatal(err)
		}
		if err := r.Rebuild(ctx, me, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEntriesOfModel: the log of a model has what happened to its versions, and nothing
// of another model whose id begins alike.
func TestEntriesOfModel(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		for _, name := range []pedigree.Name{"fraud", "churn", "fraud"} {
			if _, err := r.Register(ctx, me, "default", name, pedigree.Registration{CreateModel: true, Aliases: []pedigree.Alias{"a"}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, row := range []struct {
			ref  pedigree.Reference
			want []pedigree.EventType
		}{
			{pedigree.Reference{Project: "default", Model: "fraud"}, []pedigree.EventType{"model.created", "version.registered", "alias.moved", "version.registered", "alias.moved"}},
			{pedigree.Reference{Project: "default", Model: "fraud", Version: 2}, []pedigree.EventType{"version.registered", "alias.moved"}},
		} {
			subject, err := r.Subject(ctx, me, row.ref, pedigree.At{})
			if err != nil {
				t.Fatal(err)
			}
			list, err := r.Entries(ctx, me, pedigree.EventQuery{Subject: subject, After: -1})
			if err != nil {
				t.Fatal(err)
			}
			var got []pedigree.EventType
			for i := range list.Items {
				e, err := list.Items[i].Event()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Type)
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("%s: got %v, want %v", row.ref, got, row.want)
			}
		}
	})
}

// TestChangedAsOf: the state of a model as of the last event is its state now.
func TestChangedAsOf(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		out, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{CreateModel: true, Aliases: []pedigree.Alias{"a"}})
		if err != nil {
			t.Fatal(err)
		}
		head, err := r.store.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		last := head - 1
		for _, at := range []pedigree.At{{}, {Seq: &last}} {
			m, err := r.Model(ctx, me, "default", "fraud", at)
			if err != nil {
				t.Fatal(err)
			}
			if want := out.Seq - 1; m.Changed != want {
				t.Errorf("as of %q: changed is %d, want %d: an alias does not change the model", at, m.Changed, want)
			}
		}
	})
}

// TestImportedNumbers: an import keeps the numbers that versions had, as long as they go
// up; the next registration goes on above them.
func TestImportedNumbers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		register := func(n pedigree.VersionNumber) (pedigree.Registered, error) {
			reg := pedigree.Registration{CreateModel: true, Number: n, Aliases: []pedigree.Alias{"champion"}}
			if n != 0 {
				reg.Imported = &pedigree.Imported{From: "http://old.example.org", ID: "fraud/" + n.String()}
			}
			return r.Register(ctx, me, "default", "fraud", reg)
		}
		for _, tt := range []struct {
			ask, want pedigree.VersionNumber
			code      pedigree.ErrorCode
		}{{3, 3, ""}, {3, 0, pedigree.CodeExists}, {1, 0, pedigree.CodeExists}, {7, 7, ""}, {0, 8, ""}, {8, 0, pedigree.CodeExists}, {9, 9, ""}} {
			got, err := register(tt.ask)
			if pedigree.CodeOf(err) != tt.code || got.Number != tt.want {
				t.Errorf("asked for %d: got %d, %v, want %d", tt.ask, got.Number, err, tt.want)
			}
			if tt.code != "" {
				continue
			}
			found, err := r.Resolve(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Alias: "champion"}, pedigree.At{})
			if err != nil || found.Number != tt.want {
				t.Errorf("the alias names %d, %v, want %d", found.Number, err, tt.want)
			}
		}
		list, err := r.Search(ctx, me, "default", "imported.id = 'fraud/7'", "", pedigree.Page{}, pedigree.At{})
		if err != nil || len(list.Items) != 1 || list.Items[0].Number != 7 {
			t.Errorf("search: %+v, %v", list.Items, err)
		}
	})
}

// TestPagesOfOneModel: the pages of a search for one model follow each other in every order
// of time, which is found by number there.
func TestPagesOfOneModel(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		for _, name := range []string{"fraud", "churn"} {
			for range 5 {
				if _, err := r.Register(ctx, me, "default", pedigree.Name(name), pedigree.Registration{CreateModel: true}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for order, want := range map[string]string{
			"": "5 4 3 2 1 ", "created_at DESC": "5 4 3 2 1 ", "created_at": "1 2 3 4 5 ", "updated_at": "1 2 3 4 5 ",
		} {
			got, page := "", pedigree.Page{Limit: 2}
			for {
				list, err := r.Search(ctx, me, "default", "model = 'fraud'", order, page, now)
				if err != nil {
					t.Fatalf("order %q after %q: %v", order, got, err)
				}
				for _, v := range list.Items {
					got += v.Number.String() + " "
				}
				if page.Cursor = list.Next; page.Cursor == "" {
					break
				}
			}
			if got != want {
				t.Errorf("order %q: got %s, want %s", order, got, want)
			}
		}
	})
}
