package pedigree

import (
	"regexp"
	"strings"
	"time"
)

// AccountKind says what uses an account.
type AccountKind string

// The kinds of account.
const (
	UserAccount    AccountKind = "user"    // a person
	ServiceAccount AccountKind = "service" // a program
)

// UnmarshalText implements [encoding.TextUnmarshaler]: "user", "service", or
// [CodeInvalid].
func (k *AccountKind) UnmarshalText(b []byte) error {
	switch *k = AccountKind(b); *k {
	case UserAccount, ServiceAccount:
		return nil
	}
	return Errorf(CodeInvalid, "%q is not a kind of account: want user or service", clip(string(b)))
}

// ActorName is the name of an account or of a group: 1 to 100 lower-case letters and
// digits, with ".", "_", "-", "+" and "@" between them. It stands beside the log, never
// in it.
type ActorName string

var actorPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._+@-]*[a-z0-9])?$`)

// MaxActorName is the longest name of an account or a group, in bytes.
const MaxActorName = 100

// ParseActorName checks s and returns it as an ActorName, or [CodeInvalid].
func ParseActorName(s string) (ActorName, error) {
	if len(s) > MaxActorName || !actorPattern.MatchString(s) {
		return "", Errorf(CodeInvalid, "%q is not the name of an account or a group: use 1 to %d lower-case letters and digits, with '.', '_', '-', '+' and '@' between them", clip(s), MaxActorName)
	}
	switch s {
	case Local.ID, Operator.ID, System.ID, "anonymous", InstanceSubject:
		return "", Errorf(CodeInvalid, "the name %q is reserved", s)
	}
	for _, prefix := range []string{"acc_", "grp_", "tok_"} {
		if strings.HasPrefix(s, prefix) {
			return "", Errorf(CodeInvalid, "the name %q reads as an id", clip(s))
		}
	}
	return ActorName(s), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseActorName].
func (n *ActorName) UnmarshalText(b []byte) error {
	v, err := ParseActorName(string(b))
	*n = v
	return err
}

// Account is a person or a program that calls the registry. Its name and its address
// stand beside the log and can be erased; what it did stays, under its id.
type Account struct {
	// ID is opaque: "acc_…".
	ID   string      `json:"id"`
	Kind AccountKind `json:"kind"`
	// Name is "" once it was erased.
	Name        ActorName `json:"name,omitempty"`
	DisplayName string    `json:"display_name,omitempty"`
	// Email is shown to those who may change accounts, and to the account itself.
	Email string `json:"email,omitempty"`
	// ActsFor is the id of the person for whom a service account acts, ActsForName the
	// name.
	ActsFor     string    `json:"acts_for,omitempty"`
	ActsForName ActorName `json:"acts_for_name,omitempty"`
	// Disabled accounts may do nothing. Erased ones are disabled for good.
	Disabled  bool      `json:"disabled,omitempty"`
	Erased    bool      `json:"erased,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	// Seq is the event that created it, Changed the last one that changed it.
	Seq     int64 `json:"seq"`
	Changed int64 `json:"changed"`
	Named
}

// Named is what an answer says of the actors that it shows by their ids: a name for each
// that has one. Callers who have not signed in are told no names.
type Named struct {
	Names map[string]ActorName `json:"names,omitempty"`
}

// Said returns the names.
func (n *Named) Said() map[string]ActorName { return n.Names }

// NewAccount is what a caller asks of an account that is to be made.
type NewAccount struct {
	Name ActorName `json:"name"`
	// Kind is user where it is "".
	Kind        AccountKind `json:"kind,omitempty"`
	DisplayName string      `json:"display_name,omitempty"`
	Email       string      `json:"email,omitempty"`
	// ActsFor is the name or the id of the person for whom a service account acts.
	ActsFor string `json:"acts_for,omitempty"`
}

// AccountEdit changes what is said of an account; a nil field stays as it is, an empty
// text removes the value.
type AccountEdit struct {
	DisplayName *string `json:"display_name,omitempty"`
	Email       *string `json:"email,omitempty"`
	ActsFor     *string `json:"acts_for,omitempty"`
}

// Label is the account's name, or its id once the name was erased.
func (a *Account) Label() string {
	if a.Name == "" {
		return a.ID
	}
	return string(a.Name)
}

