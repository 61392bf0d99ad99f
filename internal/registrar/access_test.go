package registrar_test

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// enabled is a registry with accounts.
type enabled struct {
	*registry
	root pedigree.Principal // admin of the whole registry
}

func mustEnable(t testing.TB, r *registry) *enabled {
	t.Helper()
	tok, err := r.EnableAccounts(context.Background(), pedigree.Operator, pedigree.NewAccount{Name: "root", Email: "root@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	e := &enabled{registry: r}
	e.root = e.show(t, tok)
	return e
}

// show is the caller that shows a token.
func (e *enabled) show(t testing.TB, tok pedigree.Token) pedigree.Principal {
	t.Helper()
	hash, ok := pedigree.TokenHash(tok.Text)
	if !ok {
		t.Fatalf("%q is not the text of a token", tok.Text)
	}
	p, err := e.Authenticate(context.Background(), hash)
	if err != nil {
		t.Fatal(err)
	}
	p.Head = 0 // each call of a test is a request of its own
	return p
}

// account makes an account, gives it roles ("reader" for the project default,
// "reader@risk", "reader@*" for the whole registry), and returns it as a caller.
func (e *enabled) account(t testing.TB, name string, roles ...string) pedigree.Principal {
	t.Helper()
	ctx := context.Background()
	if _, err := e.CreateAccount(ctx, e.root, pedigree.NewAccount{Name: pedigree.ActorName(name)}); err != nil {
		t.Fatal(err)
	}
	for _, text := range roles {
		role, project, ok := strings.Cut(text, "@")
		switch {
		case !ok:
			project = "default"
		case project == "*":
			project = ""
		}
		e.grant(t, name, role, project)
	}
	tok, err := e.CreateToken(ctx, e.root, pedigree.NewToken{Account: name})
	if err != nil {
		t.Fatal(err)
	}
	return e.show(t, tok)
}

func (e *enabled) grant(t testing.TB, member, role, project string) {
	t.Helper()
	if _, err := e.AddBinding(context.Background(), e.root, pedigree.ProjectName(project), pedigree.NewBinding{Role: pedigree.Role(role), Member: member}); err != nil {
		t.Fatal(err)
	}
}

func (e *enabled) revoke(t testing.TB, member, role, project string) {
	t.Helper()
	if err := e.RemoveBinding(context.Background(), e.root, pedigree.ProjectName(project), pedigree.NewBinding{Role: pedigree.Role(role), Member: member}); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, what string, err error, code pedigree.ErrorCode) {
	t.Helper()
	if pedigree.CodeOf(err) != code {
		t.Errorf("%s: got %q (%v), want %q", what, pedigree.CodeOf(err), err, code)
	}
}

func register(r *registry, p pedigree.Principal, project, model string) error {
	_, err := r.Register(context.Background(), p, pedigree.ProjectName(project), pedigree.Name(model), pedigree.Registration{CreateModel: true})
	return err
}

func read(r *registry, p pedigree.Principal, project, model string) error {
	_, err := r.Model(context.Background(), p, pedigree.ProjectName(project), pedigree.Name(model), pedigree.At{})
	return err
}

// TestAccess goes through the life of accounts: made, given roles, narrowed, disabled,
// erased.
func TestAccess(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		r := mustOpen(t, database)
		want(t, "an account before there are accounts", func() error {
			_, err := r.CreateAccount(ctx, me, pedigree.NewAccount{Name: "ann"})
			return err
		}(), pedigree.CodeRefused)
		want(t, "switching on over the network", func() error {
			_, err := r.EnableAccounts(ctx, me, pedigree.NewAccount{Name: "mallory"})
			return err
		}(), pedigree.CodeForbidden)
		want(t, "before", register(r, me, "default", "fraud"), "")
		e := mustEnable(t, r)
		_, err := r.EnableAccounts(ctx, pedigree.Operator, pedigree.NewAccount{Name: "second"})
		want(t, "a second time", err, pedigree.CodeRefused)

		want(t, "without a token", read(r, me, "default", "fraud"), pedigree.CodeUnauthenticated)
		want(t, "without a token, no such project", read(r, me, "nowhere", "fraud"), pedigree.CodeUnauthenticated)
		if _, err := r.CreateProject(ctx, e.root, "risk", ""); err != nil {
			t.Fatal(err)
		}
		want(t, "the admin", register(r, e.root, "risk", "score"), "")

		ann := e.account(t, "ann", "contributor")
		bob := e.account(t, "bob", "viewer", "reader@risk")
		want(t, "ann in her project", register(r, ann, "default", "fraud"), "")
		want(t, "ann in another", read(r, ann, "risk", "score"), pedigree.CodeNotFound)
		hidden, missing := read(r, ann, "risk", "score"), read(r, ann, "risc", "score")
		if strings.ReplaceAll(hidden.Error(), "risk", "risc") != missing.Error() {
			t.Errorf("a hidden project says %q, a missing one %q", hidden, missing)
		}
		want(t, "bob reads", read(r, bob, "default", "fraud"), "")
		want(t, "bob writes", register(r, bob, "default", "fraud"), pedigree.CodeForbidden)
		want(t, "bob makes a project", func() error { _, err := r.CreateProject(ctx, bob, "own", ""); return err }(), pedigree.CodeForbidden)
		_, err = r.CreateModel(ctx, bob, "default", "x", pedigree.ModelEdit{})
		if err == nil || !strings.Contains(err.Error(), "pedigree role grant contributor bob -p default") {
			t.Errorf("the refusal names no command: %v", err)
		}

		// Lists hold what a caller may see.
		if list, err := r.Projects(ctx, ann, pedigree.Page{}, pedigree.At{}); err != nil || len(list.Items) != 1 || list.Items[0].Name != "default" {
			t.Errorf("ann's projects: %+v, %v", list.Items, err)
		}
		if list, err := r.Search(ctx, ann, "", "", "", pedigree.Page{}, pedigree.At{}); err != nil || len(list.Items) != 2 {
			t.Errorf("ann finds %d versions, %v", len(list.Items), err)
		}
		if list, err := r.Search(ctx, bob, "", "", "", pedigree.Page{}, pedigree.At{}); err != nil || len(list.Items) != 3 {
			t.Errorf("bob finds %d versions, %v", len(list.Items), err)
		}
		e.checkEvents(t, ann, bob)

		// By a group.
		if _, err := r.CreateGroup(ctx, e.root, "risk-team"); err != nil {
			t.Fatal(err)
		}
		e.grant(t, "group:risk-team", "contributor", "risk")
		want(t, "not yet a member", register(r, ann, "risk", "score"), pedigree.CodeNotFound)
		if g, err := r.AddMember(ctx, e.root, "risk-team", "ann"); err != nil || len(g.Members) != 1 || g.Members[0].Name != "ann" {
			t.Fatalf("members: %+v, %v", g, err)
		}
		want(t, "a member", register(r, ann, "risk", "score"), "")
		if _, err := r.RemoveMember(ctx, e.root, "risk-team", "ann"); err != nil {
			t.Fatal(err)
		}
		want(t, "no member any more", register(r, ann, "risk", "score"), pedigree.CodeNotFound)
		if _, err := r.AddMember(ctx, e.root, "risk-team", "ann"); err != nil {
			t.Fatal(err)
		}
		want(t, "deleting the group", r.DeleteGroup(ctx, e.root, "risk-team"), "")
		want(t, "without the group", register(r, ann, "risk", "score"), pedigree.CodeNotFound)

		// Disabled and enabled.
		if _, err := r.DisableAccount(ctx, e.root, "ann", "on leave"); err != nil {
			t.Fatal(err)
		}
		want(t, "disabled", read(r, ann, "default", "fraud"), pedigree.CodeUnauthenticated)
		if _, err := r.EnableAccount(ctx, e.root, "ann", ""); err != nil {
			t.Fatal(err)
		}
		want(t, "enabled", read(r, ann, "default", "fraud"), "")

		// The last admin stays.
		_, err = r.DisableAccount(ctx, e.root, "root", "")
		want(t, "disabling the last admin", err, pedigree.CodeRefused)
		_, err = r.EraseAccount(ctx, e.root, "root")
		want(t, "erasing the last admin", err, pedigree.CodeRefused)
		want(t, "taking the last admin's role", r.RemoveBinding(ctx, e.root, "", pedigree.NewBinding{Role: pedigree.Admin, Member: "root"}), pedigree.CodeRefused)

		// Erased: the name is gone from everywhere but the log's ids.
		annID := ann.ID
		if a, err := r.EraseAccount(ctx, e.root, "ann"); err != nil || a.ID != annID || a.Name != "" || !a.Erased || !a.Disabled {
			t.Errorf("erased: %+v, %v", a, err)
		}
		want(t, "erased", read(r, ann, "default", "fraud"), pedigree.CodeUnauthenticated)
		_, err = r.Account(ctx, e.root, "ann")
		want(t, "by the old name", err, pedigree.CodeNotFound)
		_, err = r.EnableAccount(ctx, e.root, annID, "")
		want(t, "enabling an erased one", err, pedigree.CodeRefused)
		if names, err := r.Names(ctx, e.root, []string{annID, bob.ID}); err != nil || names[annID] != "" || names[bob.ID] != "bob" {
			t.Errorf("names: %v, %v", names, err)
		}
		r.verify(t)
		r.checkRebuild(t)
	})
}

