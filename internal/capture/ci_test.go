package capture

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

func TestRun(t *testing.T) {
	const sha = "0123456789abcdef0123456789abcdef01234567"
	event := filepath.Join(t.TempDir(), "event.json")
	writeFile(t, event, `{"action":"completed","workflow_run":{"id":123456789012,"name":"data","html_url":"https://git.test/team/x/actions/runs/123456789012"}}`)
	started := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	github := environ{
		"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://git.test", "GITHUB_REPOSITORY": "team/x", "GITHUB_RUN_ID": "42", "GITHUB_RUN_NUMBER": "7",
		"GITHUB_RUN_ATTEMPT": "2", "GITHUB_WORKFLOW": "train", "GITHUB_JOB": "fit", "GITHUB_ACTOR": "bob", "GITHUB_TRIGGERING_ACTOR": "ann",
		"GITHUB_SHA": sha, "GITHUB_REF": "refs/heads/dev",
	}
	with := func(e environ, vars environ) environ {
		out := environ{}
		for k, v := range e {
			out[k] = v
		}
		for k, v := range vars {
			out[k] = v
		}
		return out
	}
	tests := []struct {
		name string
		env  environ
		run  pedigree.Run
		code pedigree.Code
	}{
		{"local", environ{"USER": "ann"}, pedigree.Run{System: "local", User: "ann"}, pedigree.Code{}},
		{"local, Windows", environ{"USERNAME": "ann"}, pedigree.Run{System: "local", User: "ann"}, pedigree.Code{}},
		{"local, notebook server", environ{"USER": "jovyan", "JUPYTERHUB_USER": "ann"}, pedigree.Run{System: "local", User: "ann"}, pedigree.Code{}},
		{"nobody", environ{}, pedigree.Run{System: "local"}, pedigree.Code{}},
		{
			"github", github,
			pedigree.Run{System: "github", ID: "42", Name: "train / fit", URI: "https://git.test/team/x/actions/runs/42/attempts/2", User: "ann"},
			pedigree.Code{Repository: "https://git.test/team/x", Commit: sha, Branch: "dev"},
		},
		{
			"github, pull request", with(github, environ{"GITHUB_HEAD_REF": "topic", "GITHUB_REF": "refs/pull/3/merge"}),
			pedigree.Run{System: "github", ID: "42", Name: "train / fit", URI: "https://git.test/team/x/actions/runs/42/attempts/2", User: "ann"},
			pedigree.Code{Repository: "https://git.test/team/x", Commit: sha, Branch: "topic"},
		},
		{
			"github, tag", with(github, environ{"GITHUB_REF": "refs/tags/v1"}),
			pedigree.Run{System: "github", ID: "42", Name: "train / fit", URI: "https://git.test/team/x/actions/runs/42/attempts/2", User: "ann"},
			pedigree.Code{Repository: "https://git.test/team/x", Commit: sha},
		},
		{
			"github, after another workflow", with(github, environ{"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_EVENT_PATH": event}),
			pedigree.Run{
				System: "github", ID: "42", Name: "train / fit", URI: "https://git.test/team/x/actions/runs/42/attempts/2", User: "ann",
				Upstream: []pedigree.UpstreamRun{{ID: "123456789012", Name: "data", URI: "https://git.test/team/x/actions/runs/123456789012"}},
			},
			pedigree.Code{Repository: "https://git.test/team/x", Commit: sha, Branch: "dev"},
		},
		{
			"gitea", with(github, environ{"GITEA_ACTIONS": "true"}),
			pedigree.Run{System: "gitea", ID: "42", Name: "train / fit", URI: "https://git.test/team/x/actions/runs/7", User: "bob"},
			pedigree.Code{Repository: "https://git.test/team/x", Commit: sha, Branch: "dev"},
		},
		{
			"gitlab",
			environ{
				"GITLAB_CI": "true", "CI_JOB_ID": "99", "CI_JOB_NAME": "fit", "CI_PROJECT_PATH": "team/x", "CI_JOB_URL": "https://gl.test/team/x/-/jobs/99",
				"GITLAB_USER_LOGIN": "ann", "CI_JOB_STARTED_AT": "2026-02-03T05:05:06+01:00", "CI_PROJECT_URL": "https://gl.test/team/x", "CI_COMMIT_SHA": sha,
				"CI_COMMIT_BRANCH": "dev", "CI_API_V4_URL": "https://gl.test/api/v4", "CI_UPSTREAM_PROJECT_ID": "3", "CI_UPSTREAM_PIPELINE_ID": "77",
			},
			pedigree.Run{
				System: "gitlab", ID: "99", Name: "team/x / fit", URI: "https://gl.test/team/x/-/jobs/99", User: "ann", StartedAt: &started,
				Upstream: []pedigree.UpstreamRun{{ID: "77", URI: "https://gl.test/api/v4/projects/3/pipelines/77"}},
			},
			pedigree.Code{Repository: "https://gl.test/team/x", Commit: sha, Branch: "dev"},
		},
		{
			"jenkins",
			environ{
				"JENKINS_URL": "https://j.test/", "BUILD_TAG": "jenkins-fit-5", "BUILD_NUMBER": "5", "JOB_NAME": "team/fit", "BUILD_URL": "https://j.test/job/fit/5/",
				"BUILD_USER_ID": "ann", "GIT_URL": "git@git.test:team/x.git", "GIT_COMMIT": sha, "GIT_BRANCH": "origin/dev",
				"UPSTREAM_JOB_NAME": "data", "UPSTREAM_BUILD_NUMBER": "4", "UPSTREAM_BUILD_URL": "https://j.test/job/data/4/",
			},
			pedigree.Run{
				System: "jenkins", ID: "jenkins-fit-5", Name: "team/fit", URI: "https://j.test/job/fit/5/", User: "ann",
				Upstream: []pedigree.UpstreamRun{{ID: "4", Name: "data", URI: "https://j.test/job/data/4/"}},
			},
			pedigree.Code{Repository: "git@git.test:team/x.git", Commit: sha, Branch: "dev"},
		},
		{
			"azure pipelines",
			environ{
				"TF_BUILD": "True", "BUILD_BUILDID": "12", "BUILD_DEFINITIONNAME": "train", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "https://az.test/org/",
				"SYSTEM_TEAMPROJECT": "My Project", "BUILD_REQUESTEDFOR": "Ann", "BUILD_REPOSITORY_URI": "https://org@az.test/org/_git/x",
				"BUILD_SOURCEVERSION": sha, "BUILD_SOURCEBRANCH": "refs/heads/dev", "BUILD_TRIGGEREDBY_BUILDID": "11",
				"BUILD_TRIGGEREDBY_DEFINITIONNAME": "data", "BUILD_TRIGGEREDBY_PROJECTID": "p-1",
			},
			pedigree.Run{
				System: "azure-pipelines", ID: "12", Name: "train", URI: "https://az.test/org/My%20Project/_build/results?buildId=12", User: "Ann",
				Upstream: []pedigree.UpstreamRun{{ID: "11", Name: "data", URI: "https://az.test/org/p-1/_build/results?buildId=11"}},
			},
			pedigree.Code{Repository: "https://az.test/org/_git/x", Commit: sha, Branch: "dev"},
		},
		{
			"circleci",
			environ{
				"CIRCLECI": "true", "CIRCLE_BUILD_NUM": "8", "CIRCLE_JOB": "fit", "CIRCLE_BUILD_URL": "https://c.test/8", "CIRCLE_USERNAME": "ann",
				"CIRCLE_REPOSITORY_URL": "git@git.test:x.git", "CIRCLE_SHA1": sha, "CIRCLE_BRANCH": "dev",
			},
			pedigree.Run{System: "circleci", ID: "8", Name: "fit", URI: "https://c.test/8", User: "ann"},
			pedigree.Code{Repository: "git@git.test:x.git", Commit: sha, Branch: "dev"},
		},
		{
			"buildkite",
			environ{
				"BUILDKITE": "true", "BUILDKITE_JOB_ID": "j-1", "BUILDKITE_PIPELINE_SLUG": "fit", "BUILDKITE_BUILD_URL": "https://b.test/x/fit/builds/3",
				"BUILDKITE_BUILD_CREATOR": "Ann", "BUILDKITE_REPO": "git@git.test:x.git", "BUILDKITE_COMMIT": "HEAD", "BUILDKITE_BRANCH": "dev",
				"BUILDKITE_ORGANIZATION_SLUG": "x", "BUILDKITE_TRIGGERED_FROM_BUILD_ID": "b-0", "BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG": "data",
				"BUILDKITE_TRIGGERED_FROM_BUILD_NUMBER": "2",
			},
			pedigree.Run{
				System: "buildkite", ID: "j-1", Name: "fit", URI: "https://b.test/x/fit/builds/3#j-1", User: "Ann",
				Upstream: []pedigree.UpstreamRun{{ID: "b-0", Name: "data", URI: "https://buildkite.com/x/data/builds/2"}},
			},
			pedigree.Code{Repository: "git@git.test:x.git", Branch: "dev"},
		},
		{
			"bitbucket",
			environ{
				"BITBUCKET_BUILD_NUMBER": "6", "BITBUCKET_REPO_FULL_NAME": "team/x", "BITBUCKET_GIT_HTTP_ORIGIN": "https://bb.test/team/x",
				"BITBUCKET_COMMIT": sha, "BITBUCKET_BRANCH": "dev",
			},
			pedigree.Run{System: "bitbucket", ID: "6", Name: "team/x", URI: "https://bb.test/team/x/pipelines/results/6"},
			pedigree.Code{Repository: "https://bb.test/team/x", Commit: sha, Branch: "dev"},
		},
		{
			"teamcity",
			environ{
				"TEAMCITY_VERSION": "2025.1", "BUILD_NUMBER": "6", "TEAMCITY_PROJECT_NAME": "x", "TEAMCITY_BUILDCONF_NAME": "fit",
				"BUILD_URL": "https://tc.test/6", "BUILD_VCS_NUMBER": sha,
			},
			pedigree.Run{System: "teamcity", ID: "6", Name: "x / fit", URI: "https://tc.test/6"},
			pedigree.Code{Commit: sha},
		},
		{
			"airflow",
			environ{
				"AIRFLOW_CTX_DAG_ID": "fraud", "AIRFLOW_CTX_TASK_ID": "fit", "AIRFLOW_CTX_DAG_RUN_ID": "manual__2026-02-03T04:05:06+00:00",
				"AIRFLOW_CTX_DAG_OWNER": "ann", "AIRFLOW__WEBSERVER__BASE_URL": "https://af.test",
			},
			pedigree.Run{
				System: "airflow", ID: "manual__2026-02-03T04:05:06+00:00", Name: "fraud.fit", User: "ann",
				URI: "https://af.test/dags/fraud/grid?dag_run_id=manual__2026-02-03T04:05:06%2B00:00",
			},
			pedigree.Code{},
		},
		{
			"argo",
			environ{"ARGO_NODE_ID": "fraud-x-1", "ARGO_WORKFLOW_NAME": "fraud-x"},
			pedigree.Run{System: "argo", ID: "fraud-x/fraud-x-1", Name: "fraud-x"},
			pedigree.Code{},
		},
		{
			"kubeflow",
			environ{"KFP_RUN_ID": "r-1", "ARGO_NODE_ID": "n", "KFP_PIPELINE_NAME": "fraud"},
			pedigree.Run{System: "kubeflow", ID: "r-1", Name: "fraud"},
			pedigree.Code{},
		},
		{
			"sagemaker",
			environ{"TRAINING_JOB_NAME": "fit-1", "TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:1:training-job/fit-1", "AWS_REGION": "eu-west-1"},
			pedigree.Run{
				System: "sagemaker", ID: "arn:aws:sagemaker:eu-west-1:1:training-job/fit-1", Name: "fit-1",
				URI: "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/fit-1",
			},
			pedigree.Code{},
		},
		{
			"azureml",
			environ{"AZUREML_RUN_ID": "r-1", "AZUREML_ROOT_RUN_ID": "r-0", "AZUREML_ARM_PROJECT_NAME": "fraud"},
			pedigree.Run{System: "azureml", ID: "r-1", Name: "fraud", Upstream: []pedigree.UpstreamRun{{ID: "r-0"}}},
			pedigree.Code{},
		},
		{"azureml, root", environ{"AZUREML_RUN_ID": "r-1", "AZUREML_ROOT_RUN_ID": "r-1"}, pedigree.Run{System: "azureml", ID: "r-1"}, pedigree.Code{}},
		{"vertex", environ{"CLOUD_ML_JOB_ID": "1"}, pedigree.Run{System: "vertex", ID: "1"}, pedigree.Code{}},
		{"databricks", environ{"DATABRICKS_RUNTIME_VERSION": "15.4", "DB_CLUSTER_NAME": "ml"}, pedigree.Run{System: "databricks", Name: "ml"}, pedigree.Code{}},
		{
			"slurm array",
			environ{"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_USER": "ann", "SLURM_JOB_NAME": "fit"},
			pedigree.Run{System: "slurm", ID: "10_2", Name: "fit", User: "ann"},
			pedigree.Code{},
		},
		{
			"slurm, submitted by github", with(github, environ{"SLURM_JOB_ID": "12"}),
			pedigree.Run{
				System: "slurm", ID: "12", User: "ann",
				Upstream: []pedigree.UpstreamRun{{ID: "42", Name: "train / fit", URI: "https://git.test/team/x/actions/runs/42/attempts/2"}},
			},
			pedigree.Code{Repository: "https://git.test/team/x", Commit: sha, Branch: "dev"},
		},
	}
	seen := map[string]bool{"kaggle": true, "sagemaker-studio": true, "forgejo": true} // rows without more than their siblings
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			jobs := detect(tt.env.get)
			if got := run(tt.env.get, jobs, ""); !reflect.DeepEqual(*got, tt.run) {
				t.Errorf("run\n got %+v\nwant %+v", *got, tt.run)
			}
			if got, _ := jobCode(tt.env.get, jobs); got != tt.code {
				t.Errorf("code\n got %+v\nwant %+v", got, tt.code)
			}
		})
		seen[tt.run.System] = true
	}
	for _, s := range systems {
		if !seen[s.name] {
			t.Errorf("no test for %s", s.name)
		}
	}
}

func TestDetectFalse(t *testing.T) {
	if jobs := detect(environ{"GITHUB_ACTIONS": "false", "CI": "true"}.get); len(jobs) != 0 {
		t.Errorf("GITHUB_ACTIONS=false is taken for %s", jobs[0].name)
	}
}

// TestRunAccount: the account of the process stands in where the environment names nobody.
func TestRunAccount(t *testing.T) {
	for _, tt := range []struct {
		env  environ
		want string
	}{{environ{}, "joe"}, {environ{"LOGNAME": "ann"}, "ann"}} {
		if got := run(tt.env.get, nil, "joe").User; got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.env, got, tt.want)
		}
	}
}
