package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// silence is how long a watch may be quiet before its connection counts as lost: the
// server says every 15 seconds that it lives.
const silence = 50 * time.Second

// Watch calls f with each event that q chooses, as it is appended, in order. A lost
// connection is made again and goes on where it was: f misses nothing, and sees an event
// once. It returns what f returns, ctx's error once that ends, and the server's error where
// that refuses the watch.
func (c *Client) Watch(ctx context.Context, q pedigree.WatchQuery, f func(pedigree.Entry) error) error {
	w := &watching{c: c, query: watchQuery(q), f: f}
	for try := 0; ; try++ {
		seen := w.last
		err := w.once(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case w.failed != nil:
			return w.failed
		case err != nil && pedigree.CodeOf(err) != pedigree.CodeUnavailable:
			return err
		}
		if w.last != seen {
			try = 0
		}
		if err := pause(ctx, try, 0); err != nil {
			return err
		}
	}
}

func watchQuery(q pedigree.WatchQuery) url.Values {
	v := set(set(set(url.Values{}, "project", string(q.Project)), "model", q.Model), "subject", q.Subject)
	for _, t := range q.Types {
		v.Add("type", string(t))
	}
	if q.After != nil {
		v.Set("after", number(*q.After))
	}
	return v
}

// watching is a watch over any number of connections.
type watching struct {
	c     *Client
	query url.Values
	f     func(pedigree.Entry) error
	// last is the id that the server gave last, "" before.
	last string
	// failed is f's error.
	failed error
}

// once watches by one connection, until that ends.
func (w *watching) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := request{method: http.MethodGet, path: escape("watch"), query: w.query, header: http.Header{"Accept": {"text/event-stream"}}}
	if w.last != "" {
		r.header.Set("Last-Event-ID", w.last)
	}
	resp, err := w.c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	err = w.read(resp.Body, func() { alive.Reset(silence) })
	if err == nil || errors.Is(err, io.EOF) || w.failed != nil {
		return nil // the server stops, or f has enough
	}
	return pedigree.Errorf(pedigree.CodeUnavailable, "the watch of %s broke off: %w", w.c.shown, err)
}

// read reads server-sent events; heard is called for each line.
func (w *watching) read(body io.Reader, heard func()) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	var data []byte
	id := w.last
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err // what was not ended by an empty line does not count
		}
		heard()
		field, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "id":
			if _, err := strconv.ParseInt(value, 10, 64); err != nil {
				return err
			}
			id = value
		case field == "data":
			data = append(data, value...)
		case field == "" && len(line) <= 2: // the end of an event
			if len(data) > 0 {
				var e pedigree.Entry
				if err := json.Unmarshal(data, &e); err != nil {
					return err
				}
				if w.failed = w.f(e); w.failed != nil {
					return w.failed
				}
				data = data[:0]
			}
			w.last = id
		}
	}
}