// checkEvents compares what two callers see of the log.
func (e *enabled) checkEvents(t *testing.T, ann, bob pedigree.Principal) {
	t.Helper()
	ctx := context.Background()
	all, err := e.Entries(ctx, e.root, pedigree.EventQuery{After: -1, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	seen := func(p pedigree.Principal) (n int) {
		list, err := e.Entries(ctx, p, pedigree.EventQuery{After: -1, Limit: 1000})
		if err != nil || len(list.Items) < len(all.Items) {
			t.Fatalf("%d entries, %v; want %d", len(list.Items), err, len(all.Items))
		}
		for i, entry := range list.Items[:len(all.Items)] {
			if !bytes.Equal(entry.Leaf, all.Items[i].Leaf) || entry.Seq != all.Items[i].Seq {
				t.Errorf("entry %d is another one", i)
			}
			if entry.Envelope == "" && entry.Fields != nil {
				t.Errorf("entry %d has fields without an envelope", i)
			}
			if entry.Envelope != "" {
				n++
			}
		}
		return n
	}
	if a, b := seen(ann), seen(bob); a >= b || b >= len(all.Items) || a < 3 {
		t.Errorf("ann reads %d events, bob %d, the admin %d", a, b, len(all.Items))
	}
	list, err := e.Entries(ctx, ann, pedigree.EventQuery{After: -1, Types: []pedigree.EventType{pedigree.AccountCreated}})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("ann finds %d accounts in the log, %v", len(list.Items), err)
	}
	for _, entry := range all.Items {
		text := entry.Envelope
		for _, f := range entry.Fields {
			text += string(f.Value)
		}
		for _, secret := range []string{`"ann"`, `"bob"`, `"root"`, "example.org", pedigree.TokenPrefix} {
			if strings.Contains(text, secret) {
				t.Errorf("event %d holds %s: %s", entry.Seq, secret, text)
			}
		}
	}
}

// checkRebuild makes the tables again and compares.
func (r *registry) checkRebuild(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	var before, after bytes.Buffer
	if err := r.store.Views(ctx, &before); err != nil {
		t.Fatal(err)
	}
	if err := r.Rebuild(ctx, pedigree.Operator, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Views(ctx, &after); err != nil {
		t.Fatal(err)
	}
	if before.String() != after.String() {
		t.Errorf("rebuilt tables differ:\n%s", differences(before.String(), after.String()))
	}
}

func differences(a, b string) string {
	var out strings.Builder
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, l := range as {
		if !slices.Contains(bs, l) {
			out.WriteString("- " + l + "\n")
		}
	}
	for _, l := range bs {
		if !slices.Contains(as, l) {
			out.WriteString("+ " + l + "\n")
		}
	}
	return out.String()
}

// TestTokens: expired, revoked, narrowed, and shown once.
func TestTokens(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		var skew atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
		e := mustEnable(t, mustOpenConfig(t, database, testKey, registrar.Config{Now: now}))
		want(t, "a model", register(e.registry, e.root, "default", "fraud"), "")
		ann := e.account(t, "ann", "contributor")

		end := now().Add(time.Hour)
		tok, err := e.CreateToken(ctx, ann, pedigree.NewToken{Name: "laptop", ExpiresAt: &end})
		if err != nil || tok.Name != "laptop" || tok.AccountName != "ann" {
			t.Fatalf("token: %+v, %v", tok, err)
		}
		short := e.show(t, tok)
		want(t, "not expired", read(e.registry, short, "default", "fraud"), "")
		_, err = e.CreateToken(ctx, short, pedigree.NewToken{})
		want(t, "a longer life from a short one", err, pedigree.CodeForbidden)
		skew.Store(int64(2 * time.Hour))
		want(t, "expired", read(e.registry, short, "default", "fraud"), pedigree.CodeUnauthenticated)
		hash, _ := pedigree.TokenHash(tok.Text)
		_, err = e.Authenticate(ctx, hash)
		want(t, "showing an expired one", err, pedigree.CodeUnauthenticated)
		_, err = e.CreateToken(ctx, ann, pedigree.NewToken{ExpiresAt: &end})
		want(t, "an end in the past", err, pedigree.CodeInvalid)

		tok, err = e.CreateToken(ctx, ann, pedigree.NewToken{Scopes: []pedigree.Scope{"default/bytes.read"}})
		if err != nil || tok.Scopes[0] != "default/bytes.read" {
			t.Fatalf("scoped token: %+v, %v", tok, err)
		}
		narrow := e.show(t, tok)
		want(t, "within its scope", read(e.registry, narrow, "default", "fraud"), "")
		want(t, "beyond its scope", register(e.registry, narrow, "default", "fraud"), pedigree.CodeForbidden)
		_, err = e.CreateToken(ctx, narrow, pedigree.NewToken{})
		want(t, "a wider token", err, pedigree.CodeForbidden)
		_, err = e.CreateToken(ctx, ann, pedigree.NewToken{Scopes: []pedigree.Scope{"nowhere/reader"}})
		want(t, "a scope of a project that is not there", err, pedigree.CodeNotFound)
		_, err = e.CreateToken(ctx, ann, pedigree.NewToken{Account: "root"})
		want(t, "a token of somebody else", err, pedigree.CodeForbidden)

		if list, err := e.Tokens(ctx, ann, "", pedigree.Page{}); err != nil || len(list.Items) != 3 || list.Items[2].Scopes[0] != "default/bytes.read" || list.Items[2].Text != "" {
			t.Errorf("ann's tokens: %+v, %v", list.Items, err)
		}
		want(t, "writing when tokens were used", e.WriteTokenUses(ctx), "")
		if list, err := e.Tokens(ctx, ann, "", pedigree.Page{}); err != nil || list.Items[2].LastUsed == nil {
			t.Errorf("last used: %+v, %v", list.Items, err)
		}
		want(t, "revoking it", e.RevokeToken(ctx, ann, tok.ID), "")
		want(t, "revoked", read(e.registry, narrow, "default", "fraud"), pedigree.CodeUnauthenticated)
		want(t, "revoking that of another", e.RevokeToken(ctx, ann, e.root.Token), pedigree.CodeForbidden)

		// The same request again: the same token, and its text is not shown twice.
		keyed := ann
		keyed.IdempotencyKey, keyed.Fingerprint = "k", "f"
		first, err := e.CreateToken(ctx, keyed, pedigree.NewToken{Name: "ci"})
		if err != nil || first.Text == "" {
			t.Fatalf("first: %+v, %v", first, err)
		}
		again, err := e.CreateToken(ctx, keyed, pedigree.NewToken{Name: "ci"})
		if err != nil || again.ID != first.ID || again.Text != "" || again.Name != "ci" {
			t.Errorf("again: %+v, %v", again, err)
		}
		e.show(t, first)
		if _, err := e.DisableAccount(ctx, e.root, "ann", ""); err != nil {
			t.Fatal(err)
		}
		_, err = e.CreateToken(ctx, keyed, pedigree.NewToken{Name: "ci"})
		want(t, "again, by a disabled account", err, pedigree.CodeUnauthenticated)
		if _, err := e.EraseAccount(ctx, e.root, "ann"); err != nil {
			t.Fatal(err)
		}
		e.checkRebuild(t)
	})
}

