CREATE TABLE view_policies (
  scope {text} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  need {int} NOT NULL,
  PRIMARY KEY (scope, from_seq)
) {clustered};
CREATE TABLE view_approvals (
  subject {int} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  kind {text} NOT NULL,
  actor {text} NOT NULL,
  stale_seq {int},
  expires {int},
  PRIMARY KEY (subject, from_seq)
) {clustered};
CREATE INDEX view_approvals_open ON view_approvals (kind, from_seq) WHERE to_seq IS NULL;
CREATE TABLE view_targets (
  id {text} NOT NULL PRIMARY KEY,
  project {text} NOT NULL,
  name {text} NOT NULL,
  seq {int} NOT NULL,
  deleted_seq {int},
  alias {text} NOT NULL,
  protected {int} NOT NULL
) {strict};
CREATE INDEX view_targets_name ON view_targets (project, name, seq);
CREATE TABLE view_deployments (
  id {text} NOT NULL PRIMARY KEY,
  seq {int} NOT NULL UNIQUE,
  target {text} NOT NULL,
  model {text} NOT NULL,
  number {int} NOT NULL,
  role {text} NOT NULL,
  image {text} NOT NULL,
  active_seq {int},
  end_seq {int},
  end_state {text}
) {strict};
CREATE INDEX view_deployments_target ON view_deployments (target, seq);
CREATE INDEX view_deployments_active ON view_deployments (target, role, active_seq);
CREATE INDEX view_deployments_open ON view_deployments (target) WHERE end_seq IS NULL;
CREATE INDEX view_deployments_version ON view_deployments (model, number, seq);
CREATE INDEX view_deployments_image ON view_deployments (image, seq);
CREATE TABLE view_executions (
  id {text} NOT NULL PRIMARY KEY,
  seq {int} NOT NULL UNIQUE,
  target {text} NOT NULL,
  deployment {text} NOT NULL,
  model {text} NOT NULL,
  number {int} NOT NULL,
  end_seq {int}
) {strict};
CREATE INDEX view_executions_target ON view_executions (target, seq);
CREATE INDEX view_executions_version ON view_executions (model, number, seq);
CREATE TABLE view_instances (
  target {text} NOT NULL,
  instance {text} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  deployment {text} NOT NULL,
  model {text} NOT NULL,
  number {int} NOT NULL,
  digest {text} NOT NULL,
  PRIMARY KEY (target, instance, from_seq)
) {clustered};
CREATE INDEX view_instances_name ON view_instances (instance, from_seq);
CREATE TABLE own_heartbeats (
  target {text} NOT NULL,
  instance {text} NOT NULL,
  seen {int} NOT NULL,
  PRIMARY KEY (target, instance)
) {clustered};
CREATE TABLE own_readiness (
  target {text} NOT NULL PRIMARY KEY,
  checked {int} NOT NULL,
  found {text} NOT NULL
) {strict};
