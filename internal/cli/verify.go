package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// verifyFlags choose what is verified, and against what.
type verifyFlags struct {
	event      int64
	checkpoint string
	offline    string
	keys       []string
}

func newVerifyCommand(a *app) *cobra.Command {
	f := &verifyFlags{}
	cmd := &cobra.Command{
		Use:   "verify [REF|FILE]",
		Short: "Prove that the log was not changed, or that a version's bytes are whole",
		Long: `Verify reads the whole log and checks every event, every hash and the signed root of today,
and that today's log continues the one that you saw last: on every push, pull and move of
an alias the program remembers a checkpoint. With a REF it reads the stored bytes of that
version again. With the FILE that pedigree replay --write made, or the pointer that pedigree
sync keeps beside a version, it checks that file, without any registry.

Everything is checked here, by this program; the registry is not asked whether it is
honest. An exported log is checked without any registry by --offline.`,
		Example: `  pedigree verify
  pedigree verify fraud@production
  pedigree verify --event 1200
  pedigree verify proof.json --key models.example.org/log+5d9a9328+AQOh…
  pedigree verify --checkpoint seen.txt
  pedigree verify --offline log.jsonl --checkpoint seen.txt --key models.example.org/log+5d9a9328+AQOh…`,
		Args:              args(0, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			event := cmd.Flags().Changed("event")
			if len(args) == 1 && !event && f.checkpoint == "" && f.offline == "" {
				switch r, err := client.ReadReplay(args[0]); pedigree.CodeOf(err) {
				case "":
					return a.verifyReplay(f, args[0], &r)
				case pedigree.CodeUnsupported, pedigree.CodeCorrupt:
					return err
				}
				if p, ok, err := readPointer(args[0]); ok && err == nil {
					return a.verifyPointer(f, args[0], &p)
				} else if err != nil {
					return err
				}
			}
			online := event || len(args) == 1
			switch {
			case f.offline != "" && online || event && (f.checkpoint != "" || len(args) == 1) || len(args) == 1 && (f.checkpoint != "" || len(f.keys) > 0):
				return pedigree.Errorf(pedigree.CodeInvalid, "verify checks one thing at a time").WithFix("give a REF, --event, --checkpoint or --offline alone")
			case f.offline != "":
				return a.verifyOffline(f)
			case len(args) == 1:
				return a.verifyVersion(ctx, args[0])
			case event:
				return a.verifyEvent(ctx, f)
			case f.checkpoint != "":
				return a.verifyCheckpoint(ctx, f)
			}
			return a.verifyLog(ctx, f)
		},
	}
	cmd.Flags().Int64Var(&f.event, "event", 0, "prove that event `N`, as it is shown, is in the log")
	cmd.Flags().StringVar(&f.checkpoint, "checkpoint", "", "prove that the log of the checkpoint in `FILE` begins the log of today")
	cmd.Flags().StringVar(&f.offline, "offline", "", "check the exported log in `FILE`, without a registry")
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "public `KEY` of the log that you trust, from another place (repeat)")
	a.atFlag(cmd)
	return cmd
}

// addAll gives the verifier every entry of an export.
func addAll(v *ledger.Verifier, r io.Reader) error {
	dec := json.NewDecoder(r)
	for {
		var e pedigree.Entry
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			var own *pedigree.Error
			if errors.As(err, &own) {
				return err
			}
			return pedigree.Errorf(pedigree.CodeCorrupt, "the export can't be read at byte %d: %w", dec.InputOffset(), err)
		}
		if err := v.Add(e); err != nil {
			return err
		}
	}
}

