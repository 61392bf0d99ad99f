package cli

import (
	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func newSearchCommand(a *app) *cobra.Command {
	q := client.Query{}
	var limit int
	cmd := &cobra.Command{
		Use:   "search [FILTER]",
		Short: "Find versions by what is recorded of them",
		Long: `Search lists the versions that a filter chooses, in MLflow's grammar with OR, NOT and
parentheses. It looks at tags.KEY, params.KEY, metrics.KEY, data.uri, data.ROLE.digest,
code.commit, runtime.image, run.id, artifact.digest, file.digest, parent, evidence.kind,
owner, target, description, model, project, version, alias, created_at, created_by,
archived, complete and more; "What can be searched" in docs/api.md has the whole list.
Archived versions are found only where the filter asks for them. Without a FILTER it lists
all the others.`,
		Example: `  pedigree search "metrics.auc > 0.9 AND tags.team = 'risk'"
  pedigree search "data.digest = 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'" --all-projects
  pedigree search "model = 'fraud' AND created_at > '-30d'" --order "metrics.auc DESC" --limit 5`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if len(args) == 1 {
				q.Filter = args[0]
			}
			// Read here first: the place of a mistake is then known without a server.
			if _, err := pedigree.ParseFilter(q.Filter); err != nil {
				return err
			}
			if _, err := pedigree.ParseOrder(q.Order); err != nil {
				return err
			}
			if q.At, err = a.moment(); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			return a.listSummaries(cmd.Context(), c, q, limit, true, nil, func() (string, error) { return "no version is like that", nil })
		},
	}
	cmd.Flags().StringVar(&q.Order, "order", "", "`KEY [ASC|DESC], …` to sort by (default: newest first)")
	cmd.Flags().BoolVar(&q.AllProjects, "all-projects", false, "look in every project")
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}
