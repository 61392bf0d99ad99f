package capture

import (
	"cmp"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// system is a CI system, a scheduler or a platform that runs jobs: one row of systems.
// Its lists hold templates in the manner of a shell, "$A/$B"; the first whose variables
// are all set counts. In a URI template, every variable but the first is escaped.
type system struct {
	name  string
	marks []string // we run there when any of these variables is set,
	not   []string // and none of these

	// The run.
	id, title, uri, user, started []string
	// The code, where git has no answer. A branch may be a full ref.
	repository, commit, branch []string
	// The image that the job runs in.
	image []string
	// The runs that this one depended on, or that started it.
	upstream []upstream
	// more reads what is not in variables. Optional.
	more func(env func(string) string) []pedigree.UpstreamRun
}

// upstream is the templates of an upstream run; it counts when it has an id or a URI.
type upstream struct{ id, title, uri string }

// systems in the order in which they nest: a job of a scheduler may have been
// submitted by a CI job and have inherited its variables, hardly the reverse. The
// first that is present ran the training, the others are upstream of it.
var systems = []system{
	{
		name:  "sagemaker",
		marks: []string{"TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "SM_TRAINING_ENV"},
		id:    []string{"$TRAINING_JOB_ARN", "$TRAINING_JOB_NAME"}, title: []string{"$TRAINING_JOB_NAME"},
		uri:   []string{"https://$AWS_REGION.console.aws.amazon.com/sagemaker/home?region=$AWS_REGION#/jobs/$TRAINING_JOB_NAME"},
		image: []string{"$SAGEMAKER_INTERNAL_IMAGE_URI"},
	},
	{
		name:  "sagemaker-studio",
		marks: []string{"SAGEMAKER_INTERNAL_IMAGE_URI"}, not: []string{"TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "SM_TRAINING_ENV"},
		image: []string{"$SAGEMAKER_INTERNAL_IMAGE_URI"},
	},
	{
		name:  "azureml",
		marks: []string{"AZUREML_RUN_ID"},
		id:    []string{"$AZUREML_RUN_ID"}, title: []string{"$AZUREML_ARM_PROJECT_NAME"},
		uri: []string{"https://ml.azure.com/runs/$AZUREML_RUN_ID?wsid=/subscriptions/$AZUREML_ARM_SUBSCRIPTION" +
			"/resourcegroups/$AZUREML_ARM_RESOURCEGROUP/workspaces/$AZUREML_ARM_WORKSPACE_NAME"},
		upstream: []upstream{{id: "$AZUREML_ROOT_RUN_ID"}},
	},
	{
		name:  "vertex",
		marks: []string{"CLOUD_ML_JOB_ID"},
		id:    []string{"$CLOUD_ML_JOB_ID"},
		uri: []string{"https://console.cloud.google.com/vertex-ai/locations/$CLOUD_ML_REGION/training/$CLOUD_ML_JOB_ID" +
			"?project=$CLOUD_ML_PROJECT_ID"},
	},
	{
		name:  "databricks",
		marks: []string{"DATABRICKS_RUNTIME_VERSION"},
		title: []string{"$DB_CLUSTER_NAME", "$DB_CLUSTER_ID"}, // the ids of the job are in no variable
	},
	{
		name:  "kaggle",
		marks: []string{"KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_DOCKER_IMAGE"},
		image: []string{"$KAGGLE_DOCKER_IMAGE"},
	},
	{
		name:  "slurm",
		marks: []string{"SLURM_JOB_ID"},
		id:    []string{"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID", "$SLURM_JOB_ID"}, title: []string{"$SLURM_JOB_NAME"},
		user: []string{"$SLURM_JOB_USER"},
	},
	{
		name:  "kubeflow",
		marks: []string{"KFP_RUN_ID", "KFP_POD_NAME"},
		id:    []string{"$KFP_RUN_ID", "$ARGO_WORKFLOW_NAME", "$KFP_POD_NAME"}, title: []string{"$KFP_PIPELINE_NAME", "$KFP_RUN_NAME"},
	},
	{
		name:  "argo",
		marks: []string{"ARGO_NODE_ID", "ARGO_WORKFLOW_NAME", "ARGO_TEMPLATE"}, not: []string{"KFP_RUN_ID", "KFP_POD_NAME"},
		id: []string{"$ARGO_WORKFLOW_NAME/$ARGO_NODE_ID", "$ARGO_NODE_ID", "$ARGO_WORKFLOW_NAME"}, title: []string{"$ARGO_WORKFLOW_NAME"},
	},
	{
		name:  "airflow",
		marks: []string{"AIRFLOW_CTX_DAG_RUN_ID", "AIRFLOW_CTX_DAG_ID"},
		id:    []string{"$AIRFLOW_CTX_DAG_RUN_ID"}, title: []string{"$AIRFLOW_CTX_DAG_ID.$AIRFLOW_CTX_TASK_ID", "$AIRFLOW_CTX_DAG_ID"},
		uri: []string{
			"$AIRFLOW__API__BASE_URL/dags/$AIRFLOW_CTX_DAG_ID/runs/$AIRFLOW_CTX_DAG_RUN_ID",
			"$AIRFLOW__WEBSERVER__BASE_URL/dags/$AIRFLOW_CTX_DAG_ID/grid?dag_run_id=$AIRFLOW_CTX_DAG_RUN_ID",
		},
		user: []string{"$AIRFLOW_CTX_DAG_OWNER"},
	},
	{
		name:  "forgejo",
		marks: []string{"FORGEJO_ACTIONS"},
		id:    []string{"$GITHUB_RUN_ID"}, title: []string{"$GITHUB_WORKFLOW / $GITHUB_JOB"},
		uri:        []string{"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_NUMBER"},
		user:       []string{"$GITHUB_ACTOR"},
		repository: []string{"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"}, commit: []string{"$GITHUB_SHA"}, branch: []string{"$GITHUB_HEAD_REF", "$GITHUB_REF"},
	},
	{
		name:  "gitea",
		marks: []string{"GITEA_ACTIONS"}, not: []string{"FORGEJO_ACTIONS"},
		id: []string{"$GITHUB_RUN_ID"}, title: []string{"$GITHUB_WORKFLOW / $GITHUB_JOB"},
		uri:        []string{"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_NUMBER"},
		user:       []string{"$GITHUB_ACTOR"},
		repository: []string{"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"}, commit: []string{"$GITHUB_SHA"}, branch: []string{"$GITHUB_HEAD_REF", "$GITHUB_REF"},
	},
	{
		name:  "github",
		marks: []string{"GITHUB_ACTIONS"}, not: []string{"GITEA_ACTIONS", "FORGEJO_ACTIONS"},
		id: []string{"$GITHUB_RUN_ID"}, title: []string{"$GITHUB_WORKFLOW / $GITHUB_JOB", "$GITHUB_WORKFLOW"},
		uri: []string{
			"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/attempts/$GITHUB_RUN_ATTEMPT",
			"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID",
		},
		user:       []string{"$GITHUB_TRIGGERING_ACTOR", "$GITHUB_ACTOR"},
		repository: []string{"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"}, commit: []string{"$GITHUB_SHA"}, branch: []string{"$GITHUB_HEAD_REF", "$GITHUB_REF"},
		more: githubUpstream,
	},
	{
		name:  "gitlab",
		marks: []string{"GITLAB_CI"},
		id:    []string{"$CI_JOB_ID"}, title: []string{"$CI_PROJECT_PATH / $CI_JOB_NAME", "$CI_JOB_NAME"},
		uri:        []string{"$CI_JOB_URL", "$CI_PIPELINE_URL"},
		user:       []string{"$GITLAB_USER_LOGIN"},
		started:    []string{"$CI_JOB_STARTED_AT"},
		repository: []string{"$CI_PROJECT_URL"}, commit: []string{"$CI_COMMIT_SHA"},
		branch:   []string{"$CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "$CI_COMMIT_BRANCH"},
		image:    []string{"$CI_JOB_IMAGE"},
		upstream: []upstream{{id: "$CI_UPSTREAM_PIPELINE_ID", uri: "$CI_API_V4_URL/projects/$CI_UPSTREAM_PROJECT_ID/pipelines/$CI_UPSTREAM_PIPELINE_ID"}},
	},
	{
		name:  "jenkins",
		marks: []string{"JENKINS_URL"},
		id:    []string{"$BUILD_TAG", "$BUILD_NUMBER"}, title: []string{"$JOB_NAME"},
		uri:        []string{"$BUILD_URL"},
		user:       []string{"$BUILD_USER_ID", "$BUILD_USER"},
		repository: []string{"$GIT_URL", "$GIT_URL_1"}, commit: []string{"$GIT_COMMIT"},
		branch: []string{"$CHANGE_BRANCH", "$GIT_LOCAL_BRANCH", "$BRANCH_NAME", "$GIT_BRANCH"},
		// No variables of the core: these are what the usual plugins and parameters set.
		upstream: []upstream{
			{id: "$UPSTREAM_BUILD_NUMBER", title: "$UPSTREAM_JOB_NAME", uri: "$UPSTREAM_BUILD_URL"},
			{id: "$PROMOTED_NUMBER", title: "$PROMOTED_JOB_NAME", uri: "$PROMOTED_URL"},
		},
	},
	{
		name:  "azure-pipelines",
		marks: []string{"TF_BUILD"},
		id:    []string{"$BUILD_BUILDID"}, title: []string{"$BUILD_DEFINITIONNAME / $SYSTEM_JOBDISPLAYNAME", "$BUILD_DEFINITIONNAME"},
		uri:        []string{"$SYSTEM_TEAMFOUNDATIONCOLLECTIONURI$SYSTEM_TEAMPROJECT/_build/results?buildId=$BUILD_BUILDID"},
		user:       []string{"$BUILD_REQUESTEDFOR"},
		repository: []string{"$BUILD_REPOSITORY_URI"}, commit: []string{"$BUILD_SOURCEVERSION"},
		branch: []string{"$SYSTEM_PULLREQUEST_SOURCEBRANCH", "$BUILD_SOURCEBRANCH"},
		upstream: []upstream{{
			id: "$BUILD_TRIGGEREDBY_BUILDID", title: "$BUILD_TRIGGEREDBY_DEFINITIONNAME",
			uri: "$SYSTEM_TEAMFOUNDATIONCOLLECTIONURI$BUILD_TRIGGEREDBY_PROJECTID/_build/results?buildId=$BUILD_TRIGGEREDBY_BUILDID",
		}},
	},
	{
		name:  "circleci",
		marks: []string{"CIRCLECI"},
		id:    []string{"$CIRCLE_WORKFLOW_JOB_ID", "$CIRCLE_BUILD_NUM"}, title: []string{"$CIRCLE_JOB"},
		uri:        []string{"$CIRCLE_BUILD_URL"},
		user:       []string{"$CIRCLE_USERNAME"},
		repository: []string{"$CIRCLE_REPOSITORY_URL"}, commit: []string{"$CIRCLE_SHA1"}, branch: []string{"$CIRCLE_BRANCH"},
	},
	{
		name:  "buildkite",
		marks: []string{"BUILDKITE"},
		id:    []string{"$BUILDKITE_JOB_ID", "$BUILDKITE_BUILD_ID"}, title: []string{"$BUILDKITE_PIPELINE_SLUG / $BUILDKITE_LABEL", "$BUILDKITE_PIPELINE_SLUG"},
		uri:        []string{"$BUILDKITE_BUILD_URL#$BUILDKITE_JOB_ID", "$BUILDKITE_BUILD_URL"},
		user:       []string{"$BUILDKITE_BUILD_CREATOR"},
		repository: []string{"$BUILDKITE_REPO"}, commit: []string{"$BUILDKITE_COMMIT"}, branch: []string{"$BUILDKITE_BRANCH"},
		upstream: []upstream{{
			id: "$BUILDKITE_TRIGGERED_FROM_BUILD_ID", title: "$BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG",
			uri: "https://buildkite.com/$BUILDKITE_ORGANIZATION_SLUG/$BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG/builds/$BUILDKITE_TRIGGERED_FROM_BUILD_NUMBER",
		}},
	},
	{
		name:  "bitbucket",
		marks: []string{"BITBUCKET_BUILD_NUMBER"},
		id:    []string{"$BITBUCKET_BUILD_NUMBER"}, title: []string{"$BITBUCKET_REPO_FULL_NAME"},
		uri:        []string{"$BITBUCKET_GIT_HTTP_ORIGIN/pipelines/results/$BITBUCKET_BUILD_NUMBER"},
		user:       []string{"$BITBUCKET_STEP_TRIGGERER_UUID"},
		repository: []string{"$BITBUCKET_GIT_HTTP_ORIGIN"}, commit: []string{"$BITBUCKET_COMMIT"}, branch: []string{"$BITBUCKET_BRANCH"},
	},
	{
		name:  "teamcity",
		marks: []string{"TEAMCITY_VERSION"},
		id:    []string{"$BUILD_NUMBER"}, title: []string{"$TEAMCITY_PROJECT_NAME / $TEAMCITY_BUILDCONF_NAME", "$TEAMCITY_BUILDCONF_NAME"},
		uri:    []string{"$BUILD_URL"},
		commit: []string{"$BUILD_VCS_NUMBER"},
	},
}

// detect returns the systems that env shows, the one that runs the job first.
func detect(env func(string) string) []*system {
	var found []*system
	for i := range systems {
		if s := &systems[i]; anySet(env, s.marks) && !anySet(env, s.not) {
			found = append(found, s)
		}
	}
	return found
}

func anySet(env func(string) string, names []string) bool {
	for _, n := range names {
		if v := env(n); v != "" && v != "false" {
			return true
		}
	}
	return false
}

// run describes the job: the first of jobs, with what started it as upstream, or a
// person's own machine, whose account stands in where the environment names no user.
func run(env func(string) string, jobs []*system, account string) *pedigree.Run {
	if len(jobs) == 0 {
		user := cmp.Or(first(env, []string{"$JUPYTERHUB_USER", "$USER", "$USERNAME", "$LOGNAME"}), account)
		return &pedigree.Run{System: "local", User: text(user)}
	}
	r := &pedigree.Run{System: jobs[0].name}
	for i, s := range jobs {
		here := pedigree.UpstreamRun{ID: text(first(env, s.id)), Name: text(first(env, s.title)), URI: firstURI(env, s.uri)}
		if i == 0 {
			r.ID, r.Name, r.URI = here.ID, here.Name, here.URI
			if t, err := time.Parse(time.RFC3339, first(env, s.started)); err == nil {
				t = t.UTC()
				r.StartedAt = &t
			}
		} else if here.ID != "" || here.URI != "" {
			r.Upstream = append(r.Upstream, here)
		}
		if r.User == "" {
			r.User = text(first(env, s.user))
		}
		r.Upstream = append(r.Upstream, s.before(env, r.ID)...)
	}
	return r
}

// before returns the runs upstream of a job of s, other than the run self.
func (s *system) before(env func(string) string, self string) []pedigree.UpstreamRun {
	var out []pedigree.UpstreamRun
	for _, u := range s.upstream {
		up := pedigree.UpstreamRun{
			ID:   text(first(env, []string{u.id})),
			Name: text(first(env, []string{u.title})),
			URI:  firstURI(env, []string{u.uri}),
		}
		if (up.ID != "" || up.URI != "") && up.ID != self {
			out = append(out, up)
		}
	}
	if s.more != nil {
		out = append(out, s.more(env)...)
	}
	return out
}

// jobCode is the code version that the job's variables name, and the system that does.
func jobCode(env func(string) string, jobs []*system) (pedigree.Code, string) {
	for _, s := range jobs {
		code := pedigree.Code{
			Repository: firstURI(env, s.repository),
			Commit:     commitID(first(env, s.commit)),
			Branch:     branchName(text(first(env, s.branch))),
		}
		if code != (pedigree.Code{}) {
			return code, s.name
		}
	}
	return pedigree.Code{}, ""
}

// branchName takes the branch out of a ref, and gives "" for a tag or a pull request.
func branchName(ref string) string {
	if b, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		return b
	}
	if strings.HasPrefix(ref, "refs/") {
		return ""
	}
	return strings.TrimPrefix(ref, "origin/")
}

// first expands the first template whose variables are all set.
func first(env func(string) string, templates []string) string {
	for _, t := range templates {
		if s := expand(t, env); s != "" {
			return s
		}
	}
	return ""
}

// firstURI is first for URIs: escaped, and without credentials.
func firstURI(env func(string) string, templates []string) pedigree.SafeURI {
	for _, t := range templates {
		vars := 0
		s := expand(t, func(name string) string {
			vars++
			if vars == 1 {
				return env(name) // a base URL
			}
			return escape(env(name))
		})
		if s != "" {
			return safeURI(s)
		}
	}
	return ""
}

// expand replaces the variables of a template, and gives "" when one is not set.
func expand(template string, env func(string) string) string {
	missing := false
	s := os.Expand(template, func(name string) string {
		v := env(name)
		missing = missing || v == ""
		return v
	})
	if missing {
		return ""
	}
	return s
}

// escape makes v a part of a URI; a "/" in it stays one.
func escape(v string) string {
	parts := strings.Split(v, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	return strings.Join(parts, "/")
}

// githubUpstream reads the event that started the workflow: after a workflow_run event,
// it names the run that came before.
func githubUpstream(env func(string) string) []pedigree.UpstreamRun {
	if env("GITHUB_EVENT_NAME") != "workflow_run" {
		return nil
	}
	f, err := os.Open(env("GITHUB_EVENT_PATH"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var event struct {
		Run struct {
			ID   json.Number `json:"id"`
			Name string      `json:"name"`
			URL  string      `json:"html_url"`
		} `json:"workflow_run"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxOutput)).Decode(&event); err != nil || event.Run.ID == "" {
		return nil
	}
	return []pedigree.UpstreamRun{{ID: text(event.Run.ID.String()), Name: text(event.Run.Name), URI: safeURI(event.Run.URL)}}
}
