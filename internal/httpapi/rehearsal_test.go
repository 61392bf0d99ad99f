package httpapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
)

// TestRehearsal asks of every operation that is judged what it would do, then does it: the
// first changes nothing, and tells the events of the second, or its refusal.
func TestRehearsal(t *testing.T) { onBoth(t, checkRehearsal) }

func checkRehearsal(t *testing.T, r *registry) {
	const model, target = base + "/fraud", "/api/v1/projects/default/targets/prod/x"
	linked := `{"record":{"artifact":{"kind":"linked","uri":"s3://m"}},"create_model":true}`
	for range 3 {
		r.send(t, "POST", model+"/versions", linked)
	}
	routes := httpapi.New(nil, httpapi.Options{}).Routes()
	judged := map[string]bool{}
	last := ""
	var headers []string // of a caller with a token
	ask := r.Client
	size := func() int64 { return must(ask.Checkpoint(t.Context()))(t).Size }
	do := func(id, path, body string, status int) {
		t.Helper()
		i := slices.IndexFunc(routes, func(route httpapi.Route) bool { return route.ID == id })
		judged[id] = true
		path = strings.ReplaceAll(path, "DEP", last)
		before := size()
		asked := r.send(t, routes[i].Method, path+join(path)+"dry_run=true", body, headers...)
		if size() != before {
			t.Fatalf("%s: a dry run has appended", id)
		}
		done := r.send(t, routes[i].Method, path, body, headers...)
		if done.status != status {
			t.Errorf("%s: got %d %.300s, want %d", id, done.status, done.body, status)
			return
		}
		if status >= 300 {
			if asked.status != status {
				t.Errorf("%s: a dry run got %d %s, and it for real %d", id, asked.status, asked.body, status)
			}
			return
		}
		var would pedigree.Rehearsed
		if err := json.Unmarshal(asked.body, &would); err != nil || !would.DryRun || asked.status != 200 {
			t.Fatalf("%s: a dry run got %d %s", id, asked.status, asked.body)
		}
		var types []pedigree.EventType
		for _, c := range would.Changes {
			types = append(types, c.Type)
		}
		list := must(ask.Events(t.Context(), pedigree.EventQuery{After: before - 1, Limit: 100}))(t)
		var got []pedigree.EventType
		for i := range list.Items {
			e := must(list.Items[i].Event())(t)
			got = append(got, e.Type)
			if strings.HasPrefix(e.Subject, "dep_") {
				last = e.Subject
			}
		}
		if !slices.Equal(types, got) {
			t.Errorf("%s: a dry run told %v, and it did %v", id, types, got)
		}
	}
	do("createProject", "/api/v1/projects", `{"name":"risk"}`, 201)
	do("createProject", "/api/v1/projects", `{"name":"risk"}`, 409)
	do("createModel", base, `{"name":"other"}`, 201)
	do("editModel", base+"/other", `{"owner":"ann","tags":{"a":"b"}}`, 200)
	do("untagModel", base+"/other/tags/a", "", 200)
	do("renameModel", base+"/other/rename", `{"to":"fraud"}`, 409)
	do("renameModel", base+"/other/rename", `{"to":"another"}`, 200)
	do("deleteModel", base+"/another", "", 204)
	do("editVersion", model+"/versions/1", `{"tags":{"a":"b"}}`, 200)
	do("untagVersion", model+"/versions/1/tags/a", "", 200)
	do("amendVersion", model+"/versions/1/amendments", `{"record":{"rollback_note":"x"}}`, 200)
	do("archiveVersion", model+"/versions/3/archive", "", 200)
	do("restoreVersion", model+"/versions/3/restore", "", 200)
	do("setAlias", model+"/aliases/candidate", `{"version":"1"}`, 200)
	do("setAlias", model+"/aliases/candidate", `{"version":"1"}`, 200) // nothing
	do("setAlias", model+"/aliases/candidate", `{"version":"2","if_current":7}`, 409)
	do("removeAlias", model+"/aliases/candidate", "", 204)
	do("approveVersion", model+"/versions/1/approval/approve", `{"comment":"my own"}`, 422)
	r.send(t, "PUT", "/api/v1/projects/default/policy", `{"approvals":{"count":1,"allow_author":true,"environments":["staging"]}}`)
	do("requestApproval", model+"/versions/1/approval/request", `{}`, 200)
	do("approveVersion", model+"/versions/1/approval/approve", `{"comment":"fine"}`, 200)
	do("revokeApproval", model+"/versions/1/approval/revoke", `{"comment":"not fine"}`, 200)
	do("rejectVersion", model+"/versions/2/approval/reject", `{"comment":"no"}`, 200)
	do("meetCondition", model+"/versions/1/approval/conditions/none/met", `{}`, 404)
	do("createTarget", "/api/v1/projects/default/targets", `{"name":"prod/x","kind":"online","alias":"live"}`, 201)
	do("editTarget", target, `{"owner":"ann"}`, 200)
	do("deploy", target+"/deployments", `{"version":"fraud/1"}`, 201)
	do("setAlias", model+"/aliases/live", `{"version":"3"}`, 200) // it deploys
	do("removeAlias", model+"/aliases/live", "", 422)
	do("deleteVersion", model+"/versions/3?force=true", "", 422)
	do("deleteModel", model+"?force=true", "", 422)
	do("deleteTarget", target, "", 422)
	do("markDeployment", "/api/v1/deployments/DEP/mark", `{"bad":true,"reason":"x"}`, 200)
	do("rollback", target+"/rollback", "", 422)
	do("rollback", target+"/rollback", `{"overrides":[{"name":"revoked","reason":"it burns"}]}`, 201)
	do("endDeployment", "/api/v1/deployments/DEP/end", "", 200)
	do("editTarget", target, `{"confirm":"report"}`, 200)
	do("deploy", target+"/deployments", `{"version":"fraud/3"}`, 201)
	do("reportDeployment", "/api/v1/deployments/DEP/report", `{"state":"failed"}`, 400)
	do("reportDeployment", "/api/v1/deployments/DEP/report", `{"state":"failed","note":"no memory"}`, 200)
	do("withdrawVersion", model+"/versions/2/withdraw", `{"reason":"x"}`, 200)
	do("deleteVersion", model+"/versions/2", "", 204)
	do("deleteTarget", target, "", 204)
	do("removePolicy", "/api/v1/projects/default/policy", "", 204)
	do("removeInstancePolicy", "/api/v1/policy", "", 404)
	// What can't be told is refused, and not done.
	if a := r.send(t, "POST", model+"/versions?dry_run=true", linked); a.status != 422 || !strings.Contains(string(a.body), "unsupported") {
		t.Errorf("register: got %d %s", a.status, a.body)
	}
	if a := r.send(t, "POST", base+"?dry_run=perhaps", `{"name":"x"}`); a.status != 400 {
		t.Errorf("perhaps: got %d %s", a.status, a.body)
	}
	token := must(r.registrar.EnableAccounts(t.Context(), pedigree.Operator, pedigree.NewAccount{Name: "root"}))(t)
	headers, ask = []string{"Authorization", "Bearer " + token.Text}, r.as(t, token.Text)
	must(ask.CreateAccount(t.Context(), pedigree.NewAccount{Name: "ann"}))(t)
	for _, id := range []string{"ProjectBinding", "Binding"} {
		at := map[string]string{"ProjectBinding": "/api/v1/projects/default/bindings", "Binding": "/api/v1/bindings"}[id]
		do("add"+id, at, `{"role":"viewer","member":"ann"}`, 201)
		do("add"+id, at, `{"role":"viewer","member":"nobody"}`, 404)
		do("remove"+id, at+"/viewer/ann", "", 204)
	}
	do("removeBinding", "/api/v1/bindings/admin/root", "", 422)
	do("createGroup", "/api/v1/groups", `{"name":"risk"}`, 201)
	do("createGroup", "/api/v1/groups", `{"name":"risk"}`, 409)
	do("addMember", "/api/v1/groups/risk/members/ann", "", 200)
	do("removeMember", "/api/v1/groups/risk/members/ann", "", 200)
	do("deleteGroup", "/api/v1/groups/risk", "", 204)
	for i := range routes {
		if routes[i].Judged != judged[routes[i].ID] {
			t.Errorf("%s: judged %v, tested %v", routes[i].ID, routes[i].Judged, judged[routes[i].ID])
		}
	}

	// Rights are those of the change.
	if a := r.send(t, "POST", base+"?dry_run=true", `{"name":"x"}`); a.status != 401 {
		t.Errorf("a stranger: got %d %s", a.status, a.body)
	}
}

func join(path string) string {
	if strings.Contains(path, "?") {
		return "&"
	}
	return "?"
}
