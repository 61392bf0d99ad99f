package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

func newServeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Serve runs the registry of the data folder for others: the API, and /healthz, /readyz
and /metrics for what watches it. A registry without accounts listens on this machine
only; pedigree admin init makes the first account, and --allow-anonymous does without.

Each setting is a flag, an environment variable (in brackets) or a line of the file that
--config names, as in "addr: 127.0.0.1:5000"; flags win over the environment, and that
over the file. pedigree config shows what is in force.

An interrupt (Ctrl-C, SIGTERM) lets the requests under way finish.`,
		Example: `  pedigree serve
  pedigree serve --addr 127.0.0.1:0 --data ./registry
  PEDIGREE_LOG_KEY_FILE=log.key pedigree serve --database postgres://pedigree@db.internal/pedigree`,
		Args: args(0, 0),
	}
	cmd.Flags().SortFlags = false
	loader := config.NewLoader(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.loadConfig(cmd, loader)
		if err != nil {
			return err
		}
		return a.serve(cmd.Context(), cfg)
	}
	return cmd
}

func (a *app) serve(ctx context.Context, cfg config.Config) error {
	srv, err := server.Open(ctx, cfg, newLogger(a.stderr, cfg))
	if err != nil {
		return err
	}
	if err := srv.Listen(ctx); err != nil {
		return errors.Join(err, srv.Close())
	}
	fmt.Fprintf(a.stderr, "pedigree is ready: %s (data %s, %s)\n", srv.URL(), srv.Data(), srv.Database())
	return errors.Join(srv.Serve(ctx), srv.Close())
}

// newLogger is the server's own log.
func newLogger(w io.Writer, cfg config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level()}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// loadConfig puts the layers of the configuration together, for a command with the flags
// of a loader. The global --data-dir means the same as --data.
func (a *app) loadConfig(cmd *cobra.Command, loader *config.Loader) (config.Config, error) {
	flags := cmd.Flags()
	if global := flags.Lookup("data-dir"); global != nil && global.Changed && !flags.Changed("data") {
		if err := flags.Set("data", global.Value.String()); err != nil {
			return config.Config{}, err
		}
	}
	cfg, err := loader.Load(a.env)
	if err != nil {
		return config.Config{}, err
	}
	for _, s := range cfg.Settings() {
		if s.Name == "data" && strings.HasPrefix(s.Source, "default: ") {
			a.warn("there is no home folder; the data folder is %s", cfg.Data)
		}
	}
	return cfg, nil
}
