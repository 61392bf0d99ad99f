package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pedigree-ml/pedigree"
)

// Checkpoint is the signed size and root of the server's log now. Its signature is not
// checked here: [Client.Remember] does, and keeps it.
func (c *Client) Checkpoint(ctx context.Context) (pedigree.Checkpoint, error) {
	return ask[pedigree.Checkpoint](ctx, c, request{method: http.MethodGet, path: escape("log", "checkpoint")})
}

// Keys are the public keys of the log, oldest first, as the server says.
func (c *Client) Keys(ctx context.Context) ([]pedigree.LogKey, error) {
	var out pedigree.List[pedigree.LogKey]
	err := c.call(ctx, request{method: http.MethodGet, path: escape("log", "keys")}, &out)
	return out.Items, err
}

// Events lists events of the log as they were written. The Next of a page is the After
// of the page that follows, in decimal.
func (c *Client) Events(ctx context.Context, q pedigree.EventQuery) (pedigree.List[pedigree.Entry], error) {
	return c.events(ctx, eventQuery(q))
}

// EventsOf lists the events of the model that ref names, or of the version where it
// chooses one. q's Subject is not used.
func (c *Client) EventsOf(ctx context.Context, ref pedigree.Reference, q pedigree.EventQuery) (pedigree.List[pedigree.Entry], error) {
	q.Subject = ""
	query := eventQuery(q)
	query.Set("ref", ref.In(c.project).String())
	return c.events(ctx, query)
}

func (c *Client) events(ctx context.Context, query url.Values) (pedigree.List[pedigree.Entry], error) {
	return ask[pedigree.List[pedigree.Entry]](ctx, c, request{method: http.MethodGet, path: escape("log", "events"), query: query})
}

func eventQuery(q pedigree.EventQuery) url.Values {
	v := paged(set(url.Values{}, "subject", q.Subject), pedigree.Page{Limit: q.Limit})
	for _, t := range q.Types {
		v.Add("type", string(t))
	}
	if q.After >= 0 {
		v.Set("after", number(q.After))
	}
	if q.Newest {
		v.Set("newest", "true")
	}
	return v
}

// Event reads one event. It returns [pedigree.CodeNotFound].
func (c *Client) Event(ctx context.Context, seq int64) (pedigree.Entry, error) {
	return ask[pedigree.Entry](ctx, c, request{method: http.MethodGet, path: escape("log", "events", number(seq))})
}

// Export writes the events after the given one (-1: all) to w, one [pedigree.Entry] as
// JSON a line, up to the head of the log when it began. A nil error means that all of
// them came. It is not tried again: w may have taken a part.
func (c *Client) Export(ctx context.Context, after int64, w io.Writer) error {
	q := url.Values{"after": {number(after)}}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: escape("log", "export"), query: q})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, resp.Body, make([]byte, bufferSize)); err != nil {
		return fmt.Errorf("export the log of %s: %w", c.shown, err)
	}
	return nil
}

// InclusionProof proves that event seq is in the tree of size events; 0 stands for the
// whole log. Check it with the verifier, not by trust.
func (c *Client) InclusionProof(ctx context.Context, seq, size int64) (pedigree.InclusionProof, error) {
	q := url.Values{"seq": {number(seq)}, "size": {number(size)}}
	return ask[pedigree.InclusionProof](ctx, c, request{method: http.MethodGet, path: escape("log", "proofs", "inclusion"), query: q})
}

// ConsistencyProof proves that the first from events are a prefix of the first size; 0
// stands for the whole log.
func (c *Client) ConsistencyProof(ctx context.Context, from, size int64) (pedigree.ConsistencyProof, error) {
	q := url.Values{"from": {number(from)}, "size": {number(size)}}
	return ask[pedigree.ConsistencyProof](ctx, c, request{method: http.MethodGet, path: escape("log", "proofs", "consistency"), query: q})
}

// Redact erases payload fields of one event for good; every proof still holds. It
// returns the entry of the erasure, and [pedigree.CodeRefused] for a field that holds
// the registry's structure.
func (c *Client) Redact(ctx context.Context, seq int64, fields []string, reason string) (pedigree.Entry, error) {
	in := struct {
		Fields []string `json:"fields"`
		Reason string   `json:"reason,omitempty"`
	}{fields, reason}
	return ask[pedigree.Entry](ctx, c, request{method: http.MethodPost, path: escape("log", "events", number(seq), "redactions"), in: in})
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
