// Package config makes the one struct that says how a server runs, out of four layers:
// defaults, a YAML file (--config FILE), the environment (PEDIGREE_*), flags. The later
// layer wins, value by value.
//
// It owns the names, texts, defaults and checks of the settings, and where each value
// came from. One table (setting.go) feeds the flags, the file, the environment and
// "pedigree config", so that they can't differ: a setting "log-level" is the flag
// --log-level, the key log-level and the variable PEDIGREE_LOG_LEVEL, and one parser
// reads all three. A key that the file has and the table has not is refused.
//
// It must never open a database, listen, or print a secret: [Setting.Value] is masked.
//
// Invariant: a [Config] that [Config.Complete] returned without error has no zero value
// left that means "default", and nothing in it contradicts anything else.
package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Config is everything that a server is told. The zero Config with a Data folder is a
// good server for one person.
type Config struct {
	// Addr is where to listen, host:port; port 0 is any free one. Zero: 127.0.0.1:5000.
	Addr string
	// Data is the folder of the registry. Zero: the user's data folder, see
	// [DefaultData].
	Data string
	// Database is a postgres:// URL or the path of a SQLite file. Zero: pedigree.db in
	// Data.
	Database string
	// Blobs is the folder of the stored bytes; all servers of one database share it.
	// Zero: blobs in Data.
	Blobs string
	// LogKey is the private key of the log, PRIVATE+KEY+…; a secret. Zero: see
	// LogKeyFile.
	LogKey string
	// LogKeyFile is the file that holds the private key. Zero, without LogKey: on SQLite
	// a file beside the database, made at the first start; PostgreSQL needs one of the
	// two.
	LogKeyFile string
	// LogOrigin is the name of a log that is made at the first start. Zero: "pedigree/"
	// and 16 random digits. It means nothing once there is a key, which has the name.
	LogOrigin string
	// AllowAnonymous lets Addr be reachable from other machines although this registry has
	// no accounts, and takes requests for any host name. It means nothing once there are
	// accounts; a server looks for them when it begins to listen.
	AllowAnonymous bool
	// PublicRead lets everybody who reaches the server read records and bytes of every
	// project, once there are accounts; all else takes a token.
	PublicRead bool
	// Secret encrypts what the database must keep and not know: the secrets of webhooks. All
	// servers of one database have the same. Zero: they are kept as they are.
	Secret string
	// WebhookAllow lists the networks and hosts that webhooks may go to beside public
	// addresses by https; see [pedigree.ParseReceivers]. Zero: none.
	WebhookAllow string
	// PublicURL is where others reach the server, without a slash at its end. Zero: links
	// in webhooks have no host.
	PublicURL string
	// CheckpointTo is a file that always holds a signed checkpoint of the log, at most
	// about a second old, for a place that somebody else keeps. Zero: none.
	CheckpointTo string
	// UpstreamMLflow is the URL of the MLflow server on which the runs are of clients that
	// have only their registry here: what they register is read from there. Zero: none.
	UpstreamMLflow string
	// UpstreamMLflowUser and UpstreamMLflowPassword, or UpstreamMLflowToken, are sent to
	// it; secrets. Zero: nothing is.
	UpstreamMLflowUser, UpstreamMLflowPassword, UpstreamMLflowToken string
	// ReadinessInterval is how often the stored bytes of what a rollback of a protected
	// target would restore are read and compared; all else about it is looked at whenever
	// something changes. Zero: 1 h.
	ReadinessInterval time.Duration
	// LogFormat is that of the server's own log: "text" or "json". Zero: text.
	LogFormat string
	// LogLevel is "debug", "info", "warn" or "error". Zero: info.
	LogLevel string
	// ShutdownTimeout is how long requests may take to finish once the server was told
	// to stop. Zero: 20 s.
	ShutdownTimeout time.Duration
	// MaxConnections is the most HTTP connections at a time; the others wait. Zero: 8192.
	MaxConnections int
	// DatabaseConnections is the most connections to the database for reading. Zero: 8.
	DatabaseConnections int
	// ReadHeaderTimeout is how long the head of a request may take. Zero: 10 s. There is
	// no limit on bodies: models are large, and lines are slow.
	ReadHeaderTimeout time.Duration
	// IdleTimeout is how long a connection may stay open between requests. Zero: 2 min.
	IdleTimeout time.Duration

	settings []Setting // where each value came from; nil for a Config made by hand
}

// The names of files in the data folder.
const (
	DatabaseFile = "pedigree.db"
	BlobFolder   = "blobs"
	KeyFile      = "log.key"
	// ServerFile holds URL and process of the server that runs on the folder.
	ServerFile = "server.json"
)

// Default returns the values of a server of which nothing was said, but for Data and
// what lies in it.
func Default() Config {
	return Config{
		Addr: "127.0.0.1:5000", LogFormat: "text", LogLevel: "info", ReadinessInterval: time.Hour,
		ShutdownTimeout: 20 * time.Second, MaxConnections: 8192, DatabaseConnections: 8,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}
}