// TestRevokedMeanwhile: a right that is taken before the append is not used by it, and
// what was appended before stays. Two servers share the database.
func TestRevokedMeanwhile(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		e := mustEnable(t, mustOpen(t, database))
		other := mustOpen(t, database)
		ann := e.account(t, "ann", "contributor")
		want(t, "a first version", register(other, ann, "default", "fraud"), "")

		var revoked atomic.Bool
		var mu sync.Mutex
		late := 0
		together(9, func(i int) {
			if i == 0 {
				time.Sleep(20 * time.Millisecond)
				e.revoke(t, "ann", "contributor", "default")
				revoked.Store(true)
				return
			}
			for range 30 {
				after := revoked.Load()
				err := register(other, ann, "default", "fraud")
				if err == nil && after {
					mu.Lock()
					late++
					mu.Unlock()
				}
				if code := pedigree.CodeOf(err); code != "" && code != pedigree.CodeNotFound {
					t.Errorf("got %v", err)
				}
			}
		})
		if late > 0 {
			t.Errorf("%d registrations after the role was taken", late)
		}
		// The log itself says so: no event of ann's after the one that took her role.
		list, err := e.Entries(ctx, e.root, pedigree.EventQuery{After: -1, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		gone := false
		for i := range list.Items {
			ev, err := list.Items[i].Event()
			if err != nil {
				t.Fatal(err)
			}
			gone = gone || ev.Type == pedigree.BindingRemoved
			if gone && ev.Actor == ann.ID && ev.Type != pedigree.AccessDenied {
				t.Errorf("event %d (%s) is ann's", ev.Seq, ev.Type)
			}
		}
		e.verify(t)
	})
}

