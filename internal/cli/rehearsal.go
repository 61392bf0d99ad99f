package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

// The variables that a printed curl line leaves to the shell: the address of a registry
// that no server answers for, and the token, which is never printed.
const (
	curlURL   = "$PEDIGREE_URL"
	curlToken = "$" + tokenVariable
)

// rehearsal stands before everything that would change the registry. While it is on, what
// would be sent is noted and nothing is: uploads are taken as done, since what follows them
// does not depend on their answers, and the first other change is where a command stops.
// So a dry run, and the plan of what is asked about first, come from the command itself; what
// the change would bring, and whether it would be refused, the registry says that is asked.
type rehearsal struct {
	// judge asks the registry about a change: [client.Client.Rehearse].
	judge func(*http.Request) (pedigree.Rehearsed, error)

	address string // scheme and host of the URL in a curl line, or curlURL
	token   bool   // the caller has one

	mu      sync.Mutex // uploads go side by side
	on      bool
	stopped bool
	sent    []rehearsed
}

// rehearsed is a request that was not sent.
type rehearsed struct {
	Method string          `json:"method"`
	Path   string          `json:"path"` // with its query
	Body   json.RawMessage `json:"body,omitempty"`
	// Judged is what the registry says that it would bring; nil where it can't tell.
	Judged  *pedigree.Rehearsed `json:"judged,omitempty"`
	Curl    string              `json:"-"` // the line that sends it
	refused error               // what the registry says against it
	// upload says that the body are bytes from elsewhere.
	upload bool
}

// errRehearsed ends a command at its first change. Nobody sees it.
var errRehearsed = pedigree.Errorf(pedigree.CodeRefused, "nothing was changed: this is a dry run")

// before is [client.Config.BeforeChange].
func (r *rehearsal) before(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return nil, nil
	}
	out := rehearsed{Method: req.Method, Path: req.URL.RequestURI(), upload: req.Header.Get("Content-Type") == "application/octet-stream"}
	if !out.upload && req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		out.Body = bytes.TrimSpace(body)
	}
	out.Curl = r.curl(req, out.Body, out.upload)
	if len(r.sent) == 0 || !r.sent[0].upload { // else it rests on bytes that the registry does not have
		r.ask(req, &out)
	}
	r.sent = append(r.sent, out)
	if out.upload {
		return &http.Response{
			Status: "201 Created", StatusCode: http.StatusCreated, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2, Request: req,
		}, nil
	}
	r.stopped = true
	return nil, errRehearsed
}

// ask lets the registry judge a change that is not sent.
func (r *rehearsal) ask(req *http.Request, out *rehearsed) {
	if r.judge == nil || out.upload {
		return
	}
	ask := req.Clone(req.Context())
	ask.Body, ask.ContentLength = io.NopCloser(bytes.NewReader(out.Body)), int64(len(out.Body))
	judged, err := r.judge(ask)
	switch {
	case err == nil:
		out.Judged = &judged
	case pedigree.CodeOf(err) != pedigree.CodeUnsupported:
		out.refused = err
	}
}

// refusal is what the registry says against what would be sent, nil for nothing.
func refusal(sent []rehearsed) error {
	for i := range sent {
		if sent[i].refused != nil {
			return sent[i].refused
		}
	}
	return nil
}

// would are the sentences of what the registry says that it would record.
func (a *app) would(ctx context.Context, sent []rehearsed) []string {
	var lines []string
	if a.registry == nil {
		return nil
	}
	names := a.newNamer(a.registry.client)
	for i := range sent {
		if sent[i].Judged == nil {
			continue
		}
		for _, c := range sent[i].Judged.Changes {
			lines = append(lines, names.change(ctx, &c))
		}
	}
	return lines
}

// curl is the command line that sends req, for sh. The token stays in its variable.
func (r *rehearsal) curl(req *http.Request, body []byte, upload bool) string {
	words := []string{"curl", "--fail-with-body", "-X", req.Method}
	if r.token {
		words = append(words, "-H", `"Authorization: Bearer `+curlToken+`"`)
	}
	for _, name := range []string{"Content-Type", "If-Match", "Idempotency-Key"} {
		if value := req.Header.Get(name); value != "" {
			words = append(words, "-H", shellWord(name+": "+value))
		}
	}
	switch {
	case upload:
		words = append(words, "-T", uploadFile)
	case len(body) > 0:
		words = append(words, "-d", shellWord(string(body)))
	}
	if r.address == curlURL {
		return strings.Join(append(words, `"`+curlURL+`"`+shellWord(req.URL.RequestURI())), " ")
	}
	return strings.Join(append(words, shellWord(r.address+req.URL.RequestURI())), " ")
}

