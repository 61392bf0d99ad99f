package config

import (
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// Setting is one setting as "pedigree config" shows it.
type Setting struct {
	// Name is the key in the file, and the flag without its dashes.
	Name string `json:"name"`
	// Value is the value in force, as text; secrets are masked, "" means unset.
	Value string `json:"value"`
	// Source is where it came from: "default", "file PATH", "environment NAME" or
	// "flag".
	Source string `json:"source"`
	// Variable is the environment variable.
	Variable string `json:"variable"`
	// Usage says what it is for.
	Usage string `json:"usage"`
}

// setting is a row of the table. bind makes the flag that holds the value; it is also
// what parses the texts of file and environment.
type setting struct {
	name, usage string
	bind        func(f *pflag.FlagSet, c *Config, name, usage string)
	// mask, where set, hides what is secret in a value.
	mask func(string) string
}

// secret shows no more of a value than that there is one.
func secret(v string) string {
	if v == "" {
		return ""
	}
	return "(secret)"
}

func text(at func(*Config) *string) func(*pflag.FlagSet, *Config, string, string) {
	return func(f *pflag.FlagSet, c *Config, name, usage string) {
		p := at(c)
		f.StringVar(p, name, *p, usage)
	}
}

func number(at func(*Config) *int) func(*pflag.FlagSet, *Config, string, string) {
	return func(f *pflag.FlagSet, c *Config, name, usage string) {
		p := at(c)
		f.IntVar(p, name, *p, usage)
	}
}

// settings is the table, in the order of help texts.
var settings = []setting{
	{name: "addr", usage: "address to listen on, `HOST:PORT`; port 0 is any free one", bind: text(func(c *Config) *string { return &c.Addr })},
	{name: "data", usage: "`FOLDER` of the registry (default: the user's data folder)", bind: text(func(c *Config) *string { return &c.Data })},
	{name: "database", usage: "postgres:// `URL`, or the path of a SQLite file (default: pedigree.db in the data folder)", bind: text(func(c *Config) *string { return &c.Database }), mask: MaskURL},
	{name: "blobs", usage: "`FOLDER` of the stored bytes; all servers of one database share it (default: blobs in the data folder)", bind: text(func(c *Config) *string { return &c.Blobs })},
	{
		name: "log-key", usage: "private `KEY` of the log; better in a file or the environment, since others may see a command line",
		bind: text(func(c *Config) *string { return &c.LogKey }),
		mask: secret,
	},
	{name: "log-key-file", usage: "`FILE` with the private key of the log (default on SQLite: log.key beside the database, made at the first start)", bind: text(func(c *Config) *string { return &c.LogKeyFile })},
	{name: "log-origin", usage: "`NAME` of a log that is made at the first start (default: random)", bind: text(func(c *Config) *string { return &c.LogOrigin })},
	{
		name: "allow-anonymous", usage: "let other machines reach a server that has no accounts",
		bind: func(f *pflag.FlagSet, c *Config, name, usage string) {
			f.BoolVar(&c.AllowAnonymous, name, c.AllowAnonymous, usage)
		},
	},
	{
		name: "public-read", usage: "where there are accounts, let everybody read records and bytes of every project without a token",
		bind: func(f *pflag.FlagSet, c *Config, name, usage string) {
			f.BoolVar(&c.PublicRead, name, c.PublicRead, usage)
		},
	},
	{
		name: "secret", usage: "`TEXT` that encrypts the secrets of webhooks in the database; the same on every server, and better in the environment",
		bind: text(func(c *Config) *string { return &c.Secret }),
		mask: secret,
	},
	{name: "webhook-allow", usage: "`LIST` of networks and hosts that webhooks may go to although they are private or without https: 10.0.0.0/8,ci.internal,*.svc", bind: text(func(c *Config) *string { return &c.WebhookAllow })},
	{name: "public-url", usage: "`URL` by which others reach this server, for the links in webhooks", bind: text(func(c *Config) *string { return &c.PublicURL }), mask: MaskURL},
	{name: "checkpoint-to", usage: "`FILE` that always holds a fresh signed checkpoint of the log", bind: text(func(c *Config) *string { return &c.CheckpointTo })},
	{name: "upstream-mlflow", usage: "`URL` of the MLflow server that has the runs of clients whose registry alone is here; nothing else is read", bind: text(func(c *Config) *string { return &c.UpstreamMLflow }), mask: MaskURL},
	{name: "upstream-mlflow-user", usage: "`USER` to sign in there", bind: text(func(c *Config) *string { return &c.UpstreamMLflowUser })},
	{name: "upstream-mlflow-password", usage: "`PASSWORD` of that user; better in a file or the environment, since others may see a command line", bind: text(func(c *Config) *string { return &c.UpstreamMLflowPassword }), mask: secret},
	{name: "upstream-mlflow-token", usage: "bearer `TOKEN` to sign in there, instead of a user", bind: text(func(c *Config) *string { return &c.UpstreamMLflowToken }), mask: secret},
	{
		name: "readiness-interval", usage: "how often the files of what a rollback of a protected target would restore are read and compared",
		bind: func(f *pflag.FlagSet, c *Config, name, usage string) {
			f.DurationVar(&c.ReadinessInterval, name, c.ReadinessInterval, usage)
		},
	},
	{name: "log-format", usage: "form of the server's own log: text or json", bind: text(func(c *Config) *string { return &c.LogFormat })},
	{name: "log-level", usage: "least level of the server's own log: debug, info, warn or error", bind: text(func(c *Config) *string { return &c.LogLevel })},
	{
		name: "shutdown-timeout", usage: "how long requests may take to finish when the server stops",
		bind: func(f *pflag.FlagSet, c *Config, name, usage string) {
			f.DurationVar(&c.ShutdownTimeout, name, c.ShutdownTimeout, usage)
		},
	},
	{name: "max-connections", usage: "most HTTP connections at a time; the others wait", bind: number(func(c *Config) *int { return &c.MaxConnections })},
	{name: "database-connections", usage: "most database connections for reading", bind: number(func(c *Config) *int { return &c.DatabaseConnections })},
	{
		name: "read-header-timeout", usage: "how long the head of a request may take",
		bind: func(f *pflag.FlagSet, c *Config, name, usage string) {
			f.DurationVar(&c.ReadHeaderTimeout, name, c.ReadHeaderTimeout, usage)
		},
	},
	{
		name: "idle-timeout", usage: "how long a connection may stay open between requests",
		bind: func(f *pflag.FlagSet, c *Config, name, usage string) {
			f.DurationVar(&c.IdleTimeout, name, c.IdleTimeout, usage)
		},
	},
}

// Variable is the name of the environment variable of a setting.
func Variable(name string) string {
	return "PEDIGREE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// Level is LogLevel for package slog.
func (c *Config) Level() slog.Level { return levels[c.LogLevel] }

// Settings returns every setting, its value in force and where that came from. It is
// empty for a Config that no [Loader] made.
func (c *Config) Settings() []Setting { return c.settings }
