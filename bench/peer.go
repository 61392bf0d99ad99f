package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers by which MLflow's tables are filled
	_ "modernc.org/sqlite"
)

// peerRelease is the release of MLflow to measure beside.
const peerRelease = "3.17.2"

// findPeer returns a Python that has MLflow and its PostgreSQL driver, or says how to
// install them.
func findPeer(ctx context.Context, python string) (string, error) {
	home := "mlflow"
	if dir, err := os.UserCacheDir(); err == nil {
		home = filepath.Join(dir, "pedigree-bench", "mlflow")
	}
	if python == "" {
		python = filepath.Join(home, "bin", "python")
	}
	out, err := exec.CommandContext(ctx, python, "-c", "import mlflow.version, psycopg2; print(mlflow.version.VERSION)").Output()
	if err != nil {
		return "", fmt.Errorf(`%s does not run MLflow: %w
Install it:
    python3 -m venv %s
    %s install 'mlflow==%s' 'sqlalchemy<2.1' psycopg2-binary
or name a Python that has both: -mlflow PYTHON`, python, err, home, filepath.Join(home, "bin", "pip"), peerRelease)
	}
	if have := strings.TrimSpace(string(out)); have != peerRelease {
		return "", fmt.Errorf("%s has MLflow %s; the figures are beside %s", python, have, peerRelease)
	}
	return filepath.Abs(python)
}

// setting is one way to run MLflow's server.
type setting struct {
	name  string
	flags []string
	env   []string
}

// settings are its defaults, and what serves most: one worker a core, and no processes
// for jobs.
func settings() []setting {
	return []setting{
		{name: "MLflow, defaults"},
		{name: "MLflow, best", flags: []string{"--workers", strconv.Itoa(runtime.NumCPU())}, env: []string{"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"}},
	}
}

// peer is a database of MLflow, and the server that runs on it.
type peer struct {
	*process
	python string
	dir    string
	store  string // URI of the database, as MLflow takes it
	driver string // and how database/sql opens it
	dsn    string
	drop   func() error
	starts int
}

// newPeer makes an empty database with MLflow's tables.
func (b *bench) newPeer(ctx context.Context, database string) (_ *peer, err error) {
	dir, err := os.MkdirTemp(b.work, "mlflow")
	if err != nil {
		return nil, err
	}
	p := &peer{python: b.python, dir: dir, drop: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	file := filepath.Join(dir, "mlflow.db")
	p.store, p.driver, p.dsn = "sqlite:///"+file, "sqlite", "file:"+file
	if database == "postgres" {
		cluster, err := b.cluster(ctx)
		if err != nil {
			return nil, err
		}
		name, dsn, err := cluster.create(ctx)
		if err != nil {
			return nil, err
		}
		p.drop = func() error { return cluster.drop(context.WithoutCancel(ctx), name) }
		p.store, p.driver, p.dsn = strings.Replace(dsn, "postgres://", "postgresql://", 1), "pgx", dsn
	}
	if err := p.restart(ctx, settings()[1]); err != nil { // it makes its tables
		return nil, err
	}
	return p, p.end()
}

// restart stops the server where it runs, and starts it with a setting.
func (p *peer) restart(ctx context.Context, s setting) error {
	if err := p.end(); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	args := append([]string{
		"-m", "mlflow", "server", "--host", "127.0.0.1", "--port", strconv.Itoa(port),
		"--backend-store-uri", p.store, "--artifacts-destination", filepath.Join(p.dir, "artifacts"),
	}, s.flags...)
	cmd := exec.CommandContext(ctx, p.python, args...)
	cmd.Dir = p.dir
	cmd.Env = peerEnv(p.python, p.dir, s.env...)
	p.starts++
	p.process, err = launch(ctx, cmd, filepath.Join(p.dir, fmt.Sprintf("server-%d.log", p.starts)), fmt.Sprintf("http://127.0.0.1:%d", port), "/health")
	return err
}

// peerEnv is the environment of an MLflow process: none of the caller's settings, and no
// calls home.
func peerEnv(python, home string, more ...string) []string {
	env := []string{
		"HOME=" + home, "PATH=" + filepath.Dir(python) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true", "GIT_PYTHON_REFRESH=quiet", "PYTHONWARNINGS=ignore",
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !strings.HasPrefix(name, "MLFLOW_") && name != "HOME" && name != "PATH" {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// end stops the server and its workers. How it takes leave is its own affair.
func (p *peer) end() error {
	if p.process != nil {
		_ = p.stop()
		p.process = nil
	}
	return nil
}

func (p *peer) remove() error {
	return errors.Join(p.end(), p.drop(), os.RemoveAll(p.dir))
}

// seed writes n versions into MLflow's tables: by its API, 100 thousand would take half
// an hour. They are those of [seedWire].
func (p *peer) seed(ctx context.Context, n int) error {
	db, err := sql.Open(p.driver, p.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	begin := time.Now().Add(-time.Duration(n) * time.Second).UnixMilli()
	models := &rowsOf{table: "registered_models", columns: []string{"name", "creation_time", "last_updated_time", "workspace"}}
	aliases := &rowsOf{table: "registered_model_aliases", columns: []string{"name", "alias", "version", "workspace"}}
	versions := &rowsOf{table: "model_versions", columns: []string{"name", "version", "creation_time", "last_updated_time", "current_stage", "source", "status", "storage_location", "workspace"}}
	tags := &rowsOf{table: "model_version_tags", columns: []string{"name", "version", "key", "value", "workspace"}}
	for i := range seedModels {
		name := string(seedModel(i))
		models.add(name, begin, begin, workspace)
		aliases.add(name, "champion", 1, workspace)
	}
	for i := range n {
		name, number, at := string(seedModel(i)), i/seedModels+1, begin+int64(i)*1000
		versions.add(name, number, at, at, "None", wireSource, "READY", wireSource, workspace)
		for _, t := range wireTags(i) {
			tags.add(name, number, t.Key, t.Value, workspace)
		}
	}
	for _, rows := range []*rowsOf{models, versions, aliases, tags} {
		if err := rows.insert(ctx, tx); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "ANALYZE") // as a database that has lived for a while
	return err
}

// workspace is the one that all rows are in.
const workspace = "default"

// rowsOf are rows for a table.
type rowsOf struct {
	table   string
	columns []string
	values  []any
}

func (r *rowsOf) add(values ...any) { r.values = append(r.values, values...) }

// insert writes the rows, some hundred a statement.
func (r *rowsOf) insert(ctx context.Context, tx *sql.Tx) error {
	width := len(r.columns)
	for left := r.values; len(left) > 0; {
		n := min(len(left)/width, 500)
		var text strings.Builder
		fmt.Fprintf(&text, "INSERT INTO %s (%s) VALUES ", r.table, strings.Join(r.columns, ", "))
		for i := range n * width {
			switch {
			case i == 0:
				text.WriteString("(")
			case i%width == 0:
				text.WriteString("), (")
			default:
				text.WriteString(", ")
			}
			fmt.Fprintf(&text, "$%d", i+1)
		}
		text.WriteString(")")
		if _, err := tx.ExecContext(ctx, text.String(), left[:n*width]...); err != nil {
			return fmt.Errorf("fill %s: %w", r.table, err)
		}
		left = left[n*width:]
	}
	return nil
}