// EnableAccounts decides that from now on callers must say who they are. It returns
// [CodeRefused] where they have to already: since is the event, -1 for none.
func EnableAccounts(since int64) ([]Draft, error) {
	if since >= 0 {
		return nil, Errorf(CodeRefused, "this registry has accounts already").WithFix("pedigree admin token NAME makes a token for one of them")
	}
	return []Draft{{Type: AuthEnabled, Subject: InstanceSubject, Payload: Payload{}}}, nil
}

// CreateAccount decides the creation of an account under a new id. actsFor, where not
// nil, is the person for whom a service account acts. It returns [CodeInvalid].
func CreateAccount(id string, kind AccountKind, actsFor *Account) ([]Draft, error) {
	payload := Payload{"kind": kind}
	if actsFor != nil {
		if err := checkActsFor(kind, actsFor); err != nil {
			return nil, err
		}
		payload["acts_for"] = actsFor.ID
	}
	return []Draft{{Type: AccountCreated, Subject: id, Payload: payload}}, nil
}

func checkActsFor(kind AccountKind, person *Account) error {
	switch {
	case kind != ServiceAccount:
		return Errorf(CodeInvalid, "only a service account acts for somebody").WithFix("add --service, or leave --acts-for out")
	case person.Kind != UserAccount:
		return Errorf(CodeInvalid, "%s is a service account: name the person who answers for it", person.Label())
	case person.Disabled:
		return Errorf(CodeInvalid, "%s is disabled: name somebody who can answer for it", person.Label())
	}
	return nil
}

// SetActsFor decides for whom a service account acts from now on; nil is nobody that is
// known. It returns [CodeInvalid], and no event where nothing changes.
func (a *Account) SetActsFor(person *Account) ([]Draft, error) {
	id := ""
	if person != nil {
		if err := checkActsFor(a.Kind, person); err != nil {
			return nil, err
		}
		id = person.ID
	}
	if id == a.ActsFor {
		return nil, nil
	}
	return []Draft{{Type: AccountChanged, Subject: a.ID, Payload: Payload{"acts_for": id}}}, nil
}

// Describe decides that other things are said of an account beside the log: the event holds
// none of them.
func (a *Account) Describe() []Draft {
	return []Draft{{Type: AccountChanged, Subject: a.ID, Payload: Payload{}}}
}

// Disable decides that an account may do nothing from now on. lastAdmin says that no
// other account holds the role admin for the whole registry by itself. It returns
// [CodeRefused] for that one, and no event for a disabled account.
func (a *Account) Disable(lastAdmin bool, reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	switch {
	case a.Disabled:
		return nil, nil
	case lastAdmin:
		return nil, errLastAdmin(a.Label())
	}
	return []Draft{{Type: AccountDisabled, Subject: a.ID, Payload: Payload{}.with("reason", reason)}}, nil
}

func errLastAdmin(name string) *Error {
	return Errorf(CodeRefused, "%s is the last account that is admin of the whole registry: nobody could let anybody in afterwards", name).
		WithFix("first make another one: pedigree role grant admin NAME --instance")
}

// Enable undoes [Account.Disable]. It returns [CodeRefused] for an account whose name
// was erased, and no event for one that is not disabled.
func (a *Account) Enable(reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	switch {
	case a.Erased:
		return nil, Errorf(CodeRefused, "the account %s was erased", a.ID).WithFix("pedigree account create makes a new one")
	case !a.Disabled:
		return nil, nil
	}
	return []Draft{{Type: AccountEnabled, Subject: a.ID, Payload: Payload{}.with("reason", reason)}}, nil
}

// Erase decides that the name, the address and the tokens of an account go for good; the
// account may do nothing afterwards. lastAdmin is as in [Account.Disable]. It returns
// [CodeRefused], and no event for an account that was erased.
func (a *Account) Erase(lastAdmin bool) ([]Draft, error) {
	switch {
	case a.Erased:
		return nil, nil
	case lastAdmin:
		return nil, errLastAdmin(a.Label())
	}
	return []Draft{{Type: AccountErased, Subject: a.ID, Payload: Payload{}}}, nil
}

// CheckActor checks what is said of an account or a group beside its name. It returns
// [CodeInvalid].
func CheckActor(displayName, email string) error {
	if err := checkText("display name", displayName, MaxName); err != nil {
		return err
	}
	if err := checkText("e-mail address", email, MaxName); err != nil {
		return err
	}
	if email != "" && (strings.Count(email, "@") != 1 || strings.ContainsAny(email, " \t\r\n,;<>")) {
		return Errorf(CodeInvalid, "%q is not an e-mail address", clip(email))
	}
	return nil
}
