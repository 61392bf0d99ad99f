package pedigree

// Principal is the caller of an operation. Every operation takes one, so that an
// anonymous call does not compile. Only its opaque id enters the log; names and
// addresses of people stay in a table that can be erased.
type Principal struct {
	// ID is the opaque actor id: of an account, or "local" for a caller that says
	// nothing of itself, "operator" for who works on the database itself, "system" for
	// what the registry does by itself.
	ID string `json:"id"`
	// Kind is that of the account; "" for a caller that is none.
	Kind AccountKind `json:"kind,omitempty"`
	// ActsFor is the id of the person for whom a service account acts; "" for none that
	// is known.
	ActsFor string `json:"acts_for,omitempty"`
	// Token is the id of the token that the caller showed, "" for none.
	Token string `json:"token,omitempty"`
	// Scopes narrow what the account may; none leave it as it is.
	Scopes []Scope `json:"scopes,omitempty"`
	// Head is the size that the log had when the token was looked up, within the request
	// that this call serves, and Access the last event that said who may do what, -1 for
	// none. Head is 0 where nothing was looked up.
	Head   int64 `json:"-"`
	Access int64 `json:"-"`
	// RequestID is the server's id of the request that this call serves. It enters
	// the envelope of every event of the call.
	RequestID string `json:"-"`
	// IdempotencyKey, when not empty, makes the call's append happen at most once.
	IdempotencyKey string `json:"-"`
	// Fingerprint is a digest over what the request asks for; the same key with
	// another fingerprint is refused. Empty without a key.
	Fingerprint Digest `json:"-"`
	// DryRun says that the call only asks what it would do: it is decided as ever, rights
	// and gates and all, nothing is appended, and it ends with [Rehearsed].
	DryRun bool `json:"-"`
}

// Local is the caller that says nothing of itself: whoever calls a registry without
// accounts. Where there are accounts it may read what is public, and nothing else.
var Local = Principal{ID: "local"}

// Operator is who works on the database itself, past every account: the commands below
// "pedigree admin". No request ever has it.
var Operator = Principal{ID: "operator"}

// System is the registry itself: it writes the first events of a log.
var System = Principal{ID: "system"}

// Account says whether the caller is an account.
func (p *Principal) Account() bool { return p.Kind != "" }

// Trusted says that the caller is the registry itself, or works on its database: nothing
// that the registry could say would stop it.
func (p *Principal) Trusted() bool { return p.ID == System.ID || p.ID == Operator.ID }

// Identity is what the registry knows of a caller.
type Identity struct {
	// Accounts says whether the registry has accounts at all.
	Accounts bool `json:"accounts"`
	// Account is the caller's, nil where it shows no token.
	Account *Account `json:"account,omitempty"`
	// Token is the one that was shown.
	Token *Token `json:"token,omitempty"`
	// Bindings are what the account may, by itself and by its groups.
	Bindings []Binding `json:"bindings,omitempty"`
}
