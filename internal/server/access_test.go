package server_test

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
)

// as is a client of a server that shows a token.
func as(t *testing.T, r *running, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: r.URL(), Token: token, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantError(t *testing.T, what string, err error, code pedigree.ErrorCode) {
	t.Helper()
	if pedigree.CodeOf(err) != code {
		t.Errorf("%s: got %v, want %q", what, err, code)
	}
}

// TestMetricsOfTargets: with accounts, /metrics names targets to those alone who may read the
// whole registry.
func TestMetricsOfTargets(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		ctx, r := t.Context(), mustStart(t, cfg)
		scrape := func(what, token string, status int, names bool) {
			t.Helper()
			req := mustRequest(t, http.MethodGet, r.url+"/metrics", nil)
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			got := mustDo(t, req)
			if got.status != status || strings.Contains(got.body, "prod/fraud-api") != names || status == 200 && !strings.Contains(got.body, "go_goroutines") {
				t.Errorf("%s: got %d, target named: %v", what, got.status, !names)
			}
		}
		if _, err := as(t, r, "").CreateTarget(ctx, "prod/fraud-api", pedigree.TargetSpec{Kind: pedigree.TargetOnline}); err != nil {
			t.Fatal(err)
		}
		scrape("without accounts", "", 200, true)
		root, err := r.EnableAccounts(ctx, pedigree.NewAccount{Name: "root"})
		if err != nil {
			t.Fatal(err)
		}
		scrape("without a token", "", 200, false)
		scrape("an administrator", root.Text, 200, true)
		scrape("no token at all", "pdg_nonsense", 401, false)
		c := as(t, r, root.Text)
		if _, err := c.CreateAccount(ctx, pedigree.NewAccount{Name: "ann"}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.AddBinding(ctx, "default", pedigree.NewBinding{Role: pedigree.Viewer, Member: "ann"}); err != nil {
			t.Fatal(err)
		}
		ann, err := c.CreateToken(ctx, pedigree.NewToken{Account: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		scrape("a viewer of one project", ann.Text, 200, false)
	})
}

// TestTwoServersObey: accounts that are switched on, a role that is taken and a token that
// is revoked by way of one server hold on the other with its next request.
func TestTwoServersObey(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		ctx := t.Context()
		one, two := mustStart(t, cfg), mustStart(t, cfg)
		if _, err := as(t, two, "").CreateModel(ctx, "fraud", pedigree.ModelEdit{}); err != nil {
			t.Fatal(err)
		}
		token, err := one.EnableAccounts(ctx, pedigree.NewAccount{Name: "root"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = as(t, two, "").Model(ctx, "fraud", pedigree.At{})
		wantError(t, "without a token", err, pedigree.CodeUnauthenticated)

		root := as(t, one, token.Text)
		if _, err := root.CreateAccount(ctx, pedigree.NewAccount{Name: "ann"}); err != nil {
			t.Fatal(err)
		}
		annToken, err := root.CreateToken(ctx, pedigree.NewToken{Account: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		ann := as(t, two, annToken.Text)
		binding := pedigree.NewBinding{Role: pedigree.Contributor, Member: "ann"}
		for range 5 {
			_, err = ann.Model(ctx, "fraud", pedigree.At{})
			wantError(t, "without the role", err, pedigree.CodeNotFound)
			if _, err := root.AddBinding(ctx, "default", binding); err != nil {
				t.Fatal(err)
			}
			_, err = ann.EditModel(ctx, "fraud", pedigree.ModelEdit{Tags: map[string]string{"a": "b"}}, nil)
			wantError(t, "with the role", err, "")
			if err := root.RemoveBinding(ctx, "default", binding); err != nil {
				t.Fatal(err)
			}
		}
		if err := root.RevokeToken(ctx, annToken.ID); err != nil {
			t.Fatal(err)
		}
		_, err = ann.WhoAmI(ctx)
		wantError(t, "with a revoked token", err, pedigree.CodeUnauthenticated)
		if report := mustVerify(t, root); report.Size == 0 {
			t.Error("nothing was verified")
		}
	})
}

// TestReach: without accounts a server listens where only this machine reaches it, and is
// called by names of it; with them anywhere, by any name.
func TestReach(t *testing.T) {
	cfg := config.Config{Data: t.TempDir(), Addr: "0.0.0.0:0"}
	_, err := start(t, cfg)
	if pedigree.CodeOf(err) != pedigree.CodeInvalid || !strings.Contains(err.Error(), "pedigree admin init") || !strings.Contains(err.Error(), "--allow-anonymous") {
		t.Fatalf("got %v, want a refusal that says what to do", err)
	}
	cfg.Addr = "127.0.0.1:0"
	r := mustStart(t, cfg)
	foreign := func() int {
		req := mustRequest(t, http.MethodGet, r.URL()+"/healthz", nil)
		req.Host = "models.example.org"
		return mustDo(t, req).status
	}
	if got := foreign(); got != http.StatusForbidden {
		t.Errorf("another name, without accounts: status %d", got)
	}
	if _, err := r.EnableAccounts(t.Context(), pedigree.NewAccount{Name: "root"}); err != nil {
		t.Fatal(err)
	}
	if got := foreign(); got != http.StatusOK {
		t.Errorf("another name, with accounts: status %d", got)
	}
	cfg.Addr = "0.0.0.0:0"
	mustStart(t, cfg)
}

// TestMLflowAccess: the real MLflow with and without a token.
func TestMLflowAccess(t *testing.T) {
	if testing.Short() {
		t.Skip("the real MLflow takes a minute")
	}
	for _, variable := range []string{mlflow3, mlflow2} {
		t.Run(variable, func(t *testing.T) {
			python := python(t, variable)
			r := mustStart(t, config.Config{Data: t.TempDir()})
			ctx := t.Context()
			token, err := r.EnableAccounts(ctx, pedigree.NewAccount{Name: "root"})
			if err != nil {
				t.Fatal(err)
			}
			root := as(t, r, token.Text)
			policy := pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{"production"}}, Approvals: &pedigree.ApprovalRule{}}
			if _, _, err := root.ApplyPolicy(ctx, policy, false); err != nil {
				t.Fatal(err)
			}
			let := func(name string, roles ...pedigree.Role) string {
				t.Helper()
				if _, err := root.CreateAccount(ctx, pedigree.NewAccount{Name: pedigree.ActorName(name)}); err != nil {
					t.Fatal(err)
				}
				for _, role := range roles {
					if _, err := root.AddBinding(ctx, "default", pedigree.NewBinding{Role: role, Member: name}); err != nil {
						t.Fatal(err)
					}
				}
				tok, err := root.CreateToken(ctx, pedigree.NewToken{Account: name})
				if err != nil {
					t.Fatal(err)
				}
				return tok.Text
			}
			ann, vic := let("ann", pedigree.Contributor), let("vic", pedigree.Viewer)
			dep, rev := let("dep", pedigree.Contributor, pedigree.Deployer), let("rev", pedigree.Approver)
			cmd := exec.CommandContext(ctx, python, filepath.Join("..", "..", "testdata", "mlflow", "access.py"), r.URL(), ann, vic, dep, rev)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			v, err := root.Version(ctx, pedigree.Reference{Model: "access", Alias: "champion"}, pedigree.At{})
			if err != nil || root.NameOf(v.CreatedBy) != "ann" {
				t.Errorf("registered by %s, %v", root.NameOf(v.CreatedBy), err)
			}
		})
	}
}
