package client_test

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
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// replayLine is the program of docs/predictions.md.
func replayLine(ctx context.Context, c *client.Client, text []byte, scoreJSON client.Score) error {
	line, err := pedigree.ParsePrediction(text)
	if err != nil {
		return err
	}
	found, err := c.WhichPrediction(ctx, line, pedigree.At{})
	if err != nil {
		return err
	}
	fmt.Println(found.Items[0].Version.Reference(), found.Items[0].Contradictions, found.Items[0].Rollback)

	out, err := c.Replay(ctx, client.Replay{Prediction: line, Score: scoreJSON, Tolerance: pedigree.DefaultTolerance, Write: "proof.json"})
	if err != nil {
		return err
	}
	fmt.Println(out.FoundBy, out.Facts.Opinions, out.Bytes.Digest, out.Comparison.Outcome)
	return out.Err() // what it found to be wrong
}

// scored is a registry with a version that is deployed, and a line of it.
func scored(t *testing.T) (*registry, pedigree.Prediction) {
	t.Helper()
	ctx, r := t.Context(), newRegistry(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"answer.json": "0.93"})
	must(r.Push(ctx, push("fraud", dir)))(t)
	must(r.CreateTarget(ctx, "prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetOnline}))(t)
	d := must(r.Deploy(ctx, ref(t, "fraud/1"), "prod/fraud", pedigree.Deploy{}, nil))(t)
	return r, pedigree.Prediction{
		Schema: pedigree.PredictionV1, ID: "r-1", Time: time.Now().UTC(), Deployment: d.ID, Target: "prod/fraud", Digest: d.Digest,
		Request: json.RawMessage(`{"amount": "of 4711.0815"}`), Prediction: json.RawMessage(`0.93`),
		Response: json.RawMessage(`"4711.0815"`), Extra: json.RawMessage(`{"x": "4711.0815"}`),
	}
}

// answer scores with the file of the version.
func answer(_ context.Context, dir string, _ json.RawMessage) (json.RawMessage, string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "answer.json"))
	return text, "answer.json", err
}

