package pedigree

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPermits(t *testing.T) {
	in := func(r Role, project string) []Grant { return []Grant{{Role: r, Project: project}} }
	for _, tt := range []struct {
		name       string
		grants     []Grant
		permission Permission
		project    string
		want       bool
	}{
		{"nothing", nil, RecordsRead, "p", false},
		{"in the project", in(Viewer, "p"), RecordsRead, "p", true},
		{"in another", in(Viewer, "q"), RecordsRead, "p", false},
		{"in one, asked about all", in(Viewer, "p"), RecordsRead, "", false},
		{"in all", in(Viewer, ""), RecordsRead, "p", true},
		{"in all, asked about all", in(Viewer, ""), RecordsRead, "", true},
		{"records, not bytes", in(Viewer, "p"), BytesRead, "p", false},
		{"bytes", in(Reader, "p"), BytesRead, "p", true},
		{"the union", append(in(Viewer, "p"), in(OnCall, "p")...), DeploymentsRollback, "p", true},
		{"rollback is no deploy", in(OnCall, "p"), DeploymentsWrite, "p", false},
		{"an approver does not register", in(Approver, "p"), VersionsWrite, "p", false},
		{"a contributor does not decide", in(Contributor, "p"), ApprovalsDecide, "p", false},
		{"a project's admin", in(Admin, "p"), BindingsWrite, "p", true},
		{"of the project alone", in(Admin, "p"), BindingsWrite, "", false},
		{"makes no accounts", in(Admin, "p"), AccountsWrite, "p", false},
		{"nor projects", in(Admin, "p"), ProjectsWrite, "", false},
		{"the registry's admin does", in(Admin, ""), AccountsWrite, "", true},
		{"everybody reads proofs", nil, ProofsRead, "", true},
		{"a role that is none", in("owner", "p"), RecordsRead, "p", false},
	} {
		checkEqual(t, tt.name, Permits(tt.grants, tt.permission, tt.project), tt.want)
	}
}

// TestRoles: every permission is somebody's, every role can see, and an admin can do all.
func TestRoles(t *testing.T) {
	for _, p := range Permissions {
		if len(p.Least()) == 0 || !Admin.Has(p) {
			t.Errorf("nobody holds %s", p)
		}
		if p.Instance() && len(p.Least()) != 1 {
			t.Errorf("%s is of the registry, and these hold it: %v", p, p.Least())
		}
	}
	for _, r := range Roles {
		if !r.Has(RecordsRead) || !r.Has(LogRead) || r != Viewer && !r.Has(BytesRead) {
			t.Errorf("%s can't read", r)
		}
		got, err := ParseRole(string(r))
		checkCode(t, string(r), err, "")
		checkEqual(t, string(r), got, r)
	}
	_, err := ParseRole("aprover")
	checkCode(t, "misspelt", err, CodeInvalid)
	if !strings.Contains(err.Error(), "approver") {
		t.Errorf("no suggestion: %v", err)
	}
}

func TestNarrow(t *testing.T) {
	for _, tt := range []struct {
		scopes     []Scope
		permission Permission
		project    string
		want       bool
	}{
		{nil, AccountsWrite, "", true},
		{[]Scope{"reader"}, BytesRead, "p", true},
		{[]Scope{"reader"}, VersionsWrite, "p", false},
		{[]Scope{"p/reader"}, BytesRead, "p", true},
		{[]Scope{"p/reader"}, BytesRead, "q", false},
		{[]Scope{"p/reader"}, BytesRead, "", false},
		{[]Scope{"observations.write"}, ObservationsWrite, "p", true},
		{[]Scope{"observations.write"}, RecordsRead, "p", true},
		{[]Scope{"observations.write"}, BytesRead, "p", false},
		{[]Scope{"accounts.write"}, RecordsRead, "p", false},
		{[]Scope{"p/admin"}, AccountsWrite, "", false},
		{[]Scope{"p/*", "q/bytes.read"}, VersionsWrite, "p", true},
		{[]Scope{"p/*", "q/bytes.read"}, BytesRead, "q", true},
		{[]Scope{"p/*", "q/bytes.read"}, VersionsWrite, "q", false},
		{[]Scope{"*"}, AccountsWrite, "", true},
		{[]Scope{"p/reader"}, SignedIn, "", true},
	} {
		checkEqual(t, strings.Join(scopeTexts(tt.scopes), " ")+" "+string(tt.permission)+" in "+tt.project, Narrow(tt.scopes, tt.permission, tt.project), tt.want)
	}
	checkEqual(t, "holds", Holds([]Grant{{Role: Approver, Project: "p"}}, nil, Approver, "p"), true)
	checkEqual(t, "holds as admin", Holds([]Grant{{Role: Admin}}, nil, Approver, "p"), true)
	checkEqual(t, "holds elsewhere", Holds([]Grant{{Role: Approver, Project: "q"}}, nil, Approver, "p"), false)
	checkEqual(t, "holds, and the token does not", Holds([]Grant{{Role: Approver, Project: "p"}}, []Scope{"reader"}, Approver, "p"), false)
}