// verifyLog checks the whole log of the registry.
func (a *app) verifyLog(ctx context.Context, f *verifyFlags) error {
	cp, err := a.remember(ctx)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	v, err := ledger.NewVerifier(ledger.VerifierConfig{Keys: f.keys, Checkpoints: []pedigree.Checkpoint{cp}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	go func() { _ = pw.CloseWithError(c.Export(ctx, -1, pw)) }()
	err = addAll(v, pr)
	_ = pr.Close()
	if err != nil {
		return err
	}
	report, err := v.Finish()
	if err != nil {
		return err
	}
	return a.printReport(report, cp.Origin, "and continues the log that you saw before")
}

// printReport says what a whole log held.
func (a *app) printReport(report ledger.Report, origin, more string) error {
	return a.print(answer{value: report, names: []string{fmt.Sprint(report.Size)}, human: func(w io.Writer) {
		fmt.Fprintf(w, "ok  the log %s is whole: %s, root %s\n", printable(origin), count(int(report.Size), "event"), report.Root)
		switch {
		case report.Signed == 0:
			fmt.Fprintln(w, "    nobody's checkpoint was given: the log fits itself, which a new one would too")
		case report.Signed < report.Size:
			fmt.Fprintf(w, "    signed up to event %s; the %s after that are not signed by the checkpoint\n",
				humanize.Comma(report.Signed-1), count(int(report.Size-report.Signed), "event"))
		default:
			fmt.Fprintf(w, "    all of it is signed, %s\n", more)
		}
		if report.Erased > 0 {
			fmt.Fprintf(w, "    %s erased, as later events say\n", count(int(report.Erased), "field"))
		}
		if hidden := report.Size - report.Events; hidden > 0 {
			fmt.Fprintf(w, "    %s could not be read by you; their hashes are in place\n", count(int(hidden), "event"))
		}
		fmt.Fprintf(w, "    key %s\n", report.Keys[len(report.Keys)-1].Key)
	}})
}

// proven is the answer of verify for one event or one checkpoint.
type proven struct {
	Checkpoint pedigree.Checkpoint        `json:"checkpoint"`
	Entry      *pedigree.Entry            `json:"entry,omitempty"`
	Inclusion  *pedigree.InclusionProof   `json:"inclusion,omitempty"`
	Older      *pedigree.Checkpoint       `json:"older,omitempty"`
	Consistent *pedigree.ConsistencyProof `json:"consistency,omitempty"`
}

// verifyEvent proves that an event is in the log of today's checkpoint.
func (a *app) verifyEvent(ctx context.Context, f *verifyFlags) error {
	cp, err := a.remember(ctx)
	if err != nil {
		return err
	}
	if err := f.pinned(cp); err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	entry, err := c.Event(ctx, f.event)
	if err != nil {
		return err
	}
	e, err := ledger.CheckEntry(entry)
	if err != nil {
		return err
	}
	proof, err := c.InclusionProof(ctx, f.event, cp.Size)
	if err != nil {
		return err
	}
	if entry.Seq != f.event || proof.Seq != f.event || !bytes.Equal(proof.Leaf, entry.Leaf) {
		return pedigree.Errorf(pedigree.CodeCorrupt, "the registry shows another event than the one it proves")
	}
	if err := ledger.CheckInclusion(proof, cp); err != nil {
		return err
	}
	what := a.newNamer(c).describe(ctx, &entry, &e)
	return a.print(answer{value: proven{Checkpoint: cp, Entry: &entry, Inclusion: &proof}, names: []string{fmt.Sprint(f.event)}, human: func(w io.Writer) {
		fmt.Fprintf(w, "ok  event %d is in the log of %s: %s\n", f.event, count(int(cp.Size), "event"), printable(what))
		if !e.Time.IsZero() {
			fmt.Fprintf(w, "    on %s UTC, by %s\n", stamp(e.Time), printable(e.Actor))
		}
	}})
}

// pinned checks that one of the keys that the user trusts signed cp.
func (f *verifyFlags) pinned(cp pedigree.Checkpoint) error {
	if len(f.keys) == 0 {
		return nil
	}
	_, err := ledger.OpenCheckpoint(cp.Note, f.keys...)
	return err
}

// verifyCheckpoint proves that a log that somebody saw begins the log of today.
func (a *app) verifyCheckpoint(ctx context.Context, f *verifyFlags) error {
	text, err := readFile(f.checkpoint, 1<<20)
	if err != nil {
		return err
	}
	cp, err := a.remember(ctx)
	if err != nil {
		return err
	}
	if err := f.pinned(cp); err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	older, err := ledger.OpenCheckpoint(string(text), keyTexts(keys)...)
	if err != nil {
		return err
	}
	proof := pedigree.ConsistencyProof{From: older.Size, Size: cp.Size}
	if older.Origin == cp.Origin && older.Size < cp.Size {
		if proof, err = c.ConsistencyProof(ctx, older.Size, cp.Size); err != nil {
			return err
		}
	}
	if err := ledger.CheckConsistency(proof, older, cp); err != nil {
		return err
	}
	return a.print(answer{value: proven{Checkpoint: cp, Older: &older, Consistent: &proof}, names: []string{fmt.Sprint(older.Size)}, human: func(w io.Writer) {
		fmt.Fprintf(w, "ok  the %s of that checkpoint begin the log of today, which has %s\n", count(int(older.Size), "event"), humanize.Comma(cp.Size))
	}})
}

func keyTexts(keys []pedigree.LogKey) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.Key
	}
	return out
}

