package httpapi

import (
	"bufio"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

const ndjson = "application/x-ndjson"

// Redaction is what a caller gives to erase payload fields.
type Redaction struct {
	Fields []string `json:"fields"`
	Reason string   `json:"reason,omitempty"`
}

func (a *API) getCheckpoint(c *call) error {
	cp, err := a.registrar.Checkpoint(c.ctx(), c.principal)
	if err != nil {
		return err
	}
	httpx.SetAsOf(c.w, cp.Size-1)
	c.w.Header().Set("Vary", "Accept")
	if wantsText(c.r.Header.Get("Accept")) {
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, err := c.w.Write([]byte(cp.Note))
		return err
	}
	return c.answer(cp, nil)
}

// wantsText says whether text/plain is asked for by name, and JSON is not before it.
func wantsText(accept string) bool {
	for _, part := range strings.Split(accept, ",") {
		switch base, _, _ := mime.ParseMediaType(part); base {
		case "text/plain":
			return true
		case "application/json", "*/*":
			return false
		}
	}
	return false
}

func (a *API) listLogKeys(c *call) error {
	keys, err := a.registrar.Keys(c.ctx(), c.principal)
	if err != nil {
		return err
	}
	head, err := a.registrar.Moment(c.ctx(), c.principal, pedigree.At{})
	return answerList(c, pedigree.List[pedigree.LogKey]{Items: keys, AsOf: head}, err)
}

func (a *API) listEvents(c *call) error {
	q, err := c.eventQuery()
	if err != nil {
		return err
	}
	if text := c.query.Get("ref"); text != "" {
		ref, err := pedigree.ParseReference(text)
		if err != nil {
			return param("ref", err)
		}
		if q.Subject, err = a.registrar.Subject(c.ctx(), c.principal, ref.In(pedigree.DefaultProject), pedigree.At{}); err != nil {
			return err
		}
	}
	list, err := a.registrar.Entries(c.ctx(), c.principal, q)
	return answerList(c, list, err)
}

func (c *call) eventQuery() (pedigree.EventQuery, error) {
	q := pedigree.EventQuery{Subject: c.query.Get("subject")}
	if q.Subject != "" && c.query.Get("ref") != "" {
		return q, invalid("query parameters subject and ref say the same; send one of them")
	}
	var err error
	if q.Types, err = c.types(); err != nil {
		return q, err
	}
	page, err := c.page()
	if err != nil {
		return q, err
	}
	q.Limit = page.Limit
	if q.After, err = c.number("after", -1, -1); err != nil {
		return q, err
	}
	q.Newest, err = c.flag("newest")
	return q, err
}

func (a *API) getEvent(c *call) error {
	seq, err := c.seq()
	if err != nil {
		return err
	}
	list, err := a.registrar.Entries(c.ctx(), c.principal, pedigree.EventQuery{After: seq - 1, Limit: 1})
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		return pedigree.Errorf(pedigree.CodeNotFound, "there is no event %d; the last is %d", seq, list.AsOf)
	}
	return c.answer(list.Items[0], nil)
}

func (a *API) redactEvent(c *call) error {
	seq, err := c.seq()
	if err != nil {
		return err
	}
	var in Redaction
	if err := c.decode(&in); err != nil {
		return err
	}
	entry, err := a.registrar.Redact(c.ctx(), c.principal, seq, in.Fields, in.Reason)
	return c.answer(entry, err)
}

// exportBatch is how many events are read at a time: few enough that a batch with
// large records fits in memory, many enough that reading is not all beginning.
const exportBatch = 200

// exportLog streams the log up to its head at the time of the request: events that
// are appended meanwhile are for the next export.
func (a *API) exportLog(c *call) error {
	after, err := c.number("after", -1, -1)
	if err != nil {
		return err
	}
	head, err := a.registrar.Moment(c.ctx(), c.principal, pedigree.At{})
	if err != nil {
		return err
	}
	if after > head {
		return pedigree.Errorf(pedigree.CodeNotRecorded, "event %d is not recorded yet; the last is %d", after, head)
	}
	httpx.SetAsOf(c.w, head)
	c.w.Header().Set("Content-Type", ndjson)
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	if c.r.Method == http.MethodHead {
		return nil
	}
	out := bufio.NewWriterSize(c.w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for after < head {
		limit := int(min(head-after, exportBatch))
		list, err := a.registrar.Entries(c.ctx(), c.principal, pedigree.EventQuery{After: after, Limit: limit})
		if err != nil {
			return err
		}
		if len(list.Items) != limit {
			return pedigree.Errorf(pedigree.CodeCorrupt, "%d events come after event %d, want %d", len(list.Items), after, limit)
		}
		for i := range list.Items {
			if err := enc.Encode(&list.Items[i]); err != nil {
				return err
			}
		}
		after = list.Items[limit-1].Seq
		if err := out.Flush(); err != nil {
			return err
		}
		if err := http.NewResponseController(c.w).Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (a *API) proveInclusion(c *call) error {
	if !c.query.Has("seq") {
		return invalid("query parameter seq is missing: which event?")
	}
	seq, err := c.number("seq", 0, 0)
	if err != nil {
		return err
	}
	size, err := c.number("size", 0, 0)
	if err != nil {
		return err
	}
	proof, err := a.registrar.ProveInclusion(c.ctx(), c.principal, seq, size)
	return c.answer(proof, err)
}

func (a *API) proveConsistency(c *call) error {
	from, err := c.number("from", 0, 0)
	if err != nil {
		return err
	}
	size, err := c.number("size", 0, 0)
	if err != nil {
		return err
	}
	proof, err := a.registrar.ProveConsistency(c.ctx(), c.principal, from, size)
	return c.answer(proof, err)
}
