package httpapi

import "github.com/pedigree-ml/pedigree"

// permissions says what each operation takes, for people who read the API's documents and
// for the test that calls each operation as each role. It decides nothing: the registrar
// does, and the test fails where the two differ. Operations below /projects/{project} take
// it in that project, others for the registry as a whole.
var permissions = map[string]pedigree.Permission{
	"listProjects":  pedigree.RecordsRead,
	"createProject": pedigree.ProjectsWrite,
	"getProject":    pedigree.RecordsRead,

	"listModels":     pedigree.RecordsRead,
	"createModel":    pedigree.VersionsWrite,
	"getModel":       pedigree.RecordsRead,
	"editModel":      pedigree.VersionsWrite,
	"deleteModel":    pedigree.VersionsWrite,
	"renameModel":    pedigree.VersionsWrite,
	"untagModel":     pedigree.VersionsWrite,
	"listAliasMoves": pedigree.RecordsRead,

	"listVersions":    pedigree.RecordsRead,
	"registerVersion": pedigree.VersionsWrite,
	"getVersion":      pedigree.RecordsRead,
	"editVersion":     pedigree.VersionsWrite,
	"deleteVersion":   pedigree.VersionsWrite,
	"amendVersion":    pedigree.VersionsWrite,
	"archiveVersion":  pedigree.VersionsWrite,
	"restoreVersion":  pedigree.VersionsWrite,
	"untagVersion":    pedigree.VersionsWrite,
	"resolveVersion":  pedigree.RecordsRead,
	"getLineage":      pedigree.RecordsRead,

	"getArtifact":   pedigree.RecordsRead,
	"getManifest":   pedigree.BytesRead,
	"getFile":       pedigree.BytesRead,
	"getEvidence":   pedigree.BytesRead,
	"verifyVersion": pedigree.BytesRead,
	"missingBlobs":  pedigree.VersionsWrite,
	"putBlob":       pedigree.VersionsWrite,

	"listAliases":     pedigree.RecordsRead,
	"setAlias":        pedigree.AliasesWrite,
	"removeAlias":     pedigree.AliasesWrite,
	"getAliasHistory": pedigree.RecordsRead,

	"searchAll": pedigree.RecordsRead,
	"search":    pedigree.RecordsRead,

	"getCheckpoint":    pedigree.ProofsRead,
	"listLogKeys":      pedigree.ProofsRead,
	"listEvents":       pedigree.LogRead,
	"getEvent":         pedigree.LogRead,
	"watchLog":         pedigree.LogRead,
	"redactEvent":      pedigree.LogRedact,
	"exportLog":        pedigree.LogRead,
	"proveInclusion":   pedigree.ProofsRead,
	"proveConsistency": pedigree.ProofsRead,

	"whoAmI":               pedigree.SignedIn,
	"listAccounts":         pedigree.SignedIn,
	"createAccount":        pedigree.AccountsWrite,
	"getAccount":           pedigree.SignedIn,
	"editAccount":          pedigree.AccountsWrite,
	"disableAccount":       pedigree.AccountsWrite,
	"enableAccount":        pedigree.AccountsWrite,
	"eraseAccount":         pedigree.AccountsWrite,
	"listGroups":           pedigree.SignedIn,
	"createGroup":          pedigree.AccountsWrite,
	"getGroup":             pedigree.SignedIn,
	"deleteGroup":          pedigree.AccountsWrite,
	"addMember":            pedigree.AccountsWrite,
	"removeMember":         pedigree.AccountsWrite,
	"listTokens":           pedigree.SignedIn,
	"createToken":          pedigree.SignedIn,
	"revokeToken":          pedigree.SignedIn,
	"listProjectBindings":  pedigree.RecordsRead,
	"addProjectBinding":    pedigree.BindingsWrite,
	"removeProjectBinding": pedigree.BindingsWrite,
	"listBindings":         pedigree.BindingsWrite,
	"addBinding":           pedigree.BindingsWrite,
	"removeBinding":        pedigree.BindingsWrite,

	"getPolicy":            pedigree.RecordsRead,
	"applyPolicy":          pedigree.PoliciesWrite,
	"removePolicy":         pedigree.PoliciesWrite,
	"getInstancePolicy":    pedigree.SignedIn,
	"applyInstancePolicy":  pedigree.PoliciesWrite,
	"removeInstancePolicy": pedigree.PoliciesWrite,
	"tryPolicy":            pedigree.RecordsRead,

	"listAllApprovals":  pedigree.SignedIn,
	"listApprovals":     pedigree.RecordsRead,
	"listAllConditions": pedigree.SignedIn,
	"listConditions":    pedigree.RecordsRead,
	"requestApproval":   pedigree.ApprovalsRequest,
	"approveVersion":    pedigree.ApprovalsDecide,
	"rejectVersion":     pedigree.ApprovalsDecide,
	"revokeApproval":    pedigree.ApprovalsRevoke,
	"meetCondition":     pedigree.ApprovalsRequest,
	"withdrawVersion":   pedigree.VersionsWithdraw,

	"listTargets":     pedigree.RecordsRead,
	"createTarget":    pedigree.TargetsWrite,
	"getTarget":       pedigree.RecordsRead,
	"editTarget":      pedigree.TargetsWrite,
	"deleteTarget":    pedigree.TargetsWrite,
	"getTargetStatus": pedigree.RecordsRead,
	"observe":         pedigree.ObservationsWrite,

	"listTimeline":           pedigree.RecordsRead,
	"deploy":                 pedigree.DeploymentsWrite,
	"planRollback":           pedigree.RecordsRead,
	"rollback":               pedigree.DeploymentsRollback,
	"listDeployments":        pedigree.RecordsRead,
	"getDeployment":          pedigree.SignedIn,
	"reportDeployment":       pedigree.SignedIn,
	"endDeployment":          pedigree.SignedIn,
	"markDeployment":         pedigree.SignedIn,
	"listVersionDeployments": pedigree.RecordsRead,
	"listModelDeployments":   pedigree.RecordsRead,
	"which":                  pedigree.RecordsRead,
	"whichPrediction":        pedigree.RecordsRead,
	"checkPredictions":       pedigree.RecordsRead,
	"listChanges":            pedigree.LogRead,
	"getDelivery":            pedigree.RecordsRead,

	"listTargetExecutions":  pedigree.RecordsRead,
	"startExecution":        pedigree.ObservationsWrite,
	"listVersionExecutions": pedigree.RecordsRead,
	"finishExecution":       pedigree.SignedIn,

	"listProjectWebhooks":         pedigree.WebhooksWrite,
	"createProjectWebhook":        pedigree.WebhooksWrite,
	"getProjectWebhook":           pedigree.WebhooksWrite,
	"editProjectWebhook":          pedigree.WebhooksWrite,
	"deleteProjectWebhook":        pedigree.WebhooksWrite,
	"rotateProjectWebhookSecret":  pedigree.WebhooksWrite,
	"testProjectWebhook":          pedigree.WebhooksWrite,
	"listProjectDeliveries":       pedigree.WebhooksWrite,
	"redeliverProjectEvent":       pedigree.WebhooksWrite,
	"listInstanceWebhooks":        pedigree.WebhooksWrite,
	"createInstanceWebhook":       pedigree.WebhooksWrite,
	"getInstanceWebhook":          pedigree.WebhooksWrite,
	"editInstanceWebhook":         pedigree.WebhooksWrite,
	"deleteInstanceWebhook":       pedigree.WebhooksWrite,
	"rotateInstanceWebhookSecret": pedigree.WebhooksWrite,
	"testInstanceWebhook":         pedigree.WebhooksWrite,
	"listInstanceDeliveries":      pedigree.WebhooksWrite,
	"redeliverInstanceEvent":      pedigree.WebhooksWrite,
}

// filtered are the operations whose answer holds what the caller may see, and which
// refuse nobody who has signed in for holding less.
var filtered = map[string]bool{"listProjects": true, "searchAll": true, "listEvents": true, "getEvent": true, "exportLog": true, "watchLog": true}

// Permission is what the operation takes; "" for one that is answered whoever asks.
func (r *Route) Permission() pedigree.Permission { return permissions[r.ID] }

// Filtered says that the answer leaves out what the caller may not see, instead of
// refusing it.
func (r *Route) Filtered() bool { return filtered[r.ID] }
