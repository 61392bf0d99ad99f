package pgtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
)

// watch waits for its standard input to close, then stops the cluster and removes the
// folder. $1 is the folder, $2 pg_ctl; the rest is how to become the cluster's owner.
const watch = `trap '' INT TERM HUP
dir=$1; ctl=$2; shift 2
cat >/dev/null
cd / && "$@" "$ctl" -D "$dir/data" -m immediate stop
rm -rf "$dir"`

// startCluster makes and starts a cluster and returns the URL of its maintenance
// database. It returns *errMissing where there is no PostgreSQL.
func startCluster() (string, error) {
	initdb, ctl, err := binaries()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return "", err
	}
	as, err := owner(dir)
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	// From here on the watcher removes the folder, whatever happens.
	if err := startWatcher(dir, ctl, as); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	data := filepath.Join(dir, "data")
	if err := run(dir, as, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		return "", err
	}
	// The port is free when it is chosen; somebody may be faster, so try again.
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			return "", err
		}
		options := fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300", port, dir)
		if err = run(dir, as, ctl, "-D", data, "-w", "-t", "60", "-l", filepath.Join(dir, "log"), "-o", options, "start"); err == nil {
			return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port), nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	return "", fmt.Errorf("%w\n%s", err, log)
}

// binaries finds initdb and pg_ctl on the PATH, or where Debian keeps them: newest
// version first.
func binaries() (initdb, ctl string, err error) {
	if runtime.GOOS == "windows" {
		return "", "", &errMissing{"tests start no PostgreSQL of their own on Windows"}
	}
	initdb, err = exec.LookPath("initdb")
	if ctl, ctlErr := exec.LookPath("pg_ctl"); err == nil && ctlErr == nil {
		return initdb, ctl, nil
	}
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	version := func(i int) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(folders[i])))
		return n
	}
	sort.Slice(folders, func(i, j int) bool { return version(i) > version(j) })
	for _, folder := range folders {
		initdb, ctl = filepath.Join(folder, "initdb"), filepath.Join(folder, "pg_ctl")
		if executable(initdb) && executable(ctl) {
			return initdb, ctl, nil
		}
	}
	return "", "", &errMissing{"PostgreSQL's initdb and pg_ctl are not on the PATH"}
}

func executable(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// owner gives dir to the user who shall run the cluster, and returns the words that
// run a command as that user; none for ourselves.
func owner(dir string) ([]string, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, &errMissing{`PostgreSQL does not run as root, and there is no user "postgres"`}
	}
	runuser, err := exec.LookPath("runuser")
	if err != nil {
		return nil, &errMissing{"PostgreSQL does not run as root, and there is no runuser"}
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return []string{runuser, "-u", "postgres", "--"}, os.Chown(dir, uid, gid)
}

func startWatcher(dir, ctl string, as []string) error {
	if len(as) == 0 {
		as = []string{"env"}
	}
	cmd := exec.Command("sh", append([]string{"-c", watch, "pgtest", dir, ctl}, as...)...)
	// Never closed by us: the system does it when this process ends. The watcher's output
	// goes nowhere, or "go test" would wait for the watcher to let go of it.
	leash, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the watcher of the test cluster: %w", err)
	}
	go func() {
		_ = cmd.Wait()
		runtime.KeepAlive(leash) // or it would be collected as garbage, and so closed
	}()
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run runs one command as the cluster's owner. Its output goes to a file, since the
// server that pg_ctl starts inherits it and would keep a pipe open.
func run(dir string, as []string, name string, args ...string) error {
	words := append(append([]string{}, as...), name)
	words = append(words, args...)
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, said)
	}
	return nil
}
