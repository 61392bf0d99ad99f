package httpapi

import (
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Examples that the OpenAPI document shows. A test sends the requests among them to a
// real server.
const exampleDigest pedigree.Digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var (
	exampleProject     = NewProject{Name: "risk", Description: "Models of the risk team"}
	exampleModel       = NewModel{Name: "fraud", ModelEdit: pedigree.ModelEdit{Owner: ptr("team:risk"), Purpose: ptr("Scores card payments"), Tier: ptr(pedigree.TierHigh)}}
	exampleModelEdit   = pedigree.ModelEdit{State: ptr(pedigree.StateInUse), Tags: map[string]string{"team": "risk"}}
	exampleVersionEdit = pedigree.VersionEdit{Description: ptr("Retrained on the data of October"), Tags: map[string]string{"stage": "candidate"}}
	exampleAmend       = pedigree.Amend{
		Record: pedigree.Record{Metrics: []pedigree.Metric{{Name: "auc", Value: 0.93, Dataset: "test"}}, RollbackNote: "needs the feature service of 2026-10"},
		Reason: "measured again",
	}
	exampleRegistration = pedigree.Registration{
		Record: pedigree.Record{
			Artifact: pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: "s3://models/fraud/2026-11/"},
			Code:     &pedigree.Code{Repository: "https://git.example.org/risk/fraud", Commit: "9f2c1e7ab0f3f6a8c1d2e3f4a5b6c7d8e9f0a1b2"},
			Runtime:  &pedigree.Runtime{Image: "registry.example.org/train@" + string(exampleDigest)},
			Data:     []pedigree.DataReference{{Role: "train", Kind: pedigree.DataSnapshot, URI: "s3://lake/payments", Version: "2026-10-31"}},
			Params:   pedigree.Params{"depth": "6"},
			Metrics:  []pedigree.Metric{{Name: "auc", Value: 0.91, Dataset: "test"}},
			Owner:    "team:risk",
			Target:   "prod/fraud-api",
		},
		Tags: map[string]string{"team": "risk"}, Aliases: []pedigree.Alias{"candidate"}, CreateModel: true,
	}
	exampleAccount  = pedigree.NewAccount{Name: "ci-fraud", Kind: pedigree.ServiceAccount}
	exampleBinding  = pedigree.NewBinding{Role: pedigree.Contributor, Member: "group:risk"}
	exampleTarget   = AliasPointer{Version: "7", IfCurrent: ptr(pedigree.VersionNumber(6)), Note: "after the canary"}
	exampleResolved = pedigree.Resolved{
		Project: "default", Model: "fraud", ModelID: "mdl_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f", Number: 7,
		Kind: pedigree.ArtifactStored, Digest: exampleDigest, AsOf: 4711,
	}
)

func ptr[T any](v T) *T { return &v }

var examplePolicy = pedigree.Policy{
	Gates:     []pedigree.Gate{{Name: "auc", Expr: "metrics.auc >= 0.9", Message: "AUC is below 0.9"}},
	Approvals: &pedigree.ApprovalRule{Count: 1, Environments: []string{"prod"}},
}

var exampleNewTarget = NewTarget{Name: "prod/fraud-api", TargetSpec: pedigree.TargetSpec{Kind: pedigree.TargetOnline, Owner: "team:risk", Alias: "production"}}

var exampleDeployment = NewDeployment{Version: "fraud/7", Deploy: pedigree.Deploy{Image: "registry.example.org/risk/serve:1.4", Note: "November release"}}

var exampleObservation = pedigree.Observation{Instance: "fraud-api-7d9c", Model: "fraud", Version: 7}

var exampleWebhook = NewWebhook{URL: "https://ci.example.org/hooks/models", Name: "deploy on alias", Types: []string{"alias.*"}, Models: []string{"fraud"}}

var examplePrediction = pedigree.Prediction{
	Schema: pedigree.PredictionV1, ID: "0198f2c4", Time: time.Date(2026, 11, 24, 9, 0, 0, 123e6, time.UTC),
	Deployment: "dep_0193a3c5e8b07aa48f2d3c4b5a697887", Target: "prod/fraud-api", Model: "fraud", Version: 7,
}
