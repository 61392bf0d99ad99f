package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/pedigree-ml/pedigree"
)

// PredictionSchema is the JSON Schema of a logged prediction as the server has it; this
// program has its own, pedigree.PredictionSchema.
func (c *Client) PredictionSchema(ctx context.Context) (json.RawMessage, error) {
	return ask[json.RawMessage](ctx, c, request{method: http.MethodGet, path: escape("schemas", "prediction", "v1")})
}

// WhichPrediction finds the deployment and the version that a logged prediction is of, as
// [Client.Which] does for other things: as of the time of the line, where at names no other
// moment. The first finding is the one that [Client.Replay] takes; its Contradictions say
// where the line and the registry do not agree. Names are looked up in the line's project,
// or in c's where it has none. Request, prediction, response and extra are not sent.
//
// It returns [pedigree.CodeNotFound], [pedigree.CodeInvalid] for what is no logged
// prediction, and [pedigree.CodeNotRecorded] for a target and a time before the record.
func (c *Client) WhichPrediction(ctx context.Context, p pedigree.Prediction, at pedigree.At) (pedigree.List[pedigree.Finding], error) {
	if p.Project != "" {
		c = c.In(p.Project)
	}
	return ask[pedigree.List[pedigree.Finding]](ctx, c, request{method: http.MethodPost, path: c.projectPath("predictions", "which"), query: asOf(at), in: p.Head(), reads: true})
}

// CheckPredictions has the registry check the lines of a log, one JSON object a line, and
// where target is not "" also against that target's log schema. It sends the lines as they
// are, with what was asked and answered; the registry keeps nothing of them.
//
// Bad lines are in the answer and no error. It returns [pedigree.CodeNotFound] for the
// target, and [pedigree.CodeTooLarge] for more than [pedigree.MaxPredictionLog] bytes.
func (c *Client) CheckPredictions(ctx context.Context, target pedigree.TargetName, lines io.Reader) (pedigree.PredictionCheck, error) {
	text, err := io.ReadAll(io.LimitReader(lines, pedigree.MaxPredictionLog+1))
	if err != nil {
		return pedigree.PredictionCheck{}, localError("read the lines", err)
	}
	if len(text) > pedigree.MaxPredictionLog {
		return pedigree.PredictionCheck{}, pedigree.Errorf(pedigree.CodeTooLarge, "the lines have more than %d bytes", pedigree.MaxPredictionLog).WithFix("send fewer at a time")
	}
	return ask[pedigree.PredictionCheck](ctx, c, request{
		method: http.MethodPost, path: c.projectPath("predictions", "check"), query: set(url.Values{}, "target", string(target)),
		header: http.Header{"Content-Type": {"application/x-ndjson"}},
		open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }, size: int64(len(text)), reads: true,
	})
}