func scopeTexts(scopes []Scope) (out []string) {
	for _, s := range scopes {
		out = append(out, string(s))
	}
	return out
}

func TestParseScope(t *testing.T) {
	for in, want := range map[string]ErrorCode{
		"reader": "", "bytes.read": "", "*": "", "risk/reader": "", "risk/*": "", "risk/bytes.read": "",
		"": CodeInvalid, "risk": CodeInvalid, "/reader": CodeInvalid, "Risk/reader": CodeInvalid, "risk/": CodeInvalid, "risk/x/reader": CodeInvalid, "signed.in": CodeInvalid,
	} {
		_, err := ParseScope(in)
		checkCode(t, in, err, want)
	}
}

func TestParseActorName(t *testing.T) {
	for in, want := range map[string]ErrorCode{
		"ann": "", "ann.b": "", "ci-fraud": "", "ann@example.org": "", "7": "", strings.Repeat("a", MaxActorName): "",
		"": CodeInvalid, "Ann": CodeInvalid, "ann ": CodeInvalid, ".ann": CodeInvalid, "ann-": CodeInvalid, "group:x": CodeInvalid, "a/b": CodeInvalid,
		"local": CodeInvalid, "system": CodeInvalid, "operator": CodeInvalid, "acc_1": CodeInvalid, strings.Repeat("a", MaxActorName+1): CodeInvalid,
	} {
		_, err := ParseActorName(in)
		checkCode(t, in, err, want)
	}
}

func TestTokenText(t *testing.T) {
	var random [32]byte
	for i := range random {
		random[i] = byte(i * 7)
	}
	text := TokenText(random)
	if !strings.HasPrefix(text, TokenPrefix) || len(text) != len(TokenPrefix)+52 {
		t.Errorf("got %q", text)
	}
	hash, ok := TokenHash(text)
	checkEqual(t, "ok", ok, true)
	random[31]++
	other, ok := TokenHash(TokenText(random))
	if !ok || hash == other {
		t.Error("two tokens have one hash")
	}
	for _, bad := range []string{"", "pdg_", text[4:], text[:len(text)-1], text + "a", strings.ToUpper(text), "pdg_" + strings.Repeat("1", 52)} {
		if _, ok := TokenHash(bad); ok {
			t.Errorf("%q passes for a token", bad)
		}
	}
}