// Complete returns c with every default filled in and every path made absolute, or
// [pedigree.CodeInvalid] for what can't be meant. Data must be set.
func (c Config) Complete() (Config, error) {
	d := Default()
	fill(&c.Addr, d.Addr)
	fill(&c.ReadinessInterval, d.ReadinessInterval)
	fill(&c.LogFormat, d.LogFormat)
	fill(&c.LogLevel, d.LogLevel)
	fill(&c.ShutdownTimeout, d.ShutdownTimeout)
	fill(&c.MaxConnections, d.MaxConnections)
	fill(&c.DatabaseConnections, d.DatabaseConnections)
	fill(&c.ReadHeaderTimeout, d.ReadHeaderTimeout)
	fill(&c.IdleTimeout, d.IdleTimeout)
	if c.Data == "" {
		return Config{}, invalid("no data folder is set").WithFix("pass --data DIR")
	}
	fill(&c.Database, filepath.Join(c.Data, DatabaseFile))
	fill(&c.Blobs, filepath.Join(c.Data, BlobFolder))
	if err := c.check(); err != nil {
		return Config{}, err
	}
	paths := []*string{&c.Data, &c.Blobs, &c.LogKeyFile, &c.CheckpointTo}
	if !c.Postgres() {
		paths = append(paths, &c.Database)
		if c.LogKey == "" && c.LogKeyFile == "" {
			c.LogKeyFile = c.keyFile()
		}
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return Config{}, invalid("%s: %w", *p, err)
		}
		*p = abs
	}
	return c, nil
}

func fill[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func invalid(format string, args ...any) *pedigree.Error {
	return pedigree.Errorf(pedigree.CodeInvalid, format, args...)
}

// Postgres says that the database is PostgreSQL, and not a SQLite file.
func (c *Config) Postgres() bool {
	return strings.HasPrefix(c.Database, "postgres://") || strings.HasPrefix(c.Database, "postgresql://")
}

// keyFile is where the key of a SQLite registry lies: log.key in the data folder, and
// beside a database elsewhere a name of its own, since two logs must not share a key.
func (c *Config) keyFile() string {
	if c.Database == filepath.Join(c.Data, DatabaseFile) {
		return filepath.Join(c.Data, KeyFile)
	}
	return c.Database + "." + KeyFile
}

// Loopback says that only this machine reaches Addr.
func (c *Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// check refuses what can't be meant.
func (c *Config) check() error {
	if err := c.checkAddr(); err != nil {
		return err
	}
	switch {
	case !c.Postgres() && strings.Contains(c.Database, "://"):
		return invalid("database %s is neither a file nor a postgres:// URL", MaskURL(c.Database)).
			WithFix("write a path for SQLite, or postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	case !c.Postgres() && (strings.Contains(c.Database, "host=") || strings.Contains(c.Database, "dbname=")):
		return invalid("database: settings of the form host=… are not read here").
			WithFix("write postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	case c.LogKey != "" && c.LogKeyFile != "":
		return invalid("both log-key and log-key-file are set: which one is meant?").WithFix("unset one of them")
	case c.LogOrigin != "" && strings.ContainsAny(c.LogOrigin, " \t\r\n+"):
		return invalid("log-origin %q has white space or a plus sign", c.LogOrigin).WithFix("write a name such as models.example.org/log")
	case strings.Contains(c.CheckpointTo, "://"):
		return invalid("checkpoint-to %s: checkpoints are published to a file, not to a URL", MaskURL(c.CheckpointTo)).
			WithFix("name a file, and let your own tool carry it on")
	case c.PublicURL != "" && !isWebURL(c.PublicURL):
		return invalid("public-url %s is not the address of a server", MaskURL(c.PublicURL)).WithFix("write https://models.example.org, without a slash at its end")
	case c.LogFormat != "text" && c.LogFormat != "json":
		return invalid("log-format %q: want text or json", c.LogFormat)
	case c.MaxConnections < 0:
		return invalid("max-connections %d: want a number above 0", c.MaxConnections)
	case c.DatabaseConnections < 0 || c.DatabaseConnections > 10_000:
		return invalid("database-connections %d: want a number from 1 to 10000", c.DatabaseConnections)
	}
	if _, err := pedigree.ParseReceivers(c.WebhookAllow); err != nil {
		return invalid("webhook-allow: %w", err).WithFix("write networks and hosts with commas between them: 10.0.0.0/8,ci.internal")
	}
	if _, ok := levels[c.LogLevel]; !ok {
		return invalid("log-level %q: want debug, info, warn or error", c.LogLevel)
	}
	for name, d := range map[string]time.Duration{
		"readiness-interval": c.ReadinessInterval, "shutdown-timeout": c.ShutdownTimeout, "read-header-timeout": c.ReadHeaderTimeout, "idle-timeout": c.IdleTimeout,
	} {
		if d < 0 {
			return invalid("%s %s is negative", name, d).WithFix("write a duration such as 20s or 2m")
		}
	}
	return nil
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && !strings.HasSuffix(text, "/")
}

func (c *Config) checkAddr() error {
	_, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return invalid("addr %q is not host:port", c.Addr).WithFix("write 127.0.0.1:5000, or [::1]:5000")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return invalid("addr %q: the port is %q, want a number from 0 to 65535", c.Addr, port)
	}
	return nil
}

// MaskURL returns a URL without the secrets that it may hold: the password, and
// parameters that carry one. A text that is not a URL comes back as it is, unless it
// looks like one.
func MaskURL(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		scheme, _, _ := strings.Cut(text, "://")
		return scheme + "://…" // unreadable, and perhaps with a password
	}
	q := u.Query()
	for name := range q {
		if strings.Contains(strings.ToLower(name), "password") || strings.Contains(strings.ToLower(name), "secret") {
			q.Set(name, "xxxxx")
		}
	}
	u.RawQuery = q.Encode()
	return u.Redacted()
}
