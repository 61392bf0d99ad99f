package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pedigree-ml/pedigree"

// rule says what the code of a package, tests apart, may import.
type rule struct {
	// inside are packages of this module, relative to it; "." is the root.
	inside []string
	// never are packages of the standard library or others that it may not import.
	never []string
	// only, where not nil, are the packages from outside the standard library that it
	// may import; a prefix ending in "/" stands for all below it.
	only []string
}

// table is the import table of ARCHITECTURE.md.
var table = map[string]rule{
	".":                      {never: []string{"net/http", "database/sql", "os"}, only: []string{}},
	"client":                 {inside: []string{".", "internal/ledger"}, never: []string{"database/sql"}},
	"cmd/pedigree":           {inside: []string{"internal/cli"}},
	"pedigreetest":           {inside: []string{".", "client", "internal/config", "internal/server"}},
	"internal/archtest":      {},
	"internal/pgtest":        {},
	"internal/ledger":        {inside: []string{"."}, never: []string{"net/http", "database/sql", "os"}, only: []string{"golang.org/x/mod/"}},
	"internal/blob":          {inside: []string{"."}, never: []string{"net/http", "database/sql"}},
	"internal/blob/blobtest": {inside: []string{".", "internal/blob"}},
	"internal/capture":       {inside: []string{"."}, never: []string{"net/http", "database/sql"}},
	"internal/gate":          {inside: []string{"."}, never: []string{"net/http", "database/sql", "os"}, only: []string{"cel.dev/cel-go/"}},
	"internal/prediction":    {inside: []string{"."}, never: []string{"net/http", "database/sql", "os"}},
	"internal/score":         {inside: []string{".", "examples/breastcancer"}, never: []string{"net/http", "database/sql"}},
	"internal/link":          {inside: []string{"."}, never: []string{"database/sql"}},
	"internal/sqlstore":      {inside: []string{".", "internal/ledger"}, never: []string{"net/http"}},
	"internal/registrar":     {inside: []string{".", "internal/sqlstore", "internal/blob", "internal/ledger", "internal/gate", "internal/prediction"}, never: []string{"net/http", "database/sql"}},
	"internal/auth":          {inside: []string{".", "internal/registrar"}, never: []string{"database/sql"}},
	"internal/httpx":         {inside: []string{"."}, never: []string{"database/sql"}},
	"internal/notify":        {inside: []string{".", "internal/registrar"}, never: []string{"database/sql"}},
	"internal/httpapi":       {inside: []string{".", "internal/registrar", "internal/httpx", "internal/notify"}, never: []string{"database/sql"}},
	"internal/mlrecord":      {inside: []string{"."}, never: []string{"net/http", "database/sql", "os"}},
	"internal/upstream":      {inside: []string{".", "internal/mlrecord"}, never: []string{"database/sql", "os"}},
	"internal/mlflow":        {inside: []string{".", "internal/registrar", "internal/httpx", "internal/blob", "internal/mlrecord", "internal/notify", "internal/upstream"}, never: []string{"database/sql"}},
	"internal/importer":      {inside: []string{".", "client", "internal/mlrecord", "internal/upstream"}, never: []string{"net/http", "database/sql"}},
	"internal/config":        {inside: []string{"."}, never: []string{"net/http", "database/sql"}},
	"internal/server": {inside: []string{
		".", "internal/auth", "internal/blob", "internal/config", "internal/httpapi", "internal/httpx", "internal/ledger", "internal/mlflow", "internal/notify", "internal/registrar", "internal/sqlstore", "internal/upstream",
	}},
	"internal/cli": {inside: []string{
		".", "client", "internal/capture", "internal/config", "internal/importer", "internal/ledger", "internal/link", "internal/mlrecord", "internal/prediction", "internal/score",
		"internal/server", "internal/upstream", "examples/breastcancer",
	}, never: []string{"database/sql"}},
	"examples/breastcancer": {},
	"examples/verifylog":    {},
	"bench":                 {inside: []string{".", "client", "internal/blob", "internal/ledger", "internal/registrar", "internal/sqlstore", "internal/server", "internal/config"}},
}

// TestImports parses every file and compares its imports with the table.
func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "pedigree-quickstart") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(dir)
		seen[pkg] = true
		check(t, pkg, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{".", "client", "internal/sqlstore", "internal/registrar", "internal/ledger"} {
		if !seen[pkg] {
			t.Errorf("package %s has no files: the test looks in the wrong place", pkg)
		}
	}
}

func check(t *testing.T, pkg, file string) {
	t.Helper()
	r, ok := table[pkg]
	if !ok {
		t.Errorf("%s: package %s is not in the import table: give it a row, here and in ARCHITECTURE.md", file, pkg)
		return
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		if imported == module || strings.HasPrefix(imported, module+"/") {
			inside := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
			if inside == "" {
				inside = "."
			}
			if !slices.Contains(r.inside, inside) {
				t.Errorf("%s imports %s; the table allows %s only %v", file, inside, pkg, r.inside)
			}
			continue
		}
		if slices.Contains(r.never, imported) {
			t.Errorf("%s imports %s, which %s must never", file, imported, pkg)
		}
		if first, _, _ := strings.Cut(imported, "/"); r.only != nil && strings.Contains(first, ".") {
			if !slices.ContainsFunc(r.only, func(p string) bool { return strings.HasPrefix(imported, p) }) {
				t.Errorf("%s imports %s; %s may import from outside only %v", file, imported, pkg, r.only)
			}
		}
	}
}

// TestTableBites makes sure that a forbidden import is seen.
func TestTableBites(t *testing.T) {
	dir := t.TempDir()
	for name, row := range map[string]struct{ pkg, text string }{
		"database in the root":    {".", `import _ "database/sql"`},
		"module in the root":      {".", `import _ "golang.org/x/mod/semver"`},
		"store in a dialect":      {"internal/httpapi", `import _ "` + module + `/internal/sqlstore"`},
		"package outside a table": {"internal/utils", ""},
	} {
		file := path.Join(dir, strings.ReplaceAll(name, " ", "_")+".go")
		if err := os.WriteFile(file, []byte("package x\n"+row.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		inner := &testing.T{}
		check(inner, row.pkg, file)
		if !inner.Failed() {
			t.Errorf("%s: not seen", name)
		}
	}
}

// TestPackageComments makes sure that every package says what it is.
func TestPackageComments(t *testing.T) {
	for pkg := range table {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		documented, any := false, false
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			any = true
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || f.Doc != nil
		}
		if any && !documented {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}
