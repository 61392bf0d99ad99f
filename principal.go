package pedigree

// Principal is the caller of an operation. Every operation takes one, so that an
// anonymous call does not compile. Only its opaque id enters the log; names and
// addresses of people stay in a table that can be erased.
type Principal struct {
	// ID is the opaque actor id: "local" for a server without accounts, "system"
	// for what the registry does by itself.
	ID string `json:"id"`
	// RequestID is the server's id of the request that this call serves. It enters
	// the envelope of every event of the call.
	RequestID string `json:"-"`
	// IdempotencyKey, when not empty, makes the call's append happen at most once.
	IdempotencyKey string `json:"-"`
	// Fingerprint is a digest over what the request asks for; the same key with
	// another fingerprint is refused. Empty without a key.
	Fingerprint Digest `json:"-"`
}

// Local is the caller of a registry that has no accounts.
var Local = Principal{ID: "local"}

// System is the registry itself: it writes the first events of a log.
var System = Principal{ID: "system"}
