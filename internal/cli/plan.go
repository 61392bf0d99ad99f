package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

// plan is the answer of --dry-run.
type plan struct {
	DryRun  bool              `json:"dry_run"`
	Subject string            `json:"subject"`
	Changes []pedigree.Change `json:"changes"`
	Curl    []string          `json:"curl"`
}

// printPlan shows what do would change about subject, and what it would send for it. The
// registry decides that; guess is what was decided here by the same pure functions, for a
// change that the registry can't judge since it lacks the bytes.
func (a *app) printPlan(ctx context.Context, subject string, guess []pedigree.Draft, do func() error) error {
	sent, err := a.rehearse(do)
	if err == nil {
		err = refusal(sent)
	}
	if err != nil {
		return err
	}
	out := plan{DryRun: true, Subject: subject, Changes: pedigree.Rehearse(guess).Changes}
	lines := a.would(ctx, sent)
	for i := range sent {
		if sent[i].Judged != nil {
			out.Changes = append(out.Changes, sent[i].Judged.Changes...)
		}
	}
	for _, c := range pedigree.Rehearse(guess).Changes {
		lines = append(lines, sentence(c.Type, subject, c.Payload))
	}
	if len(lines) == 0 {
		sent = nil
	}
	out.Curl = curls(sent)
	return a.print(answer{value: out, names: []string{subject}, human: func(w io.Writer) {
		if len(lines) == 0 {
			fmt.Fprintf(w, "nothing would change: %s is like that already\n", subject)
		}
		for _, line := range lines {
			fmt.Fprintf(w, "would be recorded: %s\n", printable(line))
		}
		if len(lines) > 0 {
			fmt.Fprintln(w, "nothing was changed")
		}
		writeCurl(w, sent)
	}})
}

// deletion is how somebody says that a thing may go.
type deletion struct {
	reason string
	yes    bool
	allow  bool // --allow-secrets
}

func (d *deletion) register(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.reason, "reason", "", "why; it stays in the log")
	allowSecrets(cmd.Flags(), &d.allow)
	cmd.Flags().BoolVar(&d.yes, "yes", false, "do it")
	a.dryRunFlag(cmd)
}

// check refuses a reason that looks like a secret.
func (d *deletion) check() error {
	return refuseTyped(d.allow, map[string]string{"--reason": d.reason})
}

func writePlan(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(w, "- "+printable(line))
	}
}

// confirm shows the plan of a deletion and does it where it may. On a terminal it asks for
// the name; otherwise only --yes is an answer, and without it the command is refused. A plan
// of what the registry would refuse ends with its refusal. done is false where it was not to be done.
func (a *app) confirm(d deletion, name string, lines []string, do func() error) (done bool, err error) {
	if d.yes && !a.dryRun {
		return true, do()
	}
	sent, err := a.rehearse(do)
	if err != nil {
		return false, err
	}
	barred := refusal(sent)
	if barred != nil {
		sent = nil
	}
	show := func(w io.Writer) {
		writePlan(w, lines)
		if a.dryRun {
			fmt.Fprintln(w, "nothing was changed")
		}
		writeCurl(w, sent)
	}
	if a.dryRun {
		err := a.print(answer{value: struct {
			DryRun bool     `json:"dry_run"`
			Plan   []string `json:"plan"`
			Curl   []string `json:"curl"`
		}{true, lines, curls(sent)}, names: []string{name}, human: show})
		return false, cmp.Or(err, barred)
	}
	show(a.stderr)
	if barred != nil {
		return false, barred
	}
	refused := pedigree.Errorf(pedigree.CodeRefused, "nothing was changed").WithFix("add --yes to do it")
	if !terminal(a.stdin) || !terminal(a.stderr) {
		return false, refused
	}
	fmt.Fprintf(a.stderr, "type %s to do it: ", name)
	typed, _ := bufio.NewReader(a.stdin).ReadString('\n')
	if strings.TrimSpace(typed) != name {
		return false, refused
	}
	return true, do()
}