// claimed is what the text of a checkpoint says, unchecked: a verifier compares it with
// the signed note, and checks the signature once it knows the keys.
func claimed(text string) pedigree.Checkpoint {
	cp := pedigree.Checkpoint{Note: text}
	if lines := strings.SplitN(text, "\n", 4); len(lines) == 4 {
		cp.Origin = lines[0]
		cp.Size, _ = strconv.ParseInt(lines[1], 10, 64)
		cp.Root, _ = base64.StdEncoding.DecodeString(lines[2])
	}
	return cp
}

// verifyOffline checks an export, with nothing but what the user has.
func (a *app) verifyOffline(f *verifyFlags) error {
	cfg := ledger.VerifierConfig{Keys: f.keys}
	if f.checkpoint != "" {
		text, err := readFile(f.checkpoint, 1<<20)
		if err != nil {
			return err
		}
		cfg.Checkpoints = append(cfg.Checkpoints, claimed(string(text)))
	}
	v, err := ledger.NewVerifier(cfg)
	if err != nil {
		return err
	}
	file, err := os.Open(f.offline)
	if err != nil {
		return fileError(err)
	}
	defer file.Close()
	if err := addAll(v, file); err != nil {
		return err
	}
	report, err := v.Finish()
	if err != nil {
		return err
	}
	more := "by a key that the log itself names; --key pins one that you have from elsewhere"
	if len(f.keys) > 0 {
		more = "by the key that you trust"
	}
	return a.printReport(report, "in "+f.offline, more)
}

// verifyVersion reads the stored bytes of a version again.
func (a *app) verifyVersion(ctx context.Context, name string) error {
	ref, at, err := a.question(ctx, name)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	resolved, err := c.Resolve(ctx, ref, at)
	if err != nil {
		return err
	}
	full := a.reference(resolved.Project, resolved.Model, resolved.Number)
	fixed := pedigree.Reference{Project: resolved.Project, Model: resolved.Model, Version: resolved.Number}
	checks, err := c.VerifyVersion(ctx, fixed, at)
	if err != nil {
		return err
	}
	subject, unread := full, ""
	if !slices.ContainsFunc(checks, func(c pedigree.FileCheck) bool { return c.Path == "(manifest)" }) {
		v, err := c.Version(ctx, fixed, at)
		if err != nil {
			return err
		}
		why, fix := "it has no artifact", "pedigree show %s shows what is recorded of it"
		if v.Record.Artifact.Kind == pedigree.ArtifactLinked {
			why, fix = "its artifact is linked", "pedigree show %s gives its URI"
		}
		if len(checks) == 0 {
			return pedigree.Errorf(pedigree.CodeUnsupported, "nothing of %s is stored here to be read again: %s", full, why).WithFix(fix, full)
		}
		subject, unread = "the evidence of "+full, "; "+why+", and no file of one was read"
	}
	bad := 0
	var bytes int64
	names := []string{}
	t := a.newTable("path", "problem")
	for _, check := range checks {
		bytes += check.Size
		if check.Problem != "" {
			bad++
			names = append(names, check.Path)
			t.row(check.Path, check.Problem)
		}
	}
	if bad == 0 {
		names = []string{full}
	}
	err = a.print(answer{value: pedigree.List[pedigree.FileCheck]{Items: checks, AsOf: resolved.AsOf}, names: names, human: func(w io.Writer) {
		if bad == 0 {
			fmt.Fprintf(w, "ok  %s is whole: %s of it read, %s%s\n", subject, count(len(checks), "piece"), size(&bytes), unread)
			return
		}
		t.write(w, "")
	}})
	if err == nil && bad > 0 {
		err = pedigree.Errorf(pedigree.CodeCorrupt, "%s of %s not what was registered", count(bad, "piece"), full).
			WithFix("restore the blob store from a backup, or push the same files again: what is missing is then uploaded")
	}
	return err
}
