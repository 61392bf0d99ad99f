package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
)

// testAccess uses every operation on accounts. It is the last: afterwards nobody gets in
// without a token.
func testAccess(t *testing.T, r *registry) {
	ctx := t.Context()
	if who := must(r.WhoAmI(ctx))(t); who.Accounts || who.Account != nil {
		t.Fatalf("before there are accounts: %+v", who)
	}
	_, err := r.CreateAccount(ctx, pedigree.NewAccount{Name: "ann"})
	wantCode(t, err, pedigree.CodeRefused)
	root := r.mustEnable(t)
	_, err = r.WhoAmI(ctx)
	wantCode(t, err, pedigree.CodeUnauthenticated)
	if who := must(root.WhoAmI(ctx))(t); who.Account.Name != "root" || len(who.Bindings) != 1 || who.Bindings[0].Role != pedigree.Admin {
		t.Fatalf("root is %+v", who)
	}

	ann := must(root.CreateAccount(ctx, pedigree.NewAccount{Name: "ann", DisplayName: "Ann", Email: "ann@example.org"}))(t)
	ci := must(root.CreateAccount(ctx, pedigree.NewAccount{Name: "ci", Kind: pedigree.ServiceAccount, ActsFor: "ann"}))(t)
	if ci.ActsFor != ann.ID || ci.ActsForName != "ann" || ann.Email != "ann@example.org" || ann.Names[ann.CreatedBy] != "root" {
		t.Fatalf("got %+v and %+v", ann, ci)
	}
	email := "ann@example.com"
	if got := must(root.EditAccount(ctx, "ann", pedigree.AccountEdit{Email: &email}))(t); got.Email != email {
		t.Fatalf("edited: %+v", got)
	}
	if got := must(root.GetAccount(ctx, ci.ID))(t); got.Name != "ci" {
		t.Fatalf("by id: %+v", got)
	}
	if list := must(root.Accounts(ctx, pedigree.Page{Limit: 2}))(t); len(list.Items) != 2 || list.Next == "" || list.Items[0].Name != "ann" {
		t.Fatalf("accounts: %+v", list)
	}

	must(root.CreateGroup(ctx, "risk-team"))(t)
	if g := must(root.AddMember(ctx, "risk-team", "ann"))(t); len(g.Members) != 1 || g.Members[0].Name != "ann" {
		t.Fatalf("group: %+v", g)
	}
	if g := must(root.GetGroup(ctx, "risk-team"))(t); len(g.Members) != 1 {
		t.Fatalf("group: %+v", g)
	}
	if list := must(root.Groups(ctx, pedigree.Page{}))(t); len(list.Items) != 1 {
		t.Fatalf("groups: %+v", list)
	}
	if b := must(root.AddBinding(ctx, "risk", pedigree.NewBinding{Role: pedigree.Viewer, Member: "group:risk-team"}))(t); !b.Member.Group || b.Project != "risk" || b.Names[b.Actor] != "root" {
		t.Fatalf("binding: %+v", b)
	}
	must(root.AddBinding(ctx, "", pedigree.NewBinding{Role: pedigree.Reader, Member: "ci"}))(t)
	if list := must(root.Bindings(ctx, "risk", pedigree.Page{}, now))(t); len(list.Items) != 1 || list.Items[0].Member.Label() != "group:risk-team" {
		t.Fatalf("bindings: %+v", list)
	}
	if list := must(root.Bindings(ctx, "", pedigree.Page{}, now))(t); len(list.Items) != 2 {
		t.Fatalf("bindings of the whole: %+v", list)
	}

	token := must(root.CreateToken(ctx, pedigree.NewToken{Account: "ann", Name: "laptop", Scopes: []pedigree.Scope{"risk/viewer"}}))(t)
	asAnn := r.as(t, token.Text)
	if list := must(asAnn.Projects(ctx, pedigree.Page{}, now))(t); len(list.Items) != 1 || list.Items[0].Name != "risk" {
		t.Fatalf("ann's projects: %+v", list)
	}
	if list := must(root.Tokens(ctx, "ann", pedigree.Page{}))(t); len(list.Items) != 1 || list.Items[0].Scopes[0] != "risk/viewer" || list.Items[0].Text != "" {
		t.Fatalf("tokens: %+v", list)
	}
	if list := must(root.Tokens(ctx, "*", pedigree.Page{}))(t); len(list.Items) != 2 {
		t.Fatalf("everybody's tokens: %+v", list)
	}
	if root.NameOf(ann.ID) != "ann" || root.NameOf("local") != "local" {
		t.Errorf("names: %q, %q", root.NameOf(ann.ID), root.NameOf("local"))
	}
	must(root.RemoveMember(ctx, "risk-team", "ann"))(t)
	_, err = asAnn.GetProject(ctx, "risk", now)
	wantCode(t, err, pedigree.CodeNotFound)
	if err := root.RemoveBinding(ctx, "risk", pedigree.NewBinding{Role: pedigree.Viewer, Member: "group:risk-team"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, root.RemoveBinding(ctx, "", pedigree.NewBinding{Role: pedigree.Admin, Member: "root"}), pedigree.CodeRefused)
	if err := root.RemoveBinding(ctx, "", pedigree.NewBinding{Role: pedigree.Reader, Member: "ci"}); err != nil {
		t.Fatal(err)
	}
	if err := root.DeleteGroup(ctx, "risk-team"); err != nil {
		t.Fatal(err)
	}
	if err := root.RevokeToken(ctx, token.ID); err != nil {
		t.Fatal(err)
	}
	_, err = asAnn.WhoAmI(ctx)
	wantCode(t, err, pedigree.CodeUnauthenticated)
	if got := must(root.DisableAccount(ctx, "ann", "left"))(t); !got.Disabled {
		t.Fatalf("disabled: %+v", got)
	}
	must(root.EnableAccount(ctx, "ann", ""))(t)
	if got := must(root.EraseAccount(ctx, "ann"))(t); !got.Erased || got.Name != "" || got.Email != "" {
		t.Fatalf("erased: %+v", got)
	}
}

// TestCredentials: the ways to show a token over HTTP, and what an unknown one gets.
func TestCredentials(t *testing.T) {
	r := newRegistry(t)
	ask := func(set func(req *http.Request)) *http.Response {
		t.Helper()
		req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/projects", nil))(t)
		set(req)
		resp := must(http.DefaultClient.Do(req))(t)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	nonsense := func(req *http.Request) { req.SetBasicAuth("ann", "secret") }
	if got := ask(nonsense).StatusCode; got != http.StatusOK {
		t.Errorf("credentials where nobody asks for them: status %d", got)
	}
	token := must(r.registrar.EnableAccounts(t.Context(), pedigree.Operator, pedigree.NewAccount{Name: "root"}))(t).Text
	for name, tt := range map[string]struct {
		set  func(req *http.Request)
		want int
	}{
		"bearer":            {func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+token) }, 200},
		"user and password": {func(req *http.Request) { req.SetBasicAuth("anything", token) }, 200},
		"token alone":       {func(req *http.Request) { req.SetBasicAuth(token, "") }, 200},
		"nothing":           {func(*http.Request) {}, 401},
		"a password":        {nonsense, 401},
		"a token of others": {func(req *http.Request) { req.SetBasicAuth("x", pedigree.TokenText([32]byte{1})) }, 401},
	} {
		resp := ask(tt.set)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: status %d, want %d", name, resp.StatusCode, tt.want)
		}
		if tt.want == 401 {
			body := must(io.ReadAll(resp.Body))(t)
			if resp.Header.Get("WWW-Authenticate") == "" || !strings.Contains(string(body), "pedigree login") {
				t.Errorf("%s: %v %s", name, resp.Header, body)
			}
		}
	}
	if strings.Contains(strings.Join(r.log.all(), ""), token) {
		t.Error("the log holds the token")
	}
}

