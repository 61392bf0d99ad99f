package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// withoutDryRun are the commands that have no --dry-run, and why.
var withoutDryRun = map[string]string{
	"pedigree quickstart": "makes a registry of its own", "pedigree serve": "changes nothing by itself",
	"pedigree config": "reads", "pedigree doctor": "reads", "pedigree version": "reads", "pedigree help": "reads", "pedigree whoami": "reads",
	"pedigree login": "keeps a token on this machine", "pedigree logout": "forgets a token of this machine",
	"pedigree pull": "writes files of this machine", "pedigree sync": "writes files of this machine, and says what runs there", "pedigree exec": "runs a job",
	"pedigree show": "reads", "pedigree ls": "reads", "pedigree search": "reads", "pedigree diff": "reads", "pedigree files": "reads",
	"pedigree model show": "reads", "pedigree model ls": "reads", "pedigree project show": "reads", "pedigree project ls": "reads",
	"pedigree alias ls": "reads", "pedigree alias history": "reads", "pedigree policy show": "reads", "pedigree policy test": "reads",
	"pedigree approvals": "reads", "pedigree target show": "reads", "pedigree target ls": "reads", "pedigree deployment show": "reads", "pedigree deployment ls": "reads",
	"pedigree status": "reads", "pedigree executions": "reads", "pedigree which": "reads", "pedigree where": "reads", "pedigree timeline": "reads",
	"pedigree changes": "reads", "pedigree report delivery": "reads", "pedigree verify": "reads", "pedigree lineage": "reads", "pedigree replay": "reads",
	"pedigree log": "reads", "pedigree log checkpoint": "reads", "pedigree log export": "reads", "pedigree log keys": "reads", "pedigree log watch": "reads",
	"pedigree predictions check": "reads", "pedigree predictions schema": "reads",
	"pedigree account list": "reads", "pedigree account show": "reads", "pedigree group list": "reads", "pedigree role list": "reads", "pedigree token list": "reads",
	"pedigree webhook ls": "reads", "pedigree webhook show": "reads", "pedigree webhook deliveries": "reads",
	"pedigree admin init": "works on the database itself", "pedigree admin token": "works on the database itself", "pedigree admin rebuild": "changes nothing that is recorded",
	"pedigree admin new-key": "touches no registry", "pedigree admin rotate-key": "shows its plan without --yes", "pedigree admin redact": "shows its plan without --yes",
}

// TestDryRun goes through all commands: each has --dry-run, or a reason for having none.
func TestDryRun(t *testing.T) {
	root := newRootCommand(&app{env: func(string) string { return "" }})
	seen := map[string]bool{}
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			check(sub)
		}
		path := cmd.CommandPath()
		if cmd.HasSubCommands() && cmd.Flags().NFlag() == 0 && withoutDryRun[path] == "" || strings.HasPrefix(path, "pedigree completion") {
			return
		}
		seen[path] = true
		has, why := cmd.Flags().Lookup("dry-run") != nil, withoutDryRun[path]
		if has == (why != "") {
			t.Errorf("%s: has --dry-run: %v; reason for having none: %q", path, has, why)
		}
	}
	check(root)
	for path := range withoutDryRun {
		if !seen[path] {
			t.Errorf("%s is no command", path)
		}
	}
}

// TestCurl reads the lines that the shell would read.
func TestCurl(t *testing.T) {
	for _, tc := range []struct {
		name    string
		address string
		token   bool
		method  string
		url     string
		header  map[string]string
		body    string
		want    string
	}{
		{
			"a server", "https://models.example.org", true, http.MethodPost, "https://models.example.org/api/v1/projects",
			map[string]string{"Content-Type": "application/json", "Idempotency-Key": "K1", "Authorization": "Bearer pdg_secret", "User-Agent": "pedigree"},
			`{"name":"o'neil $HOME"}`,
			`curl --fail-with-body -X POST -H "Authorization: Bearer $PEDIGREE_TOKEN" -H 'Content-Type: application/json' -H 'Idempotency-Key: K1' -d '{"name":"o'\''neil $HOME"}' https://models.example.org/api/v1/projects`,
		},
		{
			"a folder", curlURL, false, http.MethodPut, "http://pedigree.embedded/api/v1/a/$b?x=1&y=%20",
			map[string]string{"If-Match": `"12"`},
			"",
			`curl --fail-with-body -X PUT -H 'If-Match: "12"' "$PEDIGREE_URL"'/api/v1/a/$b?x=1&y=%20'`,
		},
		{
			"a server below a path", "http://10.0.0.1:8080", false, http.MethodDelete, "http://10.0.0.1:8080/registry/api/v1/x",
			nil, "", `curl --fail-with-body -X DELETE http://10.0.0.1:8080/registry/api/v1/x`,
		},
		{
			"bytes", curlURL, false, http.MethodPut, "http://pedigree.embedded/api/v1/projects/p/blobs/sha256:00",
			map[string]string{"Content-Type": "application/octet-stream"},
			"\x00\x01",
			`curl --fail-with-body -X PUT -H 'Content-Type: application/octet-stream' -T FILE "$PEDIGREE_URL"/api/v1/projects/p/blobs/sha256:00`,
		},
	} {
		r := rehearsal{address: tc.address, token: tc.token, on: true}
		req := httptest.NewRequest(tc.method, tc.url, bytes.NewReader([]byte(tc.body)))
		for name, value := range tc.header {
			req.Header.Set(name, value)
		}
		resp, err := r.before(req)
		if resp == nil && err == nil {
			t.Errorf("%s: it is sent", tc.name)
		}
		if resp != nil {
			_ = resp.Body.Close()
		}
		if sent := r.take(); len(sent) != 1 || sent[0].Curl != tc.want {
			t.Errorf("%s: got  %v\nwant %s", tc.name, curls(sent), tc.want)
		}
	}
}