// TestEnabledMeanwhile: a caller without a token does nothing once there are accounts, on
// another server, too.
func TestEnabledMeanwhile(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		other := mustOpen(t, database)
		want(t, "before", register(other, me, "default", "fraud"), "")
		want(t, "resolve before", resolve(other, me), "")
		var on atomic.Bool
		together(5, func(i int) {
			if i == 0 {
				mustEnable(t, r)
				on.Store(true)
				return
			}
			for range 30 {
				after := on.Load()
				if err := register(other, me, "default", "fraud"); err == nil && after {
					t.Error("registered without a token")
				}
			}
		})
		want(t, "resolve after", resolve(other, me), pedigree.CodeUnauthenticated)
	})
}

func resolve(r *registry, p pedigree.Principal) error {
	_, err := r.Resolve(context.Background(), p, pedigree.Reference{Project: "default", Model: "fraud"}, pedigree.At{})
	return err
}

// TestPublicRead: whoever says nothing of itself may read, and no more.
func TestPublicRead(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		e := mustEnable(t, mustOpenConfig(t, database, testKey, registrar.Config{PublicRead: true}))
		want(t, "a version", register(e.registry, e.root, "default", "fraud"), "")
		want(t, "reading", read(e.registry, me, "default", "fraud"), "")
		want(t, "resolving", resolve(e.registry, me), "")
		want(t, "writing", register(e.registry, me, "default", "fraud"), pedigree.CodeUnauthenticated)
		_, err := e.Bindings(ctx, me, "", pedigree.Page{}, pedigree.At{})
		want(t, "who is admin", err, pedigree.CodeUnauthenticated)
		if names, err := e.Names(ctx, me, []string{e.root.ID}); err != nil || len(names) != 0 {
			t.Errorf("names for everybody: %v, %v", names, err)
		}
		if list, err := e.Accounts(ctx, me, pedigree.Page{}); err == nil {
			t.Errorf("accounts for everybody: %v", list.Items)
		}
		want(t, "a bad token is worse than none", func() error {
			_, err := e.Authenticate(ctx, [32]byte{1})
			return err
		}(), pedigree.CodeUnauthenticated)
	})
}