// roleCaller is one caller of the test below: a role, in a project or in all, or none.
type roleCaller struct {
	name    string
	role    pedigree.Role
	project pedigree.ProjectName
	token   string
	grants  []pedigree.Grant
}

// TestRolesOnRoutes calls every operation as every role, in the project and in another,
// and compares what happens with the table of permissions. An operation without a row
// fails.
func TestRolesOnRoutes(t *testing.T) {
	r := newRegistry(t)
	ctx := t.Context()
	root := r.mustEnable(t)
	other := must(root.CreateProject(ctx, "other", ""))(t)
	home := must(root.GetProject(ctx, "default", now))(t)
	ids := map[pedigree.ProjectName]string{"default": home.ID, "other": other.ID}
	callers := []*roleCaller{{name: "nothing"}}
	for _, role := range pedigree.Roles {
		callers = append(callers, &roleCaller{"here-" + string(role), role, "default", "", nil}, &roleCaller{"all-" + string(role), role, "", "", nil})
	}
	callers = append(callers, &roleCaller{"there-admin", pedigree.Admin, "other", "", nil})
	for _, c := range callers {
		must(root.CreateAccount(ctx, pedigree.NewAccount{Name: pedigree.ActorName(c.name)}))(t)
		if c.role != "" {
			must(root.AddBinding(ctx, c.project, pedigree.NewBinding{Role: c.role, Member: c.name}))(t)
			c.grants = []pedigree.Grant{{Role: c.role, Project: ids[c.project]}}
		}
		c.token = must(root.CreateToken(ctx, pedigree.NewToken{Account: c.name}))(t).Text
	}
	must(root.CreateModel(ctx, "fraud", pedigree.ModelEdit{}))(t)
	must(root.Register(ctx, "fraud", linked("s3://models/fraud")))(t)
	for _, route := range httpapi.New(nil, httpapi.Options{}).Routes() {
		if route.Public {
			continue
		}
		permission := route.Permission()
		if permission == "" {
			t.Errorf("%s has no row in the table of permissions", route.ID)
			continue
		}
		project := ""
		if strings.HasPrefix(route.Pattern, "/projects/{project}") {
			project = home.ID
		}
		for _, c := range callers {
			may := pedigree.Permits(c.grants, permission, project)
			status, body := call(t, r, &route, c.token, !may)
			sees := project == "" || pedigree.Permits(c.grants, pedigree.RecordsRead, project)
			refused := status == http.StatusUnauthorized || status == http.StatusForbidden
			hidden := status == http.StatusNotFound && strings.Contains(body, "there is no project default")
			switch {
			case status >= 500:
				t.Errorf("%s as %s: status %d: %s", route.ID, c.name, status, body)
			case route.Filtered():
				if refused {
					t.Errorf("%s as %s is refused: %s", route.ID, c.name, body)
				}
			case may && (refused || hidden):
				t.Errorf("%s as %s, who has %s: status %d: %s", route.ID, c.name, permission, status, body)
			case !may && sees && status != http.StatusForbidden:
				t.Errorf("%s as %s, who has no %s: status %d: %s", route.ID, c.name, permission, status, body)
			case !may && !sees && !hidden:
				t.Errorf("%s as %s, who may not see the project: status %d: %s", route.ID, c.name, status, body)
			}
		}
		if status, body := call(t, r, &route, "", true); status != http.StatusUnauthorized {
			t.Errorf("%s without a token: status %d: %s", route.ID, status, body)
		}
	}
}

