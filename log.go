package pedigree

import (
	"encoding/json"
	"time"
)

// Entry is one event as the API returns it and the export writes it: the exact
// envelope, and what is left of the payload.
type Entry struct {
	// Envelope is the exact text that the leaf hashes. Empty where the caller may not
	// read the event; Seq and Leaf are still there.
	Envelope string `json:"envelope,omitempty"`
	// Fields are the payload, sorted by name.
	Fields []Field `json:"fields,omitempty"`
	// Seq is the event's number.
	Seq int64 `json:"seq"`
	// Leaf is the RFC 6962 leaf hash of the envelope.
	Leaf []byte `json:"leaf"`
	Named
}

// Event parses the envelope and puts the payload beside it. It returns
// [CodeCorrupt].
func (e *Entry) Event() (Event, error) {
	ev, err := ParseEnvelope(e.Envelope)
	ev.Fields = e.Fields
	return ev, err
}

// Checkpoint is the signed size and root hash of the log: a signed note of the form
// of C2SP tlog-checkpoint.
type Checkpoint struct {
	Origin string `json:"origin"`
	// Size is the number of events that Root covers.
	Size int64  `json:"size"`
	Root []byte `json:"root"`
	// Note is the signed text, to be kept by whoever wants to check later.
	Note string `json:"note"`
}

// InclusionProof shows that the event Seq is in the tree of Size events.
type InclusionProof struct {
	Seq    int64    `json:"seq"`
	Size   int64    `json:"size"`
	Leaf   []byte   `json:"leaf"`
	Hashes [][]byte `json:"hashes"`
}

// ConsistencyProof shows that the tree of From events is a prefix of that of Size.
type ConsistencyProof struct {
	From   int64    `json:"from"`
	Size   int64    `json:"size"`
	Hashes [][]byte `json:"hashes"`
}

// LogKey is a public key of the log and the event from which on it signs.
type LogKey struct {
	// Key is a note verifier key: name+hash+base64.
	Key     string    `json:"key"`
	FromSeq int64     `json:"from_seq"`
	From    time.Time `json:"from"`
}

// EventQuery chooses events of the log.
type EventQuery struct {
	// Subject is an opaque id; events that it is the subject of or that refer to it, and
	// for a model those of its versions.
	Subject string
	// Types are the types wanted; none means all.
	Types []EventType
	// After is the seq after which to begin; -1 begins at the first.
	After int64
	// Newest lists the newest first; After is then the seq before which to begin, and
	// -1 begins at the last.
	Newest bool
	// Limit as in [Page].
	Limit int
}

// WatchQuery chooses the events that a watch is told of.
type WatchQuery struct {
	// After is the seq after which to begin; nil begins with what comes from now on.
	After *int64
	// Project is the one project wanted, "" stands for all.
	Project ProjectName
	// Model is a reference to a model, or its opaque id; what happens to its versions
	// happens to it.
	Model string
	// Subject is an opaque id, as in [EventQuery].
	Subject string
	// Types are the types wanted; none means all.
	Types []EventType
}

// Payload returns the payload as one JSON object for people; an erased field is
// null.
func (e *Entry) Payload() map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(e.Fields))
	for _, f := range e.Fields {
		out[f.Name] = f.Value
		if f.Erased() {
			out[f.Name] = json.RawMessage("null")
		}
	}
	return out
}

// Proven is an event with the proof that it is in the log of a checkpoint.
type Proven struct {
	Entry     Entry          `json:"entry"`
	Inclusion InclusionProof `json:"inclusion"`
}