func TestReplay(t *testing.T) {
	ctx := t.Context()
	r, line := scored(t)
	var mu sync.Mutex
	var sent bytes.Buffer
	r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mu.Lock()
		fmt.Fprintln(&sent, req.URL, string(body))
		mu.Unlock()
		req.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, req)
	}
	for _, tt := range []struct {
		name   string
		change func(in *client.Replay)
		err    pedigree.ErrorCode // of the replay
		wrong  pedigree.ErrorCode // of what it found
		check  func(out *pedigree.Replay) bool
	}{
		{"traced", func(*client.Replay) {}, "", "", func(out *pedigree.Replay) bool {
			return out.FoundBy == pedigree.FoundByDeployment && out.Facts.Version == 1 && out.Facts.Deployment != nil && out.Bytes.Problem == "" && out.Bytes.Files == 1 && out.Comparison == nil
		}},
		{"scored", func(in *client.Replay) { in.Score = answer }, "", "", func(out *pedigree.Replay) bool {
			return out.Comparison.Outcome == pedigree.OutcomeIdentical && out.Scoring == "answer.json"
		}},
		{"within tolerance", func(in *client.Replay) {
			in.Score, in.Tolerance, in.Prediction.Prediction = answer, 0.1, json.RawMessage("0.95")
		}, "", "", func(out *pedigree.Replay) bool { return out.Comparison.Outcome == pedigree.OutcomeWithin }},
		{"another prediction", func(in *client.Replay) { in.Score, in.Prediction.Prediction = answer, json.RawMessage("0.95") }, "", pedigree.CodeRefused, func(out *pedigree.Replay) bool {
			return out.Comparison.Outcome == pedigree.OutcomeDifferent
		}},
		{"scoring fails", func(in *client.Replay) {
			in.Score = func(_ context.Context, _ string, request json.RawMessage) (json.RawMessage, string, error) {
				return nil, "a program", pedigree.Errorf(pedigree.CodeRefused, "a program failed").WithFix("mend it")
			}
		}, "", pedigree.CodeUnavailable, func(out *pedigree.Replay) bool {
			return out.Comparison.Reason == "a program failed" && out.Scoring == "a program"
		}},
		{"scoring fails and repeats the request", func(in *client.Replay) {
			in.Score = func(_ context.Context, _ string, request json.RawMessage) (json.RawMessage, string, error) {
				return nil, "", errors.New(string(request))
			}
		}, "", pedigree.CodeUnavailable, func(out *pedigree.Replay) bool {
			return out.Comparison.Reason == "scoring it failed"
		}},
		{"another artifact", func(in *client.Replay) { in.Prediction.Digest = pedigree.DigestBytes(nil) }, "", pedigree.CodeRefused, func(out *pedigree.Replay) bool {
			return len(out.Contradictions) == 1 && strings.HasPrefix(out.Contradictions[0], "the line says the artifact")
		}},
		{"by its target", func(in *client.Replay) { in.Prediction.Deployment, in.Prediction.Digest = "", "" }, "", "", func(out *pedigree.Replay) bool {
			return out.FoundBy == pedigree.FoundByTarget && len(out.Notes) == 1 && strings.HasPrefix(out.Notes[0], "the deployments changed on")
		}},
		{"no such deployment", func(in *client.Replay) { in.Prediction.Deployment = "dep_0193a3c5e8b07aa48f2d3c4b5a697887" }, pedigree.CodeNotFound, "", nil},
		{"a tolerance below 0", func(in *client.Replay) { in.Tolerance = -1 }, pedigree.CodeInvalid, "", nil},
		{"an earlier checkpoint", func(in *client.Replay) {
			in.Checkpoint = pedigree.Checkpoint{Note: "x", Size: 1}
		}, pedigree.CodeCorrupt, "", nil},
		{"a file that can't be written", func(in *client.Replay) { in.Write = filepath.Join(in.Write, "below", "proof.json") }, pedigree.CodeNotFound, "", nil},
	} {
		proof := filepath.Join(t.TempDir(), "proof.json")
		in := client.Replay{Prediction: line, Write: proof}
		tt.change(&in)
		out, err := r.Replay(ctx, in)
		if pedigree.CodeOf(err) != tt.err {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.err)
		}
		if tt.err != "" || err != nil {
			continue
		}
		if got := out.Err(); pedigree.CodeOf(got) != tt.wrong || !tt.check(&out) {
			t.Errorf("%s: got %v, want %q: %+v, %+v", tt.name, got, tt.wrong, out, out.Comparison)
		}
		read := must(client.ReadReplay(proof))(t)
		events := must(client.CheckReplay(&read, out.Keys[0].Key))(t)
		if len(events) != len(out.Events) || len(events) == 0 {
			t.Errorf("%s: the file proves %d events of %d", tt.name, len(events), len(out.Events))
		}
		if _, err := client.CheckReplay(&read, "models.example.org/log+bf7cd119+AdSDqAfr494VaExGRtMJwo2uNiaxGUfPvdpGxV9o4ao1"); pedigree.CodeOf(err) != pedigree.CodeCorrupt {
			t.Errorf("%s: with another key: got %v", tt.name, err)
		}
		text := must(os.ReadFile(proof))(t)
		if bytes.Contains(text, []byte("4711.0815")) {
			t.Errorf("%s: the file holds the request", tt.name)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(sent.String(), "4711.0815") || !strings.Contains(sent.String(), "/predictions/which") {
		t.Errorf("what was asked left the program: %s", sent.String())
	}
}

// TestReadReplay: what is no file of a replay.
func TestReadReplay(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"text": "hello", "other.json": `{"schema": "pedigree.prediction/v1"}`, "newer.json": `{"schema": "pedigree.replay/v9"}`, "broken.json": `{"schema": "pedigree.replay/v1", "events": 7}`,
	})
	for name, want := range map[string]pedigree.ErrorCode{
		"none": pedigree.CodeNotFound, ".": pedigree.CodeInvalid, "text": pedigree.CodeInvalid, "other.json": pedigree.CodeInvalid,
		"newer.json": pedigree.CodeUnsupported, "broken.json": pedigree.CodeCorrupt,
	} {
		if _, err := client.ReadReplay(filepath.Join(dir, name)); pedigree.CodeOf(err) != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

// TestDocumentedReplay keeps the program in docs/predictions.md the one that is tested here.
func TestDocumentedReplay(t *testing.T) {
	doc := must(os.ReadFile(filepath.Join("..", "docs", "predictions.md")))(t)
	source := must(os.ReadFile("replay_test.go"))(t)
	_, code, _ := strings.Cut(string(doc), "<!-- sdk:begin -->\n```go\n")
	code, _, ok := strings.Cut(code, "```\n<!-- sdk:end -->")
	if !ok {
		t.Fatal("docs/predictions.md has no program that replays")
	}
	for line := range strings.Lines(code) {
		if !strings.Contains(string(source), line) {
			t.Errorf("docs/predictions.md has a line that is not tested: %s", line)
		}
	}
	r, line := scored(t)
	t.Chdir(t.TempDir())
	if err := replayLine(t.Context(), r.Client, must(json.Marshal(line))(t), answer); err != nil {
		t.Error(err)
	}
	must(client.ReadReplay("proof.json"))(t)
}