// TestDenials: refusals of one thing are one event a minute, which counts them.
func TestDenials(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		var skew atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
		e := mustEnable(t, mustOpenConfig(t, database, testKey, registrar.Config{Now: now}))
		bob := e.account(t, "bob", "viewer")
		for range 5 {
			want(t, "writing", register(e.registry, bob, "default", "fraud"), pedigree.CodeForbidden)
		}
		want(t, "without a token", register(e.registry, me, "default", "fraud"), pedigree.CodeUnauthenticated)
		denied := func() (more []int) {
			list, err := e.Entries(ctx, e.root, pedigree.EventQuery{After: -1, Types: []pedigree.EventType{pedigree.AccessDenied}})
			if err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				ev, err := list.Items[i].Event()
				if err != nil || ev.Actor != bob.ID || ev.String("permission") != string(pedigree.VersionsWrite) || !strings.HasPrefix(ev.Subject, "prj_") {
					t.Errorf("event %+v, %v", ev, err)
				}
				n := 0
				if _, err := ev.Decode("more", &n); err != nil {
					t.Error(err)
				}
				more = append(more, n)
			}
			return more
		}
		if got := denied(); !slices.Equal(got, []int{0}) {
			t.Errorf("at once: %v", got)
		}
		want(t, "too early", e.WriteDenials(ctx, false), "")
		if got := denied(); !slices.Equal(got, []int{0}) {
			t.Errorf("too early: %v", got)
		}
		skew.Store(int64(2 * time.Minute))
		want(t, "after the minute", e.WriteDenials(ctx, false), "")
		if got := denied(); !slices.Equal(got, []int{0, 3}) { // four more: the event itself, and three
			t.Errorf("after the minute: %v", got)
		}
		want(t, "writing", register(e.registry, bob, "default", "fraud"), pedigree.CodeForbidden)
		if got := denied(); !slices.Equal(got, []int{0, 3, 0}) {
			t.Errorf("the next minute: %v", got)
		}
		e.verify(t)
		e.checkRebuild(t)
	})
}

// TestServiceAccounts: whom a service account acted for is known of every moment.
func TestServiceAccounts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		e := mustEnable(t, mustOpen(t, database))
		ann, bob := e.account(t, "ann"), e.account(t, "bob")
		_, err := e.CreateAccount(ctx, e.root, pedigree.NewAccount{Name: "ci", Kind: pedigree.ServiceAccount, ActsFor: "nobody"})
		want(t, "for nobody", err, pedigree.CodeNotFound)
		_, err = e.CreateAccount(ctx, e.root, pedigree.NewAccount{Name: "ci", ActsFor: "ann"})
		want(t, "a person for a person", err, pedigree.CodeInvalid)
		ci, err := e.CreateAccount(ctx, e.root, pedigree.NewAccount{Name: "ci", Kind: pedigree.ServiceAccount, ActsFor: "ann"})
		if err != nil || ci.ActsFor != ann.ID || ci.ActsForName != "ann" {
			t.Fatalf("ci: %+v, %v", ci, err)
		}
		_, err = e.CreateAccount(ctx, e.root, pedigree.NewAccount{Name: "ci"})
		want(t, "the name again", err, pedigree.CodeExists)
		for _, name := range []string{"bob", ""} {
			if _, err := e.EditAccount(ctx, e.root, "ci", pedigree.AccountEdit{ActsFor: &name}); err != nil {
				t.Fatal(err)
			}
		}
		mail := "ci@example.org"
		ci, err = e.EditAccount(ctx, e.root, "ci", pedigree.AccountEdit{Email: &mail})
		if err != nil || ci.Email != mail || ci.ActsFor != "" {
			t.Errorf("ci: %+v, %v", ci, err)
		}
		if seen, err := e.Account(ctx, bob, "ci"); err != nil || seen.Email != "" {
			t.Errorf("bob sees the address: %+v, %v", seen, err)
		}
		e.checkRebuild(t)
	})
}

