package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is the tables of one run.
type report struct {
	command string
	began   time.Time
	load    string // of the machine when the run began
	tables  []*table
}

// table is one measurement. The rows of all databases and sizes go into one.
type table struct {
	title   string
	note    string // how to read it
	columns []string
	rows    [][]string
}

func newReport(args []string) *report {
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	words := append([]string{"go run ./bench"}, args...)
	for i, w := range words {
		if strings.Contains(w, "://") { // may hold a password, and names a machine
			words[i] = "URL"
		}
		if strings.HasPrefix(w, "/") {
			words[i] = filepath.Base(w)
		}
	}
	return &report{command: strings.Join(words, " "), began: time.Now(), load: load}
}

// table returns the table with a title, a new one at its first use.
func (r *report) table(title, note string, columns ...string) *table {
	for _, t := range r.tables {
		if t.title == title {
			return t
		}
	}
	t := &table{title: title, note: note, columns: columns}
	r.tables = append(r.tables, t)
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// markdown writes all tables. Each says how it came about, since tables are quoted
// alone.
func (r *report) markdown() string {
	var b strings.Builder
	for i, t := range r.tables {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "### %s\n\n", t.title)
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(t.columns, " | "), strings.Repeat("---|", len(t.columns)))
		for _, row := range t.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
		fmt.Fprintf(&b, "\n%s\n\n`%s`, %s, %s/%s, %d cores, load %s at the start, %s.\n", t.note, r.command,
			runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), r.load, r.began.UTC().Format("2006-01-02 15:04 UTC"))
	}
	return b.String()
}

// markers are what the tables of one place of the page stand between.
func markers(place string) (begin, end string) {
	return "<!-- " + place + ":begin -->", "<!-- " + place + ":end -->"
}

// update puts text into a place of docs/benchmarks.md of the module.
func update(ctx context.Context, place, text string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	name := filepath.Join(strings.TrimSpace(string(root)), "docs", "benchmarks.md")
	page, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	changed, err := insert(string(page), place, text)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return os.WriteFile(name, []byte(changed), 0o644)
}

// insert replaces what stands between the markers of a place of page.
func insert(page, place, text string) (string, error) {
	begin, end := markers(place)
	before, rest, ok := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("the markers %s and %s are not there", begin, end)
	}
	return before + begin + "\n" + text + end + after, nil
}

// median is the middle of values, the mean of the middle two where their number is even,
// and 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	m := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[m-1] + sorted[m]) / 2
	}
	return sorted[m]
}

// percentile is the least of sorted values that is not below p percent of them (nearest
// rank), and 0 of none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p / 100 * float64(len(sorted)))
	if float64(rank) < p/100*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// spread is "median (least to greatest)".
func spread(values []float64, format func(float64) string) string {
	if len(values) < 2 {
		return format(median(values))
	}
	return fmt.Sprintf("%s (%s to %s)", format(median(values)), format(slices.Min(values)), format(slices.Max(values)))
}

// figure writes a number with three significant digits, and whole from 100 up.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func milliseconds(d time.Duration) string { return figure(float64(d)/1e6) + " ms" }

func mebibytes(bytes int64) string { return figure(float64(bytes)/(1<<20)) + " MiB" }