// uploadFile stands in a curl line for the file whose bytes are sent.
const uploadFile = "FILE"

// take returns what was noted, and begins anew.
func (r *rehearsal) take() []rehearsed {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.sent
	r.sent, r.stopped = nil, false
	return out
}

// dryRunFlag gives --dry-run to a command that changes the registry.
func (a *app) dryRunFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would change, and do nothing")
}

// rehearse runs do and keeps its changes back: it returns what would be sent, up to the
// first request whose answer do waits for. An error is one of do's own.
func (a *app) rehearse(do func() error) ([]rehearsed, error) {
	r := &a.rehearsal
	r.mu.Lock()
	before := r.on
	r.on = true
	r.mu.Unlock()
	err := do()
	r.mu.Lock()
	r.on = before
	if r.stopped {
		err = nil
	}
	r.mu.Unlock()
	return r.take(), err
}

// curls are the lines of what would be sent.
func curls(sent []rehearsed) []string {
	out := []string{}
	for i := range sent {
		out = append(out, sent[i].Curl)
	}
	return out
}

// maxUploadLines is how many uploads a plan shows to people; programs get all of them.
const maxUploadLines = 3

// writeCurl writes the lines that do the same without this program.
func writeCurl(w io.Writer, sent []rehearsed) {
	if len(sent) == 0 {
		return
	}
	fmt.Fprintln(w, "the same with curl:")
	uploads, unnamed := 0, false
	for i := range sent {
		unnamed = unnamed || strings.Contains(sent[i].Curl, " -T "+uploadFile+" ")
		if sent[i].upload {
			if uploads++; uploads > maxUploadLines {
				continue
			}
		}
		fmt.Fprintln(w, "  "+sent[i].Curl)
		if more := uploads - maxUploadLines; more > 0 && !sent[i].upload {
			fmt.Fprintf(w, "  (before the last: %s more like the first)\n", count(more, "upload"))
		}
	}
	if unnamed {
		fmt.Fprintf(w, "  (%s: a file with the bytes of that digest)\n", uploadFile)
	}
}

// requestPlan is the answer of --dry-run of a command that has no plan of its own.
type requestPlan struct {
	DryRun   bool        `json:"dry_run"`
	Requests []rehearsed `json:"requests"`
	Curl     []string    `json:"curl"`
}

// printRehearsed shows where a dry run of a command without a plan of its own stopped, and
// what the registry says of it.
func (a *app) printRehearsed(ctx context.Context) error {
	sent := a.rehearsal.take()
	if err := refusal(sent); err != nil {
		return err
	}
	would := a.would(ctx, sent)
	return a.print(answer{value: requestPlan{true, sent, curls(sent)}, names: curls(sent), human: func(w io.Writer) {
		judged := true
		for i := range sent {
			if !sent[i].upload {
				fmt.Fprintf(w, "would send: %s %s\n", sent[i].Method, printable(sent[i].Path))
				judged = judged && sent[i].Judged != nil
			}
		}
		for _, line := range would {
			fmt.Fprintf(w, "would be recorded: %s\n", printable(line))
		}
		switch {
		case !judged:
			fmt.Fprintln(w, "nothing was changed, and the registry has not judged it")
		case len(would) == 0:
			fmt.Fprintln(w, "nothing would change: it is like that already")
		default:
			fmt.Fprintln(w, "nothing was changed")
		}
		writeCurl(w, sent)
	}})
}

// each does steps one after the other. None needs the answer of another, so that a dry run
// can show them all.
func (a *app) each(steps ...func() error) error {
	for _, do := range steps {
		if err := do(); err != nil && !errors.Is(err, errRehearsed) {
			return err
		}
	}
	if a.rehearsal.stopped {
		return errRehearsed
	}
	return nil
}

// nameUploads writes into the lines of uploads which file of the folder each sends; content
// that is in no file, such as the difference to the last commit, stays a placeholder.
func nameUploads(sent []rehearsed, folder string, files []pedigree.File) {
	for i := range sent {
		for _, f := range files {
			if !sent[i].upload || !strings.HasSuffix(sent[i].Path, "/"+string(f.Digest)) {
				continue
			}
			path := folder
			if info, err := os.Stat(folder); err == nil && info.IsDir() {
				path = filepath.Join(folder, filepath.FromSlash(f.Path))
			}
			sent[i].Curl = strings.Replace(sent[i].Curl, " -T "+uploadFile+" ", " -T "+shellWord(path)+" ", 1)
			break
		}
	}
}