// TestEveryOperationAsks: no operation looks away from its caller.
func TestEveryOperationAsks(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !f.Name.IsExported() {
				continue
			}
			for _, param := range f.Type.Params.List {
				sel, ok := param.Type.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "Principal" {
					continue
				}
				n++
				if len(param.Names) == 0 || param.Names[0].Name == "_" {
					t.Errorf("%s does not ask whether its caller may", f.Name.Name)
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d operations were found", n)
	}
}

// TestRenameGuarded: what an alias or a stage names that is protected, or by which the model
// stands at a target, is not changed by a rename but by who may deploy; and a rename takes
// nothing into a name past the gates.
func TestRenameGuarded(t *testing.T) {
	for _, tt := range []struct {
		what     string
		prepare  func(t *testing.T, e *enabled, dep pedigree.Principal)
		dev, dep pedigree.ErrorCode
		says     string
	}{
		{"a free model", func(*testing.T, *enabled, pedigree.Principal) {}, "", "", ""},
		{"a free alias and a free stage", func(t *testing.T, e *enabled, dep pedigree.Principal) {
			e.mustName(t, dep, "fraud", "candidate")
			e.mustStage(t, dep, "fraud", pedigree.StagedStaging)
		}, "", "", ""},
		{"deployed", func(t *testing.T, e *enabled, dep pedigree.Principal) { e.mustRun(t, dep, "fraud", "dev/free") }, pedigree.CodeForbidden, "", ""},
		{"waits to be deployed", func(t *testing.T, e *enabled, dep pedigree.Principal) { e.mustRun(t, dep, "fraud", "dev/waits") }, pedigree.CodeForbidden, "", ""},
		{"a protected alias", func(t *testing.T, e *enabled, dep pedigree.Principal) { e.mustName(t, dep, "fraud", "champion") }, pedigree.CodeForbidden, "", ""},
		{"a protected stage", func(t *testing.T, e *enabled, dep pedigree.Principal) {
			e.mustStage(t, dep, "fraud", pedigree.StagedProduction)
		}, pedigree.CodeForbidden, "", ""},
		{"deployed by its alias", func(t *testing.T, e *enabled, dep pedigree.Principal) { e.mustName(t, dep, "fraud", "live") }, pedigree.CodeForbidden, "", ""},
		{"an alias that another model of the new name had", func(t *testing.T, e *enabled, dep pedigree.Principal) {
			e.mustRun(t, dep, "churn", "prod/live")
			e.mustName(t, dep, "fraud", "live")
			e.mustRename(t, dep, "churn", "gone")
		}, pedigree.CodeRefused, pedigree.CodeRefused, "pedigree alias rm fraud@live"},
		{"a stage that another model of the new name had", func(t *testing.T, e *enabled, dep pedigree.Principal) {
			e.mustRun(t, dep, "churn", "prod/staging")
			e.mustStage(t, dep, "fraud", pedigree.StagedStaging)
			e.mustRename(t, dep, "churn", "gone")
		}, pedigree.CodeRefused, pedigree.CodeRefused, "the stage Staging is tied to prod/staging"},
		{"its own former name", func(t *testing.T, e *enabled, dep pedigree.Principal) {
			e.mustRename(t, dep, "churn", "gone")
			e.mustRename(t, dep, "fraud", "churn")
			e.mustName(t, dep, "churn", "live")
			e.mustRename(t, dep, "churn", "fraud")
		}, pedigree.CodeForbidden, "", ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, database string) {
				e := mustEnable(t, mustOpen(t, database))
				ctx := t.Context()
				for _, model := range []string{"fraud", "churn"} {
					want(t, "register", register(e.registry, e.root, "default", model), "")
				}
				for target, spec := range map[pedigree.TargetName]pedigree.TargetSpec{
					"dev/free": {}, "dev/waits": {Confirm: pedigree.ConfirmReport}, "prod/live": {Alias: "live"}, "prod/staging": {Alias: "staging"},
				} {
					spec.Kind = pedigree.TargetOnline
					if _, err := e.CreateTarget(ctx, e.root, "default", target, spec); err != nil {
						t.Fatal(err)
					}
				}
				if tt.what == "a free alias and a free stage" {
					want(t, "untie", e.DeleteTarget(ctx, e.root, "default", "prod/staging", ""), "")
				}
				if _, _, err := e.ApplyPolicy(ctx, e.root, pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{"champion", "production"}}}, false); err != nil {
					t.Fatal(err)
				}
				dev, dep := e.account(t, "dev", "contributor"), e.account(t, "dep", "contributor", "deployer")
				tt.prepare(t, e, dep)
				to := pedigree.Name("other")
				if tt.says != "" {
					to = "churn"
				}
				_, err := e.RenameModel(ctx, dev, "default", "fraud", to, nil)
				mustRefuse(t, "by a contributor", err, tt.dev, tt.says)
				if err == nil {
					return
				}
				_, err = e.RenameModel(ctx, dep, "default", "fraud", to, nil)
				mustRefuse(t, "by who may deploy", err, tt.dep, tt.says)
			})
		})
	}
}

