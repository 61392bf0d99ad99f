package httpapi

import (
	"bufio"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/notify"
)

const eventStream = "text/event-stream"

// The times of a watch: how often it says that it lives, how long a client may take to
// read before it is cut, and how soon it shall come back.
const (
	watchHeartbeat = 15 * time.Second
	watchPatience  = 30 * time.Second
	watchRetry     = time.Second
)

// watchLog streams events as they come, until the client goes, the server stops, or the
// client does not read. It goes on where it was with Last-Event-ID.
func (a *API) watchLog(c *call) error {
	w, err := c.watch()
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies would hold it back
	httpx.SetAsOf(c.w, w.After)
	if c.r.Method == http.MethodHead {
		return nil
	}
	s := &stream{out: bufio.NewWriterSize(c.w, 16<<10), control: http.NewResponseController(c.w), now: a.now}
	defer s.release()
	s.text("retry: " + strconv.FormatInt(watchRetry.Milliseconds(), 10) + "\n")
	if err := s.position(w.After); err != nil {
		return err
	}
	err = a.feed.Watch(c.ctx(), w, notify.Sink{Event: s.event, Flush: s.flush, Idle: s.position, Every: watchHeartbeat})
	if pedigree.CodeOf(err) == pedigree.CodeUnauthenticated { // its token has ended: it learns so when it comes back
		return nil
	}
	return err
}

// watch reads what shall be watched, and from where on.
func (c *call) watch() (w notify.Watch, err error) {
	if w.Reader, err = c.a.registrar.LogReader(c.ctx(), c.principal); err != nil {
		return w, err
	}
	if w.Types, err = c.types(); err != nil {
		return w, err
	}
	if text := c.query.Get("project"); text != "" {
		name, err := pedigree.ParseProjectName(text)
		if err != nil {
			return w, param("project", err)
		}
		p, err := c.a.registrar.Project(c.ctx(), c.principal, name, pedigree.At{})
		if err != nil {
			return w, err
		}
		w.Project = p.ID
	}
	if text := c.query.Get("model"); strings.HasPrefix(text, "mdl_") {
		w.Subjects = append(w.Subjects, text)
	} else if text != "" {
		ref, err := pedigree.ParseReference(text)
		if err != nil {
			return w, param("model", err)
		}
		home := pedigree.ProjectName(c.query.Get("project"))
		if home == "" {
			home = pedigree.DefaultProject
		}
		subject, err := c.a.registrar.Subject(c.ctx(), c.principal, ref.In(home), pedigree.At{})
		if err != nil {
			return w, err
		}
		w.Subjects = append(w.Subjects, subject)
	}
	if text := c.query.Get("subject"); text != "" {
		w.Subjects = append(w.Subjects, text)
	}
	head, err := c.a.registrar.Moment(c.ctx(), c.principal, pedigree.At{})
	if err != nil {
		return w, err
	}
	if w.After, err = c.number("after", head, -1); err != nil {
		return w, err
	}
	if text := c.r.Header.Get("Last-Event-ID"); text != "" { // a browser repeats the first URL
		if w.After, err = strconv.ParseInt(text, 10, 64); err != nil || w.After < -1 {
			return w, invalid("the header Last-Event-ID is %q, which is not the number of an event", clip(text))
		}
	}
	if w.After > head {
		return w, pedigree.Errorf(pedigree.CodeNotRecorded, "event %d is not recorded yet; the last is %d", w.After, head)
	}
	return w, nil
}

// types reads the types wanted of the query.
func (c *call) types() (types []pedigree.EventType, err error) {
	for _, t := range c.query["type"] {
		if !slices.Contains(pedigree.EventTypes, pedigree.EventType(t)) {
			return nil, invalid("query parameter type: there is no type %q", clip(t))
		}
		types = append(types, pedigree.EventType(t))
	}
	slices.Sort(types)
	return slices.Compact(types), nil
}

// stream writes server-sent events. Each write has a deadline: a client that does not read
// must not be waited for.
type stream struct {
	out     *bufio.Writer
	control *http.ResponseController
	now     func() time.Time
}

func (s *stream) text(parts ...string) {
	for _, p := range parts {
		_, _ = s.out.WriteString(p) // flush says what went wrong
	}
}

func (s *stream) event(e *notify.Entry, hidden bool) error {
	kind, data, err := string(e.Event.Type), []byte(nil), error(nil)
	if hidden {
		kind = "hidden"
		data, err = notify.Hidden(e)
	} else {
		data, err = e.JSON()
	}
	if err != nil {
		return err
	}
	if err := s.patience(); err != nil {
		return err
	}
	s.text("id: ", strconv.FormatInt(e.Event.Seq, 10), "\nevent: ", kind, "\ndata: ")
	_, _ = s.out.Write(data)
	_, err = s.out.WriteString("\n\n")
	return err
}

// position tells how far the watch has looked: an id without data moves what the client
// will send as Last-Event-ID, and is no event.
func (s *stream) position(seq int64) error {
	if seq < 0 {
		s.text(": the beginning\n\n")
	} else {
		s.text(": still here\nid: ", strconv.FormatInt(seq, 10), "\n\n")
	}
	return s.flush()
}

func (s *stream) flush() error {
	if err := s.patience(); err != nil {
		return err
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *stream) patience() error { return s.deadline(s.now().Add(watchPatience)) }

func (s *stream) deadline(t time.Time) error {
	err := s.control.SetWriteDeadline(t)
	if errors.Is(err, http.ErrNotSupported) { // a client in this process
		return nil
	}
	return err
}

// release gives the connection back without a deadline.
func (s *stream) release() { _ = s.deadline(time.Time{}) }
