package registrar

import (
	"context"
	"sync"

	"github.com/pedigree-ml/pedigree"
)

// turns lets callers that lost a race decide again one after the other. Of many whose decisions
// rest on one subject that each of them moves, as do deployments at one target, only one wins a
// race; where all others decide again at once, the work grows with their square.
//
// That what a decision rests on still holds is for the log's checks to say, in every process:
// a turn only saves work.
type turns struct {
	mu    sync.Mutex
	lines map[string]*line
}

// line is those who decide, or wait to decide, about one subject.
type line struct {
	turn   chan struct{} // holds one value while it is somebody's turn
	length int
}

// turn is that of one caller; the zero value is nobody's.
type turn struct {
	of      *turns
	subject string
}

// take waits until it is the caller's turn about a subject that its decision rests on and
// that has moved. Its turn about another ends: two that wait for each other's would wait for
// ever. It returns false where ctx ends first.
func (t *turn) take(ctx context.Context, subject string) bool {
	// What says who may do what is under every decision, and moves seldom: that is no race.
	if subject == t.subject || subject == pedigree.AccessKey {
		return true
	}
	t.leave()
	t.of.mu.Lock()
	l := t.of.lines[subject]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		if t.of.lines == nil {
			t.of.lines = map[string]*line{}
		}
		t.of.lines[subject] = l
	}
	l.length++
	t.of.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		t.subject = subject
		return true
	case <-ctx.Done():
		t.of.shorten(subject)
		return false
	}
}

// leave ends the caller's turn, where it has one.
func (t *turn) leave() {
	if t.subject != "" {
		<-t.of.shorten(t.subject).turn
		t.subject = ""
	}
}

// shorten takes one out of a line, and forgets a line that is empty.
func (t *turns) shorten(subject string) *line {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[subject]
	if l.length--; l.length == 0 {
		delete(t.lines, subject)
	}
	return l
}