// mustName points an alias of a model to its version 1.
func (e *enabled) mustName(t testing.TB, p pedigree.Principal, model pedigree.Name, alias pedigree.Alias) {
	t.Helper()
	if _, err := e.SetAlias(context.Background(), p, pedigree.Reference{Project: "default", Model: model, Version: 1}, alias, nil, ""); err != nil {
		t.Fatal(err)
	}
}

// mustStage puts version 1 of a model into a stage.
func (e *enabled) mustStage(t testing.TB, p pedigree.Principal, model pedigree.Name, stage string) {
	t.Helper()
	if _, err := e.Transition(context.Background(), p, pedigree.Reference{Project: "default", Model: model, Version: 1}, stage, false); err != nil {
		t.Fatal(err)
	}
}

// mustRun deploys version 1 of a model.
func (e *enabled) mustRun(t testing.TB, p pedigree.Principal, model pedigree.Name, target pedigree.TargetName) {
	t.Helper()
	if _, err := e.Deploy(context.Background(), p, pedigree.Reference{Project: "default", Model: model, Version: 1}, target, pedigree.Deploy{}, nil); err != nil {
		t.Fatal(err)
	}
}

func (e *enabled) mustRename(t testing.TB, p pedigree.Principal, from, to pedigree.Name) {
	t.Helper()
	if _, err := e.RenameModel(context.Background(), p, "default", from, to, nil); err != nil {
		t.Fatal(err)
	}
}

// TestLeaveProtectedStage: only who may deploy takes a version out of a stage that is
// protected, in whichever way.
func TestLeaveProtectedStage(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		e := mustEnable(t, r)
		dev, dep := e.account(t, "dev", "contributor"), e.account(t, "dep", "contributor", "deployer")
		if _, _, err := e.ApplyPolicy(ctx, e.root, pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{"production"}}}, false); err != nil {
			t.Fatal(err)
		}
		move := func(who pedigree.Principal, n pedigree.VersionNumber, to string) error {
			_, err := e.Transition(ctx, who, fraud(n), to, false)
			return err
		}
		tag := func(who pedigree.Principal, n pedigree.VersionNumber, to string) error {
			_, err := e.EditVersion(ctx, who, fraud(n), pedigree.VersionEdit{Tags: map[string]string{pedigree.StageTag: to}}, nil)
			return err
		}
		untag := func(who pedigree.Principal, n pedigree.VersionNumber) error {
			_, err := e.UntagVersion(ctx, who, fraud(n), pedigree.StageTag)
			return err
		}
		want(t, "into a free stage", move(dev, 2, pedigree.StagedStaging), "")
		want(t, "out of it", tag(dev, 2, pedigree.StagedArchived), "")
		want(t, "and of that", untag(dev, 2), "")
		want(t, "into a protected one", move(dev, 1, pedigree.StagedProduction), pedigree.CodeForbidden)
		want(t, "into a protected one, by who may", move(dep, 1, pedigree.StagedProduction), "")
		want(t, "out by a transition", move(dev, 1, pedigree.StagedNone), pedigree.CodeForbidden)
		want(t, "out by a tag", tag(dev, 1, pedigree.StagedStaging), pedigree.CodeForbidden)
		want(t, "out by taking the tag away", untag(dev, 1), pedigree.CodeForbidden)
		_, err := e.ArchiveVersion(ctx, dev, fraud(1), "")
		want(t, "out by archiving", err, pedigree.CodeForbidden)
		_, err = e.DeleteVersion(ctx, dev, fraud(1), "", true, nil)
		want(t, "out by deleting", err, pedigree.CodeForbidden)
		want(t, "out by deleting the model", e.DeleteModel(ctx, dev, "default", "fraud", "", true, nil), pedigree.CodeForbidden)
		_, err = e.ArchiveVersion(ctx, dev, fraud(2), "")
		want(t, "archive another", err, "")
		_, err = e.RestoreVersion(ctx, dev, fraud(2), "")
		want(t, "restore another", err, "")
		_, err = e.ArchiveVersion(ctx, dep, fraud(1), "")
		want(t, "out by archiving, by who may", err, "")
		_, err = e.RestoreVersion(ctx, dev, fraud(1), "")
		want(t, "back by restoring", err, pedigree.CodeForbidden)
		gate := func(expr string) {
			t.Helper()
			policy := pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{"production"}}, Gates: []pedigree.Gate{{Name: "fit", Expr: expr}}}
			if _, _, err := e.ApplyPolicy(ctx, e.root, policy, false); err != nil {
				t.Fatal(err)
			}
		}
		gate("false")
		_, err = e.RestoreVersion(ctx, dep, fraud(1), "")
		mustRefuse(t, "back past a gate", err, pedigree.CodeRefused, "the stage Production for fraud/1 is refused: fit")
		gate("true")
		_, err = e.RestoreVersion(ctx, dep, fraud(1), "")
		want(t, "back through the gates", err, "")
		want(t, "out by who may", move(dep, 1, pedigree.StagedNone), "")
		_, err = e.DeleteVersion(ctx, dev, fraud(1), "", true, nil)
		want(t, "delete what is in no stage", err, "")
	})
}

