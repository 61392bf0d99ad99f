package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// cluster is a PostgreSQL on which databases are made: the caller's, or one of our own
// with the settings that initdb gives it, fsync among them.
type cluster struct {
	url  string       // of a database to connect to first
	made int          // databases so far
	end  func() error // of our own cluster; nil for the caller's
}

// startCluster makes and starts a cluster in a folder of its own below parent.
func startCluster(ctx context.Context, parent string) (*cluster, error) {
	initdb, ctl, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "pedigree-bench-postgres")
	if err != nil {
		return nil, err
	}
	as := []string{"env"} // the words that run a command as the cluster's owner
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		as = []string{"runuser", "-u", "postgres", "--"}
	}
	data, log := filepath.Join(dir, "data"), filepath.Join(dir, "log")
	do := func(ctx context.Context, name string, args ...string) error {
		words := append(append(as[:len(as):len(as)], name, "-D", data), args...)
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Dir = dir
		if err := cmd.Run(); err != nil { // its output is not taken: the server would keep the pipe open
			said, _ := os.ReadFile(log)
			return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, said)
		}
		return nil
	}
	port, err := freePort()
	if err == nil {
		err = do(ctx, initdb, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
	}
	if err == nil {
		err = do(ctx, ctl, "-w", "-l", log, "-o", fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1", port, dir), "start")
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &cluster{
		url: fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port),
		end: func() error {
			return errors.Join(do(context.Background(), ctl, "-m", "immediate", "stop"), os.RemoveAll(dir))
		},
	}, nil
}

// postgresPrograms finds initdb and pg_ctl on the PATH, or where Debian keeps them.
func postgresPrograms() (initdb, ctl string, err error) {
	initdb, err = exec.LookPath("initdb")
	if ctl, ctlErr := exec.LookPath("pg_ctl"); err == nil && ctlErr == nil {
		return initdb, ctl, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", "", errors.New("there is no initdb: install PostgreSQL, or pass -postgres URL, or -database sqlite")
	}
	initdb = found[len(found)-1]
	return initdb, filepath.Join(filepath.Dir(initdb), "pg_ctl"), nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// stop ends a cluster of our own.
func (c *cluster) stop() error {
	if c == nil || c.end == nil {
		return nil
	}
	return c.end()
}

// exec runs one statement outside of any registry.
func (c *cluster) exec(ctx context.Context, statement string) error {
	db, err := pgx.Connect(ctx, c.url)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(ctx) }()
	_, err = db.Exec(ctx, statement)
	return err
}

// create makes an empty database and returns its name and URL.
func (c *cluster) create(ctx context.Context) (name, dsn string, err error) {
	u, err := url.Parse(c.url)
	if err != nil {
		return "", "", errors.New("-postgres is not a URL") // it may hold a password
	}
	c.made++
	name = fmt.Sprintf("pedigree_bench_%d_%d", os.Getpid(), c.made)
	u.Path = "/" + name
	return name, u.String(), c.exec(ctx, "CREATE DATABASE "+name)
}

// drop drops a database that create made, whoever is connected.
func (c *cluster) drop(ctx context.Context, name string) error {
	return c.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
}

// cluster returns the PostgreSQL to make databases on, and starts one where the caller
// named none.
func (b *bench) cluster(ctx context.Context) (_ *cluster, err error) {
	if b.pg == nil && b.postgres != "" {
		b.pg = &cluster{url: b.postgres}
	} else if b.pg == nil {
		b.say("starting a PostgreSQL")
		b.pg, err = startCluster(ctx, b.dir)
	}
	return b.pg, err
}
