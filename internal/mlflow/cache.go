package mlflow

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// answerCache keeps rendered answers about the present for as long as the log does not
// grow: each is keyed by the log's head, so that a change that was acknowledged by any
// server is seen at once by all. A client of MLflow asks for the same few models before
// nearly every change.
type answerCache struct {
	mu      sync.RWMutex
	head    int64
	bytes   int
	answers map[question][]byte
}

// question names an answer: the endpoint, and what it was asked.
type question struct{ route, project, name, key string }

// maxAnswers, maxAnswer and maxBytes bound what is kept: a number of answers, the bytes
// of one, and those of all.
const (
	maxAnswers = 10_000
	maxAnswer  = 256 << 10
	maxBytes   = 16 << 20
)

func (c *answerCache) get(head int64, q question) []byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.head != head {
		return nil
	}
	return c.answers[q]
}

func (c *answerCache) put(head int64, q question, body []byte) {
	if len(body) > maxAnswer {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if head < c.head {
		return
	}
	if c.head != head || c.answers == nil || len(c.answers) >= maxAnswers || c.bytes+len(body) > maxBytes {
		c.head, c.bytes, c.answers = head, 0, map[question][]byte{}
	}
	c.bytes += len(body) - len(c.answers[q])
	c.answers[q] = body
}

// asked is all that a request says: its query, or its body.
func (c *call) asked() string {
	if c.in.query {
		return c.r.URL.RawQuery
	}
	return string(c.body)
}

// answerCached answers with what read returns, kept while the log does not grow.
func (c *call) answerCached(route, name, key string, read func() (any, error)) error {
	head, err := c.d.registrar.Head(c.ctx(), c.principal, c.project)
	if err != nil {
		return err
	}
	q := question{route, string(c.project), name, key}
	body := c.d.answers.get(head, q)
	if body == nil {
		v, err := read()
		if err != nil {
			return err
		}
		if body, err = marshal(v); err != nil {
			return err
		}
		c.d.answers.put(head, q, body)
	}
	httpx.WriteRaw(c.w, http.StatusOK, body)
	return nil
}

// marshal writes v as JSON without HTML escapes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// jsonText is a text as JSON, as MLflow's messages show values.
func jsonText(s string) string {
	b, err := marshal(s)
	if err != nil { // a text always marshals
		return `""`
	}
	return string(bytes.TrimSuffix(b, []byte("\n")))
}