// TestOtherProjectsRefer: what another project made of a version is told in no list to whom
// may not know that project; and nobody refers to a version that is an id to them.
func TestOtherProjectsRefer(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		e := mustEnable(t, r)
		if _, err := e.CreateProject(ctx, e.root, "secret", ""); err != nil {
			t.Fatal(err)
		}
		bob, ann := e.account(t, "bob", "contributor@secret", "reader"), e.account(t, "ann", "viewer", "oncall")
		made := pedigree.Registration{CreateModel: true, Record: pedigree.Record{Parents: []pedigree.Parent{{Relation: pedigree.DerivedFrom, Reference: "default/fraud/2"}}}}
		if _, err := e.Register(ctx, bob, "secret", "x", made); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name string
			who  pedigree.Principal
			sees bool
		}{{"whoever may read both", bob, true}, {"whoever may read one", ann, false}} {
			list, err := e.Changes(ctx, tt.who, "default", "", "fraud", time.Time{}, time.Now().Add(time.Hour), pedigree.Page{})
			if err != nil {
				t.Fatal(err)
			}
			changes := 0
			for _, item := range list.Items {
				if strings.Contains(item.Envelope, "version.registered") {
					changes++
				}
			}
			same(t, tt.name+": registrations among the changes", changes, map[bool]int{true: 3, false: 2}[tt.sees])
			plan, err := e.PlanRollback(ctx, tt.who, "default", "prod/fraud", pedigree.Rollback{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, tt.name+": what was made of it", len(plan.Downstream) == 1, tt.sees)
		}
		m, err := e.Model(ctx, e.root, "default", "fraud", now)
		if err != nil {
			t.Fatal(err)
		}
		made.Record.Parents = []pedigree.Parent{{Relation: pedigree.DerivedFrom, ModelID: m.ID, Version: 2, URI: "https://example.org/base"}}
		_, err = e.Register(ctx, bob, "secret", "x", made)
		mustRefuse(t, "a parent by its id", err, pedigree.CodeInvalid, "by reference")
	})
}

// TestRepeatedCallAsksAgain: the answer of a call that is repeated with its key is for whom
// may still make the call.
func TestRepeatedCallAsksAgain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		e := mustEnable(t, r)
		eve := e.account(t, "eve", "admin")
		eve.IdempotencyKey, eve.Fingerprint = "k", "f"
		create := func() (pedigree.Webhook, error) {
			return e.CreateWebhook(ctx, eve, "default", registrar.NewWebhook{Format: pedigree.FormatStandard, WebhookEdit: pedigree.WebhookEdit{URL: new("https://ci.example.org/hook")}})
		}
		first, err := create()
		if err != nil {
			t.Fatal(err)
		}
		again, err := create()
		want(t, "repeated", err, "")
		same(t, "the same webhook", again.ID, first.ID)
		e.grant(t, "eve", "viewer", "default")
		e.revoke(t, "eve", "admin", "default")
		again, err = create()
		want(t, "repeated without the role", err, pedigree.CodeForbidden)
		same(t, "its secret", again.Secret, "")
	})
}
