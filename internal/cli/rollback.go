package cli

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newRollbackCommand(a *app) *cobra.Command {
	var rollback pedigree.Rollback
	var incident string
	var over overrideFlags
	var yes, allow bool
	var current currentFlag
	cmd := &cobra.Command{
		Use:   "rollback ENV/NAME",
		Short: "Go back to what ran on a target before, after its checks",
		Long: `Rollback proposes the latest earlier deployment that was active and is not marked bad, and
prints the plan: what changes in the record, what comes back (code, image, configuration,
artifact), the rollback note, what was written since, and the checks. Without --yes it does
nothing more, but asks where it runs on a terminal.

It stops where the version was rejected, revoked, withdrawn or erased, where its bytes are
missing or damaged, or where it can't fill the target's schema; --override NAME with --reason
passes over one check. It needs nothing but the registry.`,
		Example: `  pedigree rollback prod/fraud-api
  pedigree rollback prod/fraud-api --yes --reason "wrong scores since 02:10" --incident https://incidents.example.org/4711
  pedigree rollback prod/fraud-api --to fraud/5 --dry-run`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.targetOf(args[0])
			if err != nil {
				return err
			}
			if err := refuseTyped(allow, map[string]string{"--reason": over.reason, "--incident": incident}); err != nil {
				return err
			}
			if rollback.Incident, err = pedigree.ParseSafeURI(incident); err != nil {
				return err
			}
			ifCurrent, err := current.version(cmd)
			if err != nil {
				return err
			}
			rollback.Reason, rollback.Overrides = over.reason, over.overrides()
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			plan, err := c.PlanRollback(cmd.Context(), name, rollback)
			if err != nil {
				return err
			}
			if err := pedigree.CheckCurrent(name, plan.From, "", ifCurrent); err != nil {
				return err
			}
			doing := "rolling " + string(name) + " back to " + a.deployed(&plan.To)
			rollback.To = plan.To.ID // what is shown is what is done
			if plan.From != nil {
				rollback.IfCurrent = plan.From.ID
			}
			var d pedigree.Deployment
			back := func() (err error) {
				d, err = c.Rollback(cmd.Context(), name, rollback)
				return err
			}
			var sent []rehearsed // nothing where it would be refused, or is done at once
			if (a.dryRun || !yes) && plan.Decision.Err(doing) == nil {
				if sent, err = a.rehearse(back); err != nil {
					return err
				}
			}
			barred := refusal(sent)
			if barred != nil {
				sent = nil
			}
			show := func(w io.Writer) {
				a.rollbackPage(w, &plan)
				writeCurl(w, sent)
			}
			if a.dryRun {
				out := struct {
					pedigree.RollbackPlan
					Curl []string `json:"curl"`
				}{plan, curls(sent)}
				if err := a.print(answer{value: out, names: []string{plan.To.ID}, human: show}); err != nil {
					return err
				}
				return cmp.Or(plan.Decision.Err(doing), barred)
			}
			if a.people() {
				show(a.stderr)
			}
			if err := cmp.Or(plan.Decision.Err(doing), barred); err != nil {
				return err
			}
			if !yes {
				refused := pedigree.Errorf(pedigree.CodeRefused, "nothing was changed").WithFix("add --yes to do it: pedigree rollback %s --yes --reason WHY", name)
				if !terminal(a.stdin) || !terminal(a.stderr) {
					return refused
				}
				fmt.Fprintf(a.stderr, "type %s to go back: ", name)
				typed, _ := bufio.NewReader(a.stdin).ReadString('\n')
				if strings.TrimSpace(typed) != string(name) {
					return refused
				}
			}
			if err := back(); err != nil {
				return err
			}
			return a.print(answer{value: d, names: []string{d.ID}, human: func(w io.Writer) { a.deploymentDone(w, &d) }})
		},
	}
	f := cmd.Flags()
	f.StringVar(&rollback.To, "to", "", "what to go back to: a version (fraud/5) or a deployment (dep_…)")
	current.register(f, "only if this `VERSION` is active there now; 0 for none")
	over.register(f, "why; it stays in the log")
	f.StringVar(&incident, "incident", "", "`URL` of the incident")
	f.BoolVar(&yes, "yes", false, "do it")
	a.dryRunFlag(cmd)
	allowSecrets(f, &allow)
	return cmd
}

// rollbackPage shows what a rollback would do.
func (a *app) rollbackPage(w io.Writer, plan *pedigree.RollbackPlan) {
	p := page{w}
	p.title("back to "+a.deployed(&plan.To)+" at "+string(plan.Target), "")
	if plan.From != nil {
		p.line("runs now", a.deployed(plan.From), "since "+a.since(*plan.From.ActiveAt), "by "+a.who(plan.From.OpenedBy))
	} else {
		p.line("runs now", "nothing")
	}
	if plan.To.ActiveAt != nil {
		p.line("restores", plan.To.ID, "active from "+stamp(*plan.To.ActiveAt)+" UTC")
	}
	if plan.Code != nil {
		p.line("code", string(plan.Code.Repository), plan.Code.Commit)
	}
	p.line("image", plan.Image)
	p.line("config", plan.Config)
	if art := plan.Artifact; len(art.Files) > 0 || art.Kind != pedigree.ArtifactStored {
		p.line("artifact", artifactLine(art, ""))
	} else { // the plan does not list the files
		p.line("artifact", string(art.Digest), size(art.Size))
	}
	if plan.Alias != "" {
		p.line("alias", string(plan.Alias)+" moves with it")
	}
	p.text("note", plan.Note)
	for i, c := range plan.Changes {
		label := ""
		if i == 0 {
			label = "changes"
		}
		p.line(label, c.Field+": "+changeSide(c.Field, c.From)+" → "+changeSide(c.Field, c.To))
	}
	for i, e := range plan.Executions {
		label := ""
		if i == 0 {
			label = "written since"
		}
		p.line(label, outputsOf(&e), "by "+e.ID, stamp(e.StartedAt)+" UTC")
	}
	p.list("made from it", plan.Downstream)
	fmt.Fprintln(w)
	a.checkLines(w, plan.Decision.Checks, "")
}

// changeSide is one side of a change in a line: of an artifact its digest, of data where
// they are.
func changeSide(field string, raw []byte) string {
	switch field {
	case "artifact":
		var art pedigree.Artifact
		if json.Unmarshal(raw, &art) == nil {
			return cmp.Or(art.Digest.Short(), string(art.URI), "none")
		}
	case "data":
		var data []pedigree.DataReference
		if json.Unmarshal(raw, &data) == nil && len(data) > 0 {
			return cut(strings.Join(dataLines(data), ", "), 60)
		}
	}
	return cut(jsonSide(raw), 60)
}

func jsonSide(raw []byte) string {
	if raw == nil {
		return "-"
	}
	return rawText(raw)
}

// outputsOf names what an execution wrote.
func outputsOf(e *pedigree.Execution) string {
	var out []string
	for _, o := range e.Outputs {
		out = append(out, words([]string{o.Name, string(o.URI)}))
	}
	if len(out) == 0 {
		return "(nothing recorded)"
	}
	return strings.Join(out, ", ")
}
