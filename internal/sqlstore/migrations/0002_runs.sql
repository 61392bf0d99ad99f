CREATE TABLE own_experiments (
  project {text} NOT NULL,
  id {int} NOT NULL,
  name {text} NOT NULL,
  artifact_uri {text} NOT NULL,
  stage {text} NOT NULL,
  created {int} NOT NULL,
  updated {int} NOT NULL,
  PRIMARY KEY (project, id)
) {clustered};
CREATE UNIQUE INDEX own_experiments_name ON own_experiments (project, name);
CREATE TABLE own_runs (
  id {text} NOT NULL PRIMARY KEY,
  project {text} NOT NULL,
  experiment {int} NOT NULL,
  name {text} NOT NULL,
  user_id {text} NOT NULL,
  status {text} NOT NULL,
  start_time {int} NOT NULL,
  end_time {int},
  artifact_uri {text} NOT NULL,
  stage {text} NOT NULL
) {clustered};
CREATE INDEX own_runs_experiment ON own_runs (project, experiment, start_time DESC, id);
CREATE TABLE own_tags (
  owner {text} NOT NULL,
  key {text} NOT NULL,
  value {text} NOT NULL,
  PRIMARY KEY (owner, key)
) {clustered};
CREATE INDEX own_tags_value ON own_tags (key, substr(value, 1, 64), owner);
CREATE TABLE own_params (
  owner {text} NOT NULL,
  key {text} NOT NULL,
  value {text} NOT NULL,
  PRIMARY KEY (owner, key)
) {clustered};
CREATE INDEX own_params_value ON own_params (key, substr(value, 1, 64), owner);
CREATE TABLE own_metrics (
  run {text} NOT NULL,
  key {text} NOT NULL,
  time {int} NOT NULL,
  step {int} NOT NULL,
  value {real} NOT NULL,
  nan {int} NOT NULL,
  PRIMARY KEY (run, key, time, step, value, nan)
) {clustered};
CREATE TABLE own_latest_metrics (
  run {text} NOT NULL,
  key {text} NOT NULL,
  time {int} NOT NULL,
  step {int} NOT NULL,
  value {real} NOT NULL,
  nan {int} NOT NULL,
  PRIMARY KEY (run, key)
) {clustered};
CREATE INDEX own_latest_metrics_value ON own_latest_metrics (key, value, run);
CREATE TABLE own_datasets (
  project {text} NOT NULL,
  experiment {int} NOT NULL,
  name {text} NOT NULL,
  digest {text} NOT NULL,
  source_type {text} NOT NULL,
  source {text} NOT NULL,
  schema_text {text} NOT NULL,
  profile {text} NOT NULL,
  PRIMARY KEY (project, experiment, name, digest)
) {clustered};
CREATE TABLE own_run_datasets (
  run {text} NOT NULL,
  name {text} NOT NULL,
  digest {text} NOT NULL,
  ord {int} NOT NULL,
  context {text},
  tags {text} NOT NULL,
  PRIMARY KEY (run, name, digest)
) {clustered};
CREATE INDEX own_run_datasets_name ON own_run_datasets (name, digest, run);
CREATE TABLE own_run_models (
  run {text} NOT NULL,
  direction {text} NOT NULL,
  model {text} NOT NULL,
  step {int} NOT NULL,
  PRIMARY KEY (run, direction, model, step)
) {clustered};
CREATE TABLE own_logged_models (
  id {text} NOT NULL PRIMARY KEY,
  project {text} NOT NULL,
  experiment {int} NOT NULL,
  name {text} NOT NULL,
  model_type {text} NOT NULL,
  source_run {text} NOT NULL,
  status {int} NOT NULL,
  artifact_uri {text} NOT NULL,
  stage {text} NOT NULL,
  created {int} NOT NULL,
  updated {int} NOT NULL
) {clustered};
CREATE INDEX own_logged_models_experiment ON own_logged_models (project, experiment, created DESC, id);
CREATE INDEX own_logged_models_run ON own_logged_models (source_run);
CREATE TABLE own_model_metrics (
  model {text} NOT NULL,
  key {text} NOT NULL,
  time {int} NOT NULL,
  step {int} NOT NULL,
  run {text} NOT NULL,
  value {real} NOT NULL,
  nan {int} NOT NULL,
  hash {int} NOT NULL,
  dataset {text} NOT NULL,
  digest {text} NOT NULL,
  PRIMARY KEY (model, key, time, step, run, value, nan, hash)
) {clustered};
CREATE TABLE own_files (
  project {text} NOT NULL,
  path {text} NOT NULL,
  digest {text} NOT NULL,
  size {int} NOT NULL,
  time {int} NOT NULL,
  PRIMARY KEY (project, path)
) {clustered};
CREATE INDEX own_files_digest ON own_files (digest);
