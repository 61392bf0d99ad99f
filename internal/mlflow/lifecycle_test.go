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
