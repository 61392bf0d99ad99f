package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newPolicyCommand(a *app) *cobra.Command {
	return noun("policy", "Apply, show and try out the rules of a project or of the instance",
		newPolicyApplyCommand(a), newPolicyShowCommand(a), newPolicyTestCommand(a), newPolicyRemoveCommand(a))
}

// readFile reads a file, or standard input for "-".
func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.stdin)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "the file can't be read: %w", err)
	}
	return data, nil
}

func newPolicyApplyCommand(a *app) *cobra.Command {
	var file string
	var instance bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make a file the policy of the project, or of the instance",
		Long: `Apply reads gates, the approval rule and what is protected from a YAML file, checks every
expression, and makes it the policy. Applying it again changes nothing. The instance's policy is
a floor: it and the project's must both be satisfied. examples/policies has three to begin with.`,
		Example: `  pedigree policy apply -f policy.yaml --dry-run
  pedigree policy apply -f policy.yaml -p risk
  pedigree policy apply -f floor.yaml --instance`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return pedigree.Errorf(pedigree.CodeInvalid, "which policy?").WithFix("pedigree policy apply -f policy.yaml")
			}
			data, err := a.readFile(file)
			if err != nil {
				return err
			}
			f, err := readPolicy(data, file)
			if err != nil {
				return err
			}
			policy := f.policy
			instance = instance || f.instance
			switch {
			case instance && policy.Project != "":
				return pedigree.Errorf(pedigree.CodeInvalid, "%s is the policy of project %s, and --instance asks for the instance's", file, policy.Project)
			case !instance && policy.Project == "":
				policy.Project = a.projectName()
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			applied, changed, err := c.ApplyPolicy(cmd.Context(), policy, a.dryRun)
			if err != nil {
				return f.place(err)
			}
			var sent []rehearsed
			if a.dryRun && changed {
				if sent, err = a.rehearse(func() error {
					_, _, err := c.ApplyPolicy(cmd.Context(), policy, false)
					return err
				}); err != nil {
					return err
				}
			}
			out := struct {
				Policy  pedigree.Policy `json:"policy"`
				Changed bool            `json:"changed"`
				DryRun  bool            `json:"dry_run,omitempty"`
				Curl    []string        `json:"curl,omitempty"`
			}{applied, changed, a.dryRun, curls(sent)}
			return a.print(answer{value: out, names: []string{policy.Scope()}, human: func(w io.Writer) {
				switch {
				case !changed:
					fmt.Fprintf(w, "the policy of %s is like that already\n", policy.Scope())
				case a.dryRun:
					fmt.Fprintf(w, "would change the policy of %s\n", policy.Scope())
					writeCurl(w, sent)
				default:
					fmt.Fprintf(w, "applied the policy of %s (version %d)\n", policy.Scope(), applied.Seq)
				}
			}})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "`FILE` with the policy in YAML; - is standard input")
	cmd.Flags().BoolVar(&instance, "instance", false, "the instance's policy, instead of the project's")
	a.dryRunFlag(cmd)
	return cmd
}

func newPolicyShowCommand(a *app) *cobra.Command {
	var instance bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the policy of the project, or of the instance",
		Example: `  pedigree policy show
  pedigree policy show --instance --at -30d -o yaml`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			scope := a.projectName()
			if instance {
				scope = ""
			}
			p, err := c.Policy(cmd.Context(), scope, at)
			if err != nil {
				return err
			}
			return a.print(answer{value: p, names: []string{p.Scope()}, asOf: a.asOf(cmd.Context(), at), human: func(w io.Writer) {
				fmt.Fprintf(w, "# policy of %s, version %d, applied %s by %s\n", p.Scope(), p.Seq, a.since(p.AppliedAt), a.who(p.AppliedBy))
				_ = writeYAML(w, policyText(p))
			}})
		},
	}
	cmd.Flags().BoolVar(&instance, "instance", false, "the instance's policy")
	a.atFlag(cmd)
	return cmd
}

// policyText is what a person wrote of a policy, without what the registry adds.
func policyText(p pedigree.Policy) any {
	return struct {
		Project     pedigree.ProjectName   `json:"project,omitempty"`
		Description string                 `json:"description,omitempty"`
		Gates       []pedigree.Gate        `json:"gates,omitempty"`
		Approvals   *pedigree.ApprovalRule `json:"approvals,omitempty"`
		Protected   pedigree.Protected     `json:"protected,omitzero"`
		Override    pedigree.Role          `json:"override,omitempty"`
	}{p.Project, p.Description, p.Gates, p.Approvals, p.Protected, p.Override}
}

func newPolicyTestCommand(a *app) *cobra.Command {
	var target string
	var deploy pedigree.Deploy
	cmd := &cobra.Command{
		Use:   "test REF [--target ENV/NAME]",
		Short: "Say what the policies make of deploying a version, and why",
		Long: `Test asks every gate, the approval rule and the registry's own checks, as a deployment would, and
changes nothing. Each check comes with the values that it saw and the command that mends it.
Without --target a protected alias is meant that is tied to no target. Exit code 4 means that a
deployment would be refused.`,
		Example: `  pedigree policy test fraud/7 --target prod/fraud-api
  pedigree policy test fraud@candidate --target prod/fraud-api --at -1d -o json`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, at, err := a.question(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var name pedigree.TargetName
			where := "a protected alias"
			if target != "" {
				if name, err = a.targetOf(target); err != nil {
					return err
				}
				where = string(name)
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			d, err := c.TestPolicy(cmd.Context(), ref, name, deploy, at)
			if err != nil {
				return err
			}
			return a.decision(cmd.Context(), &d, "deploying "+a.display(ref)+" to "+where, nil)
		},
	}
	cmd.Flags().StringVar(&target, "target", "", "target, `ENV/NAME`")
	cmd.Flags().StringVar(&deploy.Image, "image", "", "container `IMAGE` that would run it")
	cmd.Flags().StringVar(&deploy.Config, "config", "", "configuration that it would run with")
	cmd.Flags().StringVar((*string)(&deploy.Role), "role", "", "primary (default), canary or shadow")
	a.atFlag(cmd)
	return cmd
}

func newPolicyRemoveCommand(a *app) *cobra.Command {
	var d deletion
	var instance bool
	cmd := &cobra.Command{
		Use:     "rm",
		Aliases: []string{"delete"},
		Short:   "Take the policy of the project, or of the instance, away",
		Example: `  pedigree policy rm -p risk --yes --reason "moved to the instance's"`,
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.check(); err != nil {
				return err
			}
			scope, name := a.projectName(), string(a.projectName())
			if instance {
				scope, name = "", pedigree.InstanceScope
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			p, err := c.Policy(cmd.Context(), scope, pedigree.At{})
			if err != nil {
				return err
			}
			ok, err := a.confirm(d, name, []string{fmt.Sprintf("the policy of %s goes: %s and its approval rule hold no more", name, count(len(p.Gates), "gate"))}, func() error {
				return c.RemovePolicy(cmd.Context(), scope, d.reason)
			})
			if err != nil || !ok {
				return err
			}
			return a.print(answer{value: p, names: []string{name}, human: func(w io.Writer) { fmt.Fprintf(w, "removed the policy of %s\n", name) }})
		},
	}
	d.register(a, cmd)
	cmd.Flags().BoolVar(&instance, "instance", false, "the instance's policy")
	return cmd
}
