package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

// change is one event that a command would cause, as --dry-run shows it.
type change struct {
	Type    pedigree.EventType         `json:"type"`
	Subject string                     `json:"subject"`
	Payload map[string]json.RawMessage `json:"payload"`
}

// plan is the answer of --dry-run.
type plan struct {
	DryRun  bool     `json:"dry_run"`
	Subject string   `json:"subject"`
	Changes []change `json:"changes"`
	Curl    []string `json:"curl"`
}

// printPlan shows what drafts would change, and what do would send for it. They were
// decided here by the same pure functions as on the server, which decides again when it is
// for real.
func (a *app) printPlan(subject string, drafts []pedigree.Draft, do func() error) error {
	var sent []rehearsed
	if len(drafts) > 0 {
		var err error
		if sent, err = a.rehearse(do); err != nil {
			return err
		}
	}
	out := plan{DryRun: true, Subject: subject, Changes: []change{}, Curl: curls(sent)}
	var lines []string
	for _, d := range drafts {
		payload := map[string]json.RawMessage{}
		for name, value := range d.Payload {
			text, err := json.Marshal(value)
			if err != nil {
				return fmt.Errorf("show %s: %w", d.Type, err)
			}
			payload[name] = text
		}
		out.Changes = append(out.Changes, change{d.Type, subject, payload})
		lines = append(lines, sentence(d.Type, subject, payload))
	}
	return a.print(answer{value: out, names: []string{subject}, human: func(w io.Writer) {
		if len(lines) == 0 {
			fmt.Fprintf(w, "nothing would change: %s is like that already\n", subject)
		}
		for _, line := range lines {
			fmt.Fprintf(w, "would be recorded: %s\n", line)
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
// the name; otherwise only --yes is an answer, and without it the command is refused. done
// is false where it was not to be done.
func (a *app) confirm(d deletion, name string, lines []string, do func() error) (done bool, err error) {
	if d.yes && !a.dryRun {
		return true, do()
	}
	sent, err := a.rehearse(do)
	if err != nil {
		return false, err
	}
	show := func(w io.Writer) {
		writePlan(w, lines)
		writeCurl(w, sent)
	}
	if a.dryRun {
		return false, a.print(answer{value: struct {
			DryRun bool     `json:"dry_run"`
			Plan   []string `json:"plan"`
			Curl   []string `json:"curl"`
		}{true, lines, curls(sent)}, names: []string{name}, human: show})
	}
	show(a.stderr)
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