// call sends the request of a route. It names what is there for a caller that is to be
// refused, and for others what is not: they are told so, and nothing changes under the
// test.
func call(t *testing.T, r *registry, route *httpapi.Route, token string, there bool) (int, string) {
	t.Helper()
	path := route.Pattern
	if there {
		path = strings.NewReplacer("{model}", "fraud", "{version}", "1").Replace(path)
	}
	for name, value := range map[string]string{
		"{project}": "default", "{model}": "absent", "{version}": "7", "{alias}": "champion", "{digest}": "sha256:" + strings.Repeat("0", 64), "{seq}": "0",
		"{path...}": "x", "{name...}": "x", "{key...}": "x", "{account}": "absent", "{group}": "absent", "{role}": "viewer", "{member}": "absent", "{token}": "tok_absent",
		"{webhook}": "whk_absent", "{env}": "prod", "{target}": "absent", "{deployment}": "dep_absent", "{execution}": "exe_absent", "{condition}": "1.1",
	} {
		path = strings.ReplaceAll(path, name, value)
	}
	if route.ID == "redactEvent" {
		path = strings.Replace(path, "/0/", "/999999/", 1)
	}
	if route.ID == "proveInclusion" {
		path += "?seq=0"
	}
	if route.ID == "which" {
		path += "?what=prod/absent"
	}
	var body []byte
	if route.Request != nil && !route.OptionalBody {
		in := route.RequestExample
		switch route.ID {
		case "createAccount":
			in = map[string]string{"name": "root"} // taken
		case "createGroup", "createProject":
			in = map[string]string{"name": "default"}
		case "createToken":
			in = map[string]any{"expires_at": "2001-01-01T00:00:00Z"}
		case "createModel":
			in = map[string]string{"name": "fraud"}
		case "createProjectWebhook", "createInstanceWebhook":
			in = map[string]string{"url": "ftp://example.org"}
		case "registerVersion":
			in = map[string]any{"record": map[string]any{}} // the model is not there
		}
		if _, ok := in.(httpapi.AliasPointer); ok && there {
			in = map[string]string{"version": "1"}
		}
		body = must(json.Marshal(in))(t)
	}
	if route.Consumes != "" {
		body = []byte("x")
	}
	method := route.Method
	if route.ID == "watchLog" { // which does not end by itself
		method = http.MethodHead
	}
	req := must(http.NewRequestWithContext(context.Background(), method, r.url+httpapi.Prefix+path, bytes.NewReader(body)))(t)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if route.Request != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp := must(http.DefaultClient.Do(req))(t)
	defer func() { _ = resp.Body.Close() }()
	text := must(io.ReadAll(resp.Body))(t)
	return resp.StatusCode, string(text)
}
