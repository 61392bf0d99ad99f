package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree/internal/config"
)

func newConfigCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show every setting of the server, its value and where that came from",
		Long: `Config takes the flags of serve and shows what a server started with them would run
with: each setting, its value in force, and whether that is the default or came from the
file, the environment or a flag. Secrets are masked.`,
		Example: `  pedigree config
  PEDIGREE_ADDR=127.0.0.1:6000 pedigree config -o json
  pedigree config --config pedigree.yaml`,
		Args: args(0, 0),
	}
	cmd.Flags().SortFlags = false
	loader := config.NewLoader(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.loadConfig(cmd, loader)
		if err != nil {
			return err
		}
		return a.printSettings(cfg.Settings())
	}
	return cmd
}

func (a *app) printSettings(settings []config.Setting) error {
	var names []string
	for _, s := range settings {
		names = append(names, s.Name)
	}
	return a.print(answer{value: settings, names: names, human: func(w io.Writer) {
		t := a.newTable("name", "value", "source")
		for _, s := range settings {
			t.row(s.Name, s.Value, s.Source)
		}
		t.write(w, "")
	}})
}
