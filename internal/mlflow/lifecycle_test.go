package mlflow_test

import (
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestWithdrawn: a withdrawn version is handed out by its number alone, and a list of the newest
// leaves it out.
func TestWithdrawn(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		k.post("registered-models/create", object{"name": "fraud"})
		k.post("registered-models/create", object{"name": "copy"})
		for _, stage := range []string{"Production", "Production", "None"} {
			n := k.post("model-versions/create", object{"name": "fraud", "source": "s3://b/k"}).text("model_version.version")
			k.post("model-versions/transition-stage", object{"name": "fraud", "version": n, "stage": stage, "archive_existing_versions": false})
		}
		newest := func(stages ...string) string {
			var out string
			answer := k.post("registered-models/get-latest-versions", object{"name": "fraud", "stages": stages})
			for i := range answer.len("model_versions") {
				out += answer.text("model_versions."+string(rune('0'+i))+".version") + " "
			}
			return out
		}
		check := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: got %q, want %q", what, got, want)
			}
		}
		withdraw := func(n pedigree.VersionNumber) {
			t.Helper()
			if _, err := k.registrar.Withdraw(t.Context(), pedigree.Operator, pedigree.Reference{Project: "default", Model: "fraud", Version: n}, "leaks", ""); err != nil {
				t.Fatal(err)
			}
		}
		barred := func(what, method, path string, body any, message string) {
			t.Helper()
			t.Log(what)
			k.refused(method, path, body, 403, "PERMISSION_DENIED", message)
		}
		check("before", newest(), "3 2 ")
		withdraw(2)
		check("in a list of all", newest(), "3 ")
		check("in a list of some", newest("None", "Production"), "3 ")
		barred("the newest of one stage", "POST", "registered-models/get-latest-versions", object{"name": "fraud", "stages": []string{"Production"}}, "fraud/2 is withdrawn and is not handed out any more")
		barred("as a source, by stage", "POST", "model-versions/create", object{"name": "copy", "source": "models:/fraud/Production"}, "fraud/2 is withdrawn")
		check("by number", k.get("model-versions/get", "name", "fraud", "version", "2").text("model_version.version"), "2")
		check("the newest is another", k.get("registered-models/alias", "name", "fraud", "alias", "latest").text("model_version.version"), "3")
		withdraw(3)
		check("in a list of all", newest(), "")
		barred("as the newest", "GET", "registered-models/alias?name=fraud&alias=latest", nil, "fraud/3 is withdrawn")
		barred("as a source, the newest", "POST", "model-versions/create", object{"name": "copy", "source": "models:/fraud/latest"}, "fraud/3 is withdrawn")
		barred("into a stage", "POST", "model-versions/transition-stage", object{"name": "fraud", "version": "3", "stage": "staging", "archive_existing_versions": false}, "fraud/3 is withdrawn and can't be put into the stage Staging")
		for _, stage := range []string{"Archived", "None"} {
			k.post("model-versions/transition-stage", object{"name": "fraud", "version": "2", "stage": stage, "archive_existing_versions": false})
		}
		check("what is left there", newest("Production"), "1 ")
	})
}

// TestGated: a client that moves an alias or a stage past a policy is told what is missing, and
// goes on once that is there.
func TestGated(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		k.post("registered-models/create", object{"name": "fraud"})
		k.post("model-versions/create", object{"name": "fraud", "source": "s3://b/k"})
		policy := pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{"production"}}, Approvals: &pedigree.ApprovalRule{AllowAuthor: true}}
		_, _, err := k.registrar.ApplyPolicy(ctx, pedigree.Operator, policy, false)
		must(err)
		for _, target := range []struct {
			name pedigree.TargetName
			spec pedigree.TargetSpec
		}{
			{"prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "live"}},
			{"prod/batch", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "nightly", Confirm: pedigree.ConfirmReport}},
		} {
			_, err := k.registrar.CreateTarget(ctx, pedigree.Operator, "default", target.name, target.spec)
			must(err)
		}
		alias := func(name string) (string, object) {
			return "registered-models/alias", object{"name": "fraud", "alias": name, "version": "1"}
		}
		stage := object{"name": "fraud", "version": "1", "stage": "Production", "archive_existing_versions": true}
		denied := func(path string, body object, message string) {
			t.Helper()
			k.refused("POST", path, body, 403, "PERMISSION_DENIED", message)
		}
		path, body := alias("production")
		denied(path, body, "moving the protected alias production to fraud/1 is refused: approval")
		denied("model-versions/transition-stage", stage, "the stage Production for fraud/1 is refused: approval")
		path, body = alias("live")
		denied(path, body, "deploying fraud/1 to prod/fraud is refused: approval")
		_, err = k.registrar.Approve(ctx, pedigree.Operator, pedigree.Reference{Project: "default", Model: "fraud", Version: 1}, pedigree.Review{})
		must(err)
		for _, name := range []string{"production", "live"} {
			k.post(alias(name))
		}
		k.post("model-versions/transition-stage", stage)
		version := k.get("model-versions/get", "name", "fraud", "version", "1")
		if got := version.text("model_version.current_stage") + " " + version.text("model_version.aliases"); got != "Production [live production]" {
			t.Errorf("stage and aliases: %s", got)
		}
		path, body = alias("nightly")
		denied(path, body, "the alias nightly is tied to prod/batch, where a deployment is active once it is confirmed")
		for target, want := range map[pedigree.TargetName]int{"prod/fraud": 1, "prod/batch": 0} { // a stage deploys nothing
			list, err := k.registrar.Timeline(ctx, pedigree.Operator, "default", target, pedigree.Page{}, pedigree.At{})
			must(err)
			if len(list.Items) != want {
				t.Errorf("%s has %d deployments, want %d", target, len(list.Items), want)
			}
		}
	})
}