func TestAccountDecisions(t *testing.T) {
	person := &Account{ID: "acc_1", Kind: UserAccount, Name: "ann"}
	disabled := &Account{ID: "acc_2", Kind: UserAccount, Name: "bob", Disabled: true}
	service := &Account{ID: "acc_3", Kind: ServiceAccount, Name: "ci"}
	erased := &Account{ID: "acc_4", Kind: UserAccount, Disabled: true, Erased: true}
	early, late := testNow.Add(-time.Hour), testNow.Add(time.Hour)
	narrow := &Token{ID: "tok_9", Account: "acc_1", Scopes: []Scope{"reader"}}
	short := &Token{ID: "tok_8", Account: "acc_1", ExpiresAt: &late}
	member := Member{ID: "acc_1", Name: "ann"}
	group := &Group{ID: "grp_1", Name: "risk", Members: []Member{member}}
	later := late.Add(time.Hour)
	for _, tt := range []struct {
		name   string
		decide func() ([]Draft, error)
		types  []EventType
		code   ErrorCode
	}{
		{"switch on", func() ([]Draft, error) { return EnableAccounts(-1) }, []EventType{AuthEnabled}, ""},
		{"switch on again", func() ([]Draft, error) { return EnableAccounts(7) }, nil, CodeRefused},
		{"a person", func() ([]Draft, error) { return CreateAccount("acc_5", UserAccount, nil) }, []EventType{AccountCreated}, ""},
		{"a service for a person", func() ([]Draft, error) { return CreateAccount("acc_5", ServiceAccount, person) }, []EventType{AccountCreated}, ""},
		{"a person for a person", func() ([]Draft, error) { return CreateAccount("acc_5", UserAccount, person) }, nil, CodeInvalid},
		{"a service for a service", func() ([]Draft, error) { return CreateAccount("acc_5", ServiceAccount, service) }, nil, CodeInvalid},
		{"for a disabled person", func() ([]Draft, error) { return CreateAccount("acc_5", ServiceAccount, disabled) }, nil, CodeInvalid},
		{"acts for", func() ([]Draft, error) { return service.SetActsFor(person) }, []EventType{AccountChanged}, ""},
		{"acts for nobody, as before", func() ([]Draft, error) { return service.SetActsFor(nil) }, nil, ""},
		{"disable", func() ([]Draft, error) { return person.Disable(false, "left") }, []EventType{AccountDisabled}, ""},
		{"disable again", func() ([]Draft, error) { return disabled.Disable(true, "") }, nil, ""},
		{"disable the last admin", func() ([]Draft, error) { return person.Disable(true, "") }, nil, CodeRefused},
		{"enable", func() ([]Draft, error) { return disabled.Enable("") }, []EventType{AccountEnabled}, ""},
		{"enable again", func() ([]Draft, error) { return person.Enable("") }, nil, ""},
		{"enable an erased one", func() ([]Draft, error) { return erased.Enable("") }, nil, CodeRefused},
		{"erase", func() ([]Draft, error) { return person.Erase(false) }, []EventType{AccountErased}, ""},
		{"erase again", func() ([]Draft, error) { return erased.Erase(false) }, nil, ""},
		{"erase the last admin", func() ([]Draft, error) { return person.Erase(true) }, nil, CodeRefused},
		{"add a member", func() ([]Draft, error) { return group.Add(service) }, []EventType{GroupMemberAdded}, ""},
		{"add one again", func() ([]Draft, error) { return group.Add(person) }, nil, ""},
		{"add a disabled one", func() ([]Draft, error) { return group.Add(disabled) }, nil, CodeInvalid},
		{"remove", func() ([]Draft, error) { return group.Remove(person) }, []EventType{GroupMemberRemoved}, ""},
		{"remove who is not in it", func() ([]Draft, error) { return group.Remove(service) }, nil, CodeNotFound},
		{"give a role", func() ([]Draft, error) { return AddBinding(Reader, member, "prj_1", false) }, []EventType{BindingAdded}, ""},
		{"give it again", func() ([]Draft, error) { return AddBinding(Reader, member, "prj_1", true) }, nil, ""},
		{"give no role", func() ([]Draft, error) { return AddBinding("owner", member, "prj_1", false) }, nil, CodeInvalid},
		{"take it", func() ([]Draft, error) { return RemoveBinding(Admin, member, "prj_1", true, true) }, []EventType{BindingRemoved}, ""},
		{"take what is not there", func() ([]Draft, error) { return RemoveBinding(Reader, member, "prj_1", false, false) }, nil, CodeNotFound},
		{"take the last admin's", func() ([]Draft, error) { return RemoveBinding(Admin, member, "", true, true) }, nil, CodeRefused},
		{"a token", func() ([]Draft, error) { return CreateToken("tok_1", person, nil, &late, nil, testNow) }, []EventType{TokenCreated}, ""},
		{"one that has ended", func() ([]Draft, error) { return CreateToken("tok_1", person, nil, &early, nil, testNow) }, nil, CodeInvalid},
		{"one of a disabled account", func() ([]Draft, error) { return CreateToken("tok_1", disabled, nil, nil, nil, testNow) }, nil, CodeInvalid},
		{"by one with scopes", func() ([]Draft, error) { return CreateToken("tok_1", person, nil, nil, narrow, testNow) }, nil, CodeForbidden},
		{"for ever, by a short one", func() ([]Draft, error) { return CreateToken("tok_1", person, nil, nil, short, testNow) }, nil, CodeForbidden},
		{"longer, by a short one", func() ([]Draft, error) { return CreateToken("tok_1", person, nil, &later, short, testNow) }, nil, CodeForbidden},
		{"as long, by a short one", func() ([]Draft, error) { return CreateToken("tok_1", person, nil, &late, short, testNow) }, []EventType{TokenCreated}, ""},
		{"too many scopes", func() ([]Draft, error) {
			return CreateToken("tok_1", person, slices.Repeat([]Scope{"reader"}, MaxScopes+1), nil, nil, testNow)
		}, nil, CodeInvalid},
		{"revoke", func() ([]Draft, error) { return short.Revoke(), nil }, []EventType{TokenRevoked}, ""},
		{"revoke again", func() ([]Draft, error) { return (&Token{Revoked: true}).Revoke(), nil }, nil, ""},
	} {
		drafts, err := tt.decide()
		checkCode(t, tt.name, err, tt.code)
		var types []EventType
		for _, d := range drafts {
			types = append(types, d.Type)
		}
		if !slices.Equal(types, tt.types) {
			t.Errorf("%s: got %v, want %v", tt.name, types, tt.types)
		}
	}
}
