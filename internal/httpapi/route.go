package httpapi

import (
	"net/http"
	"slices"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// Route is one operation of the API.
type Route struct {
	Method string
	// Pattern is the path below [Prefix], as [http.ServeMux] has it.
	Pattern string
	// ID names the operation in the OpenAPI document, Tag groups it there.
	ID, Tag string
	// Summary is one sentence.
	Summary string
	// Query are the parameters of the query; any other is refused.
	Query []Param
	// Request is a value of the type of the body, nil where there is none; OptionalBody
	// says that it may be left out.
	Request      any
	OptionalBody bool
	// Response is a value of the type of the answer; nil for none and for bytes.
	Response any
	// Produces are the media types of an answer that is not JSON.
	Produces []string
	// Consumes is the media type of a body that is not JSON.
	Consumes string
	// Status is that of success; 0 stands for 200.
	Status int
	// Match says that If-Match is honoured, Tagged that the answer has an ETag.
	Match, Tagged bool
	// Changes says that the operation changes the registry: it takes an Idempotency-Key.
	Changes bool
	// Judged says that with dry_run=true the operation is decided and not done: the answer is a
	// [pedigree.Rehearsed], or the refusal.
	Judged bool
	// Public says that it is answered whoever asks: it shows nothing of the registry.
	Public bool
	// RequestExample and ResponseExample are shown in the document.
	RequestExample, ResponseExample any

	handle func(c *call) error
}

func (r *Route) status() int {
	if r.Status == 0 {
		return http.StatusOK
	}
	return r.Status
}

// Param is a parameter of the query.
type Param struct {
	Name, Doc string
	// Type is string, integer or boolean.
	Type string
	// Many says that it may be there more than once.
	Many bool
	// Example is shown in the document.
	Example any
}

// Parameters that many routes have.
var (
	asOfParam   = Param{Name: "as_of", Type: "string", Doc: "The moment that the question is about: RFC 3339, an age (-2h, -7d) or an event's number. Without it: now.", Example: "-2h"}
	limitParam  = Param{Name: "limit", Type: "integer", Doc: "The most items to return: 50 without it, never more than 1000.", Example: 50}
	cursorParam = Param{Name: "cursor", Type: "string", Doc: "The next of the page before."}
	filterParam = Param{Name: "filter", Type: "string", Doc: "Which versions: MLflow's grammar, with OR, NOT and parentheses.", Example: "metrics.auc > 0.9 AND tags.team = 'risk'"}
	orderParam  = Param{Name: "order", Type: "string", Doc: "What to sort by; the newest first within it, and without it.", Example: "metrics.auc DESC"}
	reasonParam = Param{Name: "reason", Type: "string", Doc: "Why; it is kept in the log."}
	forceParam  = Param{Name: "force", Type: "boolean", Doc: "Also while aliases are in use; they go with it."}
	noteParam   = Param{Name: "note", Type: "string", Doc: "What to say about it; it is kept in the log."}

	judgedParam = Param{Name: "dry_run", Type: "boolean", Doc: "Decide, by rights, rules and gates, and change nothing: the answer is {\"dry_run\": true, \"changes\": [{type, subject, payload}]}, or the refusal."}
	dryRunParam = Param{Name: "dry_run", Type: "boolean", Doc: "Check only, and change nothing."}
	fromParam   = Param{Name: "from", Type: "string", Doc: "The beginning: RFC 3339 or an age (-2h, -7d).", Example: "-7d"}
	toParam     = Param{Name: "to", Type: "string", Doc: "The end; without it, now."}

	listParams = []Param{limitParam, cursorParam, asOfParam}

	conditionParams = []Param{{Name: "owner", Type: "string", Many: true, Doc: "Only those that this owner sees to, as the approval names it; any number of times.", Example: "ann"}, limitParam, cursorParam, asOfParam}
	searchParams    = []Param{filterParam, orderParam, limitParam, cursorParam, asOfParam}
	asOfParams      = []Param{asOfParam}
)

const (
	model   = "/projects/{project}/models/{model}"
	version = model + "/versions/{version}"
	target  = "/projects/{project}/targets/{env}/{target}"

	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete

	created   = http.StatusCreated
	noContent = http.StatusNoContent

	octets = "application/octet-stream"
)

// Routes is the table of all operations.
func (a *API) Routes() []Route {
	routes := append([]Route{
		{Method: get, Pattern: "/projects", ID: "listProjects", Tag: "projects", Summary: "List the projects by name.", Query: listParams, Response: pedigree.List[pedigree.Project]{}, handle: a.listProjects},
		{Method: post, Pattern: "/projects", ID: "createProject", Tag: "projects", Summary: "Make a project.", Request: NewProject{}, Response: pedigree.Project{}, Status: created, Changes: true, Judged: true, RequestExample: exampleProject, handle: a.createProject},
		{Method: get, Pattern: "/projects/{project}", ID: "getProject", Tag: "projects", Summary: "Read a project.", Query: asOfParams, Response: pedigree.Project{}, handle: a.getProject},

		{Method: get, Pattern: "/projects/{project}/models", ID: "listModels", Tag: "models", Summary: "List the models of a project by name.", Query: listParams, Response: pedigree.List[pedigree.Model]{}, handle: a.listModels},
		{Method: post, Pattern: "/projects/{project}/models", ID: "createModel", Tag: "models", Summary: "Make a model.", Request: NewModel{}, Response: pedigree.Model{}, Status: created, Changes: true, Judged: true, Tagged: true, RequestExample: exampleModel, handle: a.createModel},
		{Method: get, Pattern: model, ID: "getModel", Tag: "models", Summary: "Read a model.", Query: asOfParams, Response: pedigree.Model{}, Tagged: true, handle: a.getModel},
		{Method: patch, Pattern: model, ID: "editModel", Tag: "models", Summary: "Change what is said of a model, and set tags.", Request: pedigree.ModelEdit{}, Response: pedigree.Model{}, Changes: true, Judged: true, Match: true, Tagged: true, RequestExample: exampleModelEdit, handle: a.editModel},
		{Method: remove, Pattern: model, ID: "deleteModel", Tag: "models", Summary: "Hide a model and free its name. Its history and its bytes stay.", Query: []Param{reasonParam, forceParam}, Status: noContent, Changes: true, Judged: true, Match: true, handle: a.deleteModel},
		{Method: post, Pattern: model + "/rename", ID: "renameModel", Tag: "models", Summary: "Give a model another name within its project.", Request: Rename{}, Response: pedigree.Model{}, Changes: true, Judged: true, Match: true, Tagged: true, RequestExample: Rename{To: "fraud-eu"}, handle: a.renameModel},
		{Method: remove, Pattern: model + "/tags/{key...}", ID: "untagModel", Tag: "models", Summary: "Remove a tag of a model.", Response: pedigree.Model{}, Changes: true, Judged: true, Tagged: true, handle: a.untagModel},
		{Method: get, Pattern: model + "/history", ID: "listAliasMoves", Tag: "aliases", Summary: "List every interval of every alias of a model, newest first.", Query: listParams, Response: pedigree.List[pedigree.AliasMove]{}, handle: a.aliasHistory},

		{Method: get, Pattern: model + "/versions", ID: "listVersions", Tag: "versions", Summary: "List the versions of a model, newest first, or those that a filter chooses.", Query: searchParams, Response: pedigree.List[pedigree.Summary]{}, handle: a.listVersions},
		{Method: post, Pattern: model + "/versions", ID: "registerVersion", Tag: "versions", Summary: "Register the next version of a model. The bytes that its record names must have been uploaded.", Request: pedigree.Registration{}, Response: pedigree.Registered{}, Status: created, Changes: true, RequestExample: exampleRegistration, handle: a.registerVersion},
		{Method: get, Pattern: version, ID: "getVersion", Tag: "versions", Summary: "Read a version: its record with all amendments, and what is said of it.", Query: asOfParams, Response: pedigree.Version{}, Tagged: true, handle: a.getVersion},
		{Method: patch, Pattern: version, ID: "editVersion", Tag: "versions", Summary: "Change the description of a version, and set tags.", Request: pedigree.VersionEdit{}, Response: pedigree.Version{}, Changes: true, Judged: true, Match: true, Tagged: true, RequestExample: exampleVersionEdit, handle: a.editVersion},
		{Method: remove, Pattern: version, ID: "deleteVersion", Tag: "versions", Summary: "Take a version out of every list. Its history stays.", Query: []Param{reasonParam, forceParam}, Status: noContent, Changes: true, Judged: true, Match: true, handle: a.deleteVersion},
		{Method: post, Pattern: version + "/amendments", ID: "amendVersion", Tag: "versions", Summary: "Change the record of a version. Both the old and the new stay readable.", Request: pedigree.Amend{}, Response: pedigree.Version{}, Changes: true, Judged: true, Match: true, Tagged: true, RequestExample: exampleAmend, handle: a.amendVersion},
		{Method: post, Pattern: version + "/archive", ID: "archiveVersion", Tag: "versions", Summary: "Hide a version from lists.", Request: Reason{}, OptionalBody: true, Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, RequestExample: Reason{Reason: "superseded"}, handle: a.archiveVersion},
		{Method: post, Pattern: version + "/restore", ID: "restoreVersion", Tag: "versions", Summary: "Show an archived version again.", Request: Reason{}, OptionalBody: true, Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, handle: a.restoreVersion},
		{Method: remove, Pattern: version + "/tags/{key...}", ID: "untagVersion", Tag: "versions", Summary: "Remove a tag of a version.", Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, handle: a.untagVersion},
		{Method: get, Pattern: version + "/resolve", ID: "resolveVersion", Tag: "versions", Summary: "Find the version that is meant, and the digest of its artifact: the cheapest question.", Query: asOfParams, Response: pedigree.Resolved{}, ResponseExample: exampleResolved, handle: a.resolveVersion},
		{Method: get, Pattern: version + "/lineage", ID: "getLineage", Tag: "versions", Summary: "Read the graph of what a version was made from, and of what was made from it.", Query: []Param{
			{Name: "direction", Type: "string", Doc: "up (what it was made from), down (what was made from it) or both.", Example: "up"},
			{Name: "depth", Type: "integer", Doc: "How many versions away to go; 20 without it and at most."},
			asOfParam,
		}, Response: pedigree.Lineage{}, handle: a.getLineage},

		{Method: get, Pattern: version + "/artifact", ID: "getArtifact", Tag: "artifacts", Summary: "Resolve a version and list the files of its stored artifact.", Query: asOfParams, Response: Files{}, handle: a.getArtifact},
		{Method: get, Pattern: version + "/manifest", ID: "getManifest", Tag: "artifacts", Summary: "Read the OCI manifest of a stored artifact, as its digest names it.", Query: asOfParams, Produces: []string{pedigree.MediaTypeManifest}, handle: a.getManifest},
		{Method: get, Pattern: version + "/files/{path...}", ID: "getFile", Tag: "artifacts", Summary: "Read one file of a stored artifact; ranges are honoured.", Query: asOfParams, Produces: []string{octets}, handle: a.getFile},
		{Method: get, Pattern: version + "/evidence/{name...}", ID: "getEvidence", Tag: "artifacts", Summary: "Read the bytes of a version's evidence.", Query: asOfParams, Produces: []string{octets}, handle: a.getEvidence},
		{Method: post, Pattern: version + "/verify", ID: "verifyVersion", Tag: "artifacts", Summary: "Read the stored bytes of a version again and compare them with their digests.", Query: asOfParams, Response: pedigree.List[pedigree.FileCheck]{}, handle: a.verifyVersion},
		{Method: post, Pattern: "/projects/{project}/blobs/missing", ID: "missingBlobs", Tag: "artifacts", Summary: "Say which digests the project lacks; the others are kept for a day from now.", Request: Digests{}, Response: Missing{}, RequestExample: Digests{Digests: []pedigree.Digest{exampleDigest}}, ResponseExample: Missing{Missing: []pedigree.Digest{exampleDigest}}, handle: a.missingBlobs},
		{Method: put, Pattern: "/projects/{project}/blobs/{digest}", ID: "putBlob", Tag: "artifacts", Summary: "Upload bytes under their digest. They are durable and checked when the answer comes.", Consumes: octets, Status: created, handle: a.putBlob},

		{Method: get, Pattern: model + "/aliases", ID: "listAliases", Tag: "aliases", Summary: "List what the aliases of a model name.", Query: asOfParams, Response: pedigree.List[pedigree.AliasMove]{}, handle: a.listAliases},
		{Method: put, Pattern: model + "/aliases/{alias}", ID: "setAlias", Tag: "aliases", Summary: "Point an alias to a version.", Request: AliasPointer{}, Response: pedigree.AliasMove{}, Changes: true, Judged: true, RequestExample: exampleTarget, handle: a.setAlias},
		{Method: remove, Pattern: model + "/aliases/{alias}", ID: "removeAlias", Tag: "aliases", Summary: "Make an alias name nothing.", Query: []Param{{Name: "if_current", Type: "integer", Doc: "The version that it must name now."}, noteParam}, Status: noContent, Changes: true, Judged: true, handle: a.removeAlias},
		{Method: get, Pattern: model + "/aliases/{alias}/history", ID: "getAliasHistory", Tag: "aliases", Summary: "List every interval of an alias, newest first.", Query: listParams, Response: pedigree.List[pedigree.AliasMove]{}, handle: a.aliasHistory},

		{Method: get, Pattern: "/search", ID: "searchAll", Tag: "search", Summary: "List the versions of all projects that a filter chooses.", Query: searchParams, Response: pedigree.List[pedigree.Summary]{}, handle: a.search},
		{Method: get, Pattern: "/projects/{project}/search", ID: "search", Tag: "search", Summary: "List the versions of a project that a filter chooses.", Query: searchParams, Response: pedigree.List[pedigree.Summary]{}, handle: a.search},

		{Method: get, Pattern: "/projects/{project}/policy", ID: "getPolicy", Tag: "policies", Summary: "Read the policy of a project.", Query: asOfParams, Response: pedigree.Policy{}, handle: a.getPolicy},
		{Method: put, Pattern: "/projects/{project}/policy", ID: "applyPolicy", Tag: "policies", Summary: "Make a policy that of a project. Applying it again changes nothing.", Query: []Param{dryRunParam}, Request: pedigree.Policy{}, Response: AppliedPolicy{}, Changes: true, RequestExample: examplePolicy, handle: a.applyPolicy},
		{Method: remove, Pattern: "/projects/{project}/policy", ID: "removePolicy", Tag: "policies", Summary: "Take the policy of a project away.", Query: []Param{reasonParam}, Status: noContent, Changes: true, Judged: true, handle: a.removePolicy},
		{Method: get, Pattern: "/policy", ID: "getInstancePolicy", Tag: "policies", Summary: "Read the policy of the instance: the floor of every project's.", Query: asOfParams, Response: pedigree.Policy{}, handle: a.getPolicy},
		{Method: put, Pattern: "/policy", ID: "applyInstancePolicy", Tag: "policies", Summary: "Make a policy that of the instance.", Query: []Param{dryRunParam}, Request: pedigree.Policy{}, Response: AppliedPolicy{}, Changes: true, handle: a.applyPolicy},
		{Method: remove, Pattern: "/policy", ID: "removeInstancePolicy", Tag: "policies", Summary: "Take the policy of the instance away.", Query: []Param{reasonParam}, Status: noContent, Changes: true, Judged: true, handle: a.removePolicy},
		{Method: post, Pattern: version + "/decision", ID: "tryPolicy", Tag: "policies", Summary: "Say what the policies make of deploying a version, without doing it: every check with the values that it saw and the command that mends it.", Query: asOfParams, Request: Trial{}, Response: pedigree.Decision{}, RequestExample: Trial{}, handle: a.tryPolicy},

		{Method: get, Pattern: "/approvals", ID: "listAllApprovals", Tag: "approvals", Summary: "List the versions of all projects whose approval is asked for, the newest request first.", Query: listParams, Response: pedigree.List[pedigree.Summary]{}, handle: a.listApprovals},
		{Method: get, Pattern: "/projects/{project}/approvals", ID: "listApprovals", Tag: "approvals", Summary: "List the versions of a project whose approval is asked for, the newest request first.", Query: listParams, Response: pedigree.List[pedigree.Summary]{}, handle: a.listApprovals},
		{Method: get, Pattern: "/approvals/conditions", ID: "listAllConditions", Tag: "approvals", Summary: "List the conditions of approvals that are not met, in all projects, those of the newest approval first.", Query: conditionParams, Response: pedigree.List[pedigree.OpenCondition]{}, handle: a.listConditions},
		{Method: get, Pattern: "/projects/{project}/approvals/conditions", ID: "listConditions", Tag: "approvals", Summary: "List the conditions of approvals that are not met, in a project, those of the newest approval first.", Query: conditionParams, Response: pedigree.List[pedigree.OpenCondition]{}, handle: a.listConditions},
		{Method: post, Pattern: version + "/approval/request", ID: "requestApproval", Tag: "approvals", Summary: "Ask for the approval of a version. A new round begins.", Request: Note{}, OptionalBody: true, Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, RequestExample: Note{Note: "for the November release"}, handle: a.requestApproval},
		{Method: post, Pattern: version + "/approval/approve", ID: "approveVersion", Tag: "approvals", Summary: "Approve a version as it is.", Request: pedigree.Review{}, OptionalBody: true, Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, handle: a.approveVersion},
		{Method: post, Pattern: version + "/approval/reject", ID: "rejectVersion", Tag: "approvals", Summary: "Reject a version as it is.", Request: pedigree.Review{}, Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, RequestExample: pedigree.Review{Comment: "the test set leaks"}, handle: a.rejectVersion},
		{Method: post, Pattern: version + "/approval/revoke", ID: "revokeApproval", Tag: "approvals", Summary: "Take back what was approved.", Request: Comment{}, Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, handle: a.revokeApproval},
		{Method: post, Pattern: version + "/approval/conditions/{condition}/met", ID: "meetCondition", Tag: "approvals", Summary: "Report that a condition of the approval is met.", Request: Comment{}, OptionalBody: true, Response: pedigree.Version{}, Changes: true, Judged: true, Tagged: true, handle: a.meetCondition},
		{Method: post, Pattern: version + "/withdraw", ID: "withdrawVersion", Tag: "approvals", Summary: "Bar a version everywhere, and list where it still runs. Restoring it undoes this.", Request: NewWithdrawal{}, Response: pedigree.Withdrawn{}, Changes: true, Judged: true, RequestExample: NewWithdrawal{Reason: "trained on data that must not be used"}, handle: a.withdrawVersion},

		{Method: get, Pattern: "/projects/{project}/targets", ID: "listTargets", Tag: "targets", Summary: "List the targets of a project by name, with what stands there and what was seen.", Query: listParams, Response: pedigree.List[pedigree.TargetStatus]{}, handle: a.listTargets},
		{Method: post, Pattern: "/projects/{project}/targets", ID: "createTarget", Tag: "targets", Summary: "Make a target: a place that serves or runs models.", Request: NewTarget{}, Response: pedigree.Target{}, Status: created, Changes: true, Judged: true, Tagged: true, RequestExample: exampleNewTarget, handle: a.createTarget},
		{Method: get, Pattern: target, ID: "getTarget", Tag: "targets", Summary: "Read a target.", Query: asOfParams, Response: pedigree.Target{}, Tagged: true, handle: a.getTarget},
		{Method: patch, Pattern: target, ID: "editTarget", Tag: "targets", Summary: "Change what is said of a target: fields that are left out stay, null takes one away.", Request: pedigree.TargetSpec{}, Response: pedigree.Target{}, Changes: true, Judged: true, Match: true, Tagged: true, RequestExample: pedigree.TargetSpec{Owner: "team:risk"}, handle: a.editTarget},
		{Method: remove, Pattern: target, ID: "deleteTarget", Tag: "targets", Summary: "Take a target away. Its history stays.", Query: []Param{reasonParam}, Status: noContent, Changes: true, Judged: true, handle: a.deleteTarget},
		{Method: get, Pattern: target + "/status", ID: "getTargetStatus", Tag: "targets", Summary: "Compare what is desired at a target with what its instances run.", Query: asOfParams, Response: pedigree.TargetStatus{}, handle: a.getTargetStatus},
		{Method: post, Pattern: target + "/observations", ID: "observe", Tag: "targets", Summary: "Say what an instance runs. The answer says what it should run.", Request: pedigree.Observation{}, Response: pedigree.TargetStatus{}, Changes: true, RequestExample: exampleObservation, handle: a.observe},

		{Method: get, Pattern: target + "/deployments", ID: "listTimeline", Tag: "deployments", Summary: "List the deployments of a target, newest first.", Query: listParams, Response: pedigree.List[pedigree.Deployment]{}, handle: a.listTimeline},
		{Method: post, Pattern: target + "/deployments", ID: "deploy", Tag: "deployments", Summary: "Deploy a version at a target, through the gates of its policies. It records what is meant to run; sync, a webhook or the platform's own tool acts.", Request: NewDeployment{}, Response: pedigree.Deployment{}, Status: created, Changes: true, Judged: true, RequestExample: exampleDeployment, handle: a.deploy},
		{Method: post, Pattern: target + "/rollback/plan", ID: "planRollback", Tag: "deployments", Summary: "Say what a rollback would do, and what speaks against it.", Request: pedigree.Rollback{}, OptionalBody: true, Response: pedigree.RollbackPlan{}, handle: a.planRollback},
		{Method: post, Pattern: target + "/rollback", ID: "rollback", Tag: "deployments", Summary: "Go back to an earlier deployment.", Request: pedigree.Rollback{}, OptionalBody: true, Response: pedigree.Deployment{}, Status: created, Changes: true, Judged: true, handle: a.rollback},
		{Method: get, Pattern: "/projects/{project}/deployments", ID: "listDeployments", Tag: "deployments", Summary: "List the deployments of a project, newest first.", Query: listParams, Response: pedigree.List[pedigree.Deployment]{}, handle: a.listDeployments},
		{Method: get, Pattern: "/deployments/{deployment}", ID: "getDeployment", Tag: "deployments", Summary: "Read a deployment.", Query: asOfParams, Response: pedigree.Deployment{}, handle: a.getDeployment},
		{Method: post, Pattern: "/deployments/{deployment}/report", ID: "reportDeployment", Tag: "deployments", Summary: "Say that a deployment that waits is active, or that it failed.", Request: pedigree.DeploymentReport{}, Response: pedigree.Deployment{}, Changes: true, Judged: true, handle: a.reportDeployment},
		{Method: post, Pattern: "/deployments/{deployment}/end", ID: "endDeployment", Tag: "deployments", Summary: "Say that a deployment stands no more, with nothing in its place.", Request: Reason{}, OptionalBody: true, Response: pedigree.Deployment{}, Changes: true, Judged: true, handle: a.endDeployment},
		{Method: post, Pattern: "/deployments/{deployment}/mark", ID: "markDeployment", Tag: "deployments", Summary: "Say whether a deployment is bad: no rollback goes to it by itself.", Request: Mark{}, Response: pedigree.Deployment{}, Changes: true, Judged: true, handle: a.markDeployment},
		{Method: get, Pattern: version + "/deployments", ID: "listVersionDeployments", Tag: "deployments", Summary: "List where a version stands.", Query: asOfParams, Response: pedigree.List[pedigree.Deployment]{}, handle: a.listRuns},
		{Method: get, Pattern: model + "/deployments", ID: "listModelDeployments", Tag: "deployments", Summary: "List where the versions of a model stand.", Query: asOfParams, Response: pedigree.List[pedigree.Deployment]{}, handle: a.listRuns},
		{Method: get, Pattern: "/projects/{project}/which", ID: "which", Tag: "deployments", Summary: "Find the version and the deployment behind a target, a deployment's id, a model, a digest, an image, an instance or a dashboard.", Query: []Param{{Name: "what", Type: "string", Doc: "What is known.", Example: "prod/fraud-api"}, asOfParam}, Response: pedigree.List[pedigree.Finding]{}, handle: a.which},
		{Method: post, Pattern: "/projects/{project}/predictions/which", ID: "whichPrediction", Tag: "predictions", Summary: "Find the version and the deployment that a logged prediction is of. The body is the line; request and prediction may be left out, and nothing of it is kept.", Query: []Param{{Name: "as_of", Type: "string", Doc: "The moment that the question is about, as elsewhere. Without it: that of the line.", Example: "-2h"}}, Request: pedigree.Prediction{}, Response: pedigree.List[pedigree.Finding]{}, RequestExample: examplePrediction, handle: a.whichPrediction},
		{Method: post, Pattern: "/projects/{project}/predictions/check", ID: "checkPredictions", Tag: "predictions", Summary: "Check the lines of a log of predictions, at most 8 MiB of them: one JSON object a line. Nothing of them is kept.", Query: []Param{{Name: "target", Type: "string", Doc: "Also against the log schema of this target.", Example: "prod/fraud-api"}}, Consumes: ndjson, Response: pedigree.PredictionCheck{}, handle: a.checkPredictions},
		{Method: get, Pattern: "/projects/{project}/changes", ID: "listChanges", Tag: "deployments", Summary: "List what changed at a time: the events about a target, a model, or a whole project.", Query: []Param{
			fromParam, toParam, {Name: "target", Type: "string", Doc: "Only this target, with the versions that were deployed or active there in that time and the policies that hold there."}, {Name: "model", Type: "string", Doc: "Only this model and its versions."}, limitParam, cursorParam,
		}, Response: pedigree.List[pedigree.Entry]{}, handle: a.listChanges},
		{Method: get, Pattern: "/projects/{project}/delivery", ID: "getDelivery", Tag: "deployments", Summary: "Report how often a project deploys, how long that takes, how often it fails and how long it takes to restore: of all its models, then of each.", Query: []Param{
			{Name: "environment", Type: "string", Doc: "Environments of the targets, as a pattern; prod* without it.", Example: "prod"}, fromParam, toParam,
		}, Response: pedigree.List[pedigree.Delivery]{}, handle: a.getDelivery},

		{Method: get, Pattern: target + "/executions", ID: "listTargetExecutions", Tag: "executions", Summary: "List the batch runs of a target, newest first.", Query: listParams, Response: pedigree.List[pedigree.Execution]{}, handle: a.listTargetExecutions},
		{Method: post, Pattern: target + "/executions", ID: "startExecution", Tag: "executions", Summary: "Say that a batch job begins to run what is active at a target.", Request: NewExecution{}, OptionalBody: true, Response: pedigree.Execution{}, Status: created, Changes: true, handle: a.startExecution},
		{Method: get, Pattern: version + "/executions", ID: "listVersionExecutions", Tag: "executions", Summary: "List the batch runs of a version, newest first: which outputs did it write?", Query: listParams, Response: pedigree.List[pedigree.Execution]{}, handle: a.listVersionExecutions},
		{Method: post, Pattern: "/executions/{execution}/finish", ID: "finishExecution", Tag: "executions", Summary: "Say how a batch job ended, what it read and what it wrote.", Request: pedigree.ExecutionReport{}, Response: pedigree.Execution{}, Changes: true, handle: a.finishExecution},

		{Method: get, Pattern: "/log/checkpoint", ID: "getCheckpoint", Tag: "log", Summary: "Read the signed size and root of the log now; as the signed note where text/plain is asked for.", Response: pedigree.Checkpoint{}, Produces: []string{"text/plain"}, handle: a.getCheckpoint},
		{Method: get, Pattern: "/log/keys", ID: "listLogKeys", Tag: "log", Summary: "List the public keys of the log, oldest first.", Response: pedigree.List[pedigree.LogKey]{}, handle: a.listLogKeys},
		{Method: get, Pattern: "/log/events", ID: "listEvents", Tag: "log", Summary: "List events of the log as they were written.", Query: []Param{
			{Name: "subject", Type: "string", Doc: "An opaque id; the events that it is the subject of or that refer to it."},
			{Name: "ref", Type: "string", Doc: "The same for the model or version that a reference names.", Example: "fraud/7"},
			{Name: "type", Type: "string", Many: true, Doc: "The types wanted; none means all.", Example: "alias.moved"},
			{Name: "after", Type: "integer", Doc: "The event after which to begin; with newest, the one before which."},
			{Name: "newest", Type: "boolean", Doc: "List the newest first."},
			limitParam,
		}, Response: pedigree.List[pedigree.Entry]{}, handle: a.listEvents},
		{Method: get, Pattern: "/log/events/{seq}", ID: "getEvent", Tag: "log", Summary: "Read one event.", Response: pedigree.Entry{}, handle: a.getEvent},
		{Method: post, Pattern: "/log/events/{seq}/redactions", ID: "redactEvent", Tag: "log", Summary: "Erase payload fields of an event for good. Every proof still holds.", Request: Redaction{}, Response: pedigree.Entry{}, Status: created, Changes: true, RequestExample: Redaction{Fields: []string{"description"}, Reason: "ticket 4711"}, handle: a.redactEvent},
		{Method: get, Pattern: "/log/export", ID: "exportLog", Tag: "log", Summary: "Stream the events, one JSON object a line, to the head of the log at the time of the request.", Query: []Param{{Name: "after", Type: "integer", Doc: "The event after which to begin; without it, the first."}}, Produces: []string{ndjson}, handle: a.exportLog},
		{Method: get, Pattern: "/watch", ID: "watchLog", Tag: "log", Summary: "Stream events as they come: server-sent events whose id is the number, whose event is the type, and whose data is the entry. Goes on after Last-Event-ID.", Query: []Param{
			{Name: "after", Type: "integer", Doc: "The event after which to begin; without it, with what comes from now on."},
			{Name: "project", Type: "string", Doc: "The one project wanted.", Example: "risk"},
			{Name: "model", Type: "string", Doc: "The one model wanted, by reference or id; its versions belong to it.", Example: "fraud"},
			{Name: "subject", Type: "string", Doc: "An opaque id; the events that it is the subject of or that refer to it."},
			{Name: "type", Type: "string", Many: true, Doc: "The types wanted; none means all.", Example: "alias.moved"},
		}, Produces: []string{eventStream}, handle: a.watchLog},
		{Method: get, Pattern: "/log/proofs/inclusion", ID: "proveInclusion", Tag: "log", Summary: "Prove that an event is in the tree.", Query: []Param{{Name: "seq", Type: "integer", Doc: "The event."}, sizeParam}, Response: pedigree.InclusionProof{}, handle: a.proveInclusion},
		{Method: get, Pattern: "/log/proofs/consistency", ID: "proveConsistency", Tag: "log", Summary: "Prove that one tree begins with another.", Query: []Param{{Name: "from", Type: "integer", Doc: "The size of the smaller tree, in events."}, sizeParam}, Response: pedigree.ConsistencyProof{}, handle: a.proveConsistency},

		{Method: get, Pattern: "/openapi.json", ID: "getDocument", Tag: "about", Summary: "Read this document.", Response: map[string]any{}, Public: true, handle: serveDocument},
		{Method: get, Pattern: "/schemas/prediction/v1", ID: "getPredictionSchema", Tag: "about", Summary: "Read the JSON Schema of a logged prediction, which never changes.", Produces: []string{schemaJSON}, Public: true, handle: servePredictionSchema},
	}, append(a.accessRoutes(), a.webhookRoutes()...)...)
	for i := range routes {
		if r := &routes[i]; r.Judged {
			r.Query = append(slices.Clone(r.Query), judgedParam)
		}
	}
	return routes
}

var sizeParam = Param{Name: "size", Type: "integer", Doc: "The size of the tree in events; 0 or nothing stands for the whole log."}

func serveDocument(c *call) error {
	httpx.WriteRaw(c.w, http.StatusOK, document)
	return nil
}
