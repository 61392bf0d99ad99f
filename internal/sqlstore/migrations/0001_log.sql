CREATE TABLE log_head (
  id {int} PRIMARY KEY CHECK (id = 1),
  size {int} NOT NULL,
  time {int} NOT NULL,
  edge {bytes} NOT NULL
) {strict};
INSERT INTO log_head (id, size, time, edge) VALUES (1, 0, 0, {emptybytes});
CREATE TABLE log_events (
  seq {pk},
  time {int} NOT NULL,
  type {text} NOT NULL,
  subject {text} NOT NULL,
  envelope {text} NOT NULL
) {strict};
CREATE INDEX log_events_time ON log_events (time, seq);
CREATE INDEX log_events_subject ON log_events (subject, seq);
CREATE TABLE log_refs (
  ref {text} NOT NULL,
  seq {int} NOT NULL,
  PRIMARY KEY (ref, seq)
) {clustered};
CREATE TABLE log_fields (
  seq {int} NOT NULL,
  name {text} NOT NULL,
  value {text},
  salt {bytes},
  commitment {bytes},
  PRIMARY KEY (seq, name)
) {clustered};
CREATE TABLE log_hashes (
  idx {pk},
  hash {bytes} NOT NULL
) {strict};

CREATE TABLE view_subjects (
  subject {text} NOT NULL PRIMARY KEY,
  seq {int} NOT NULL
) {clustered};
CREATE TABLE view_projects (
  id {text} NOT NULL PRIMARY KEY,
  name {text} NOT NULL UNIQUE,
  seq {int} NOT NULL
) {strict};
CREATE TABLE view_models (
  id {text} NOT NULL PRIMARY KEY,
  project {text} NOT NULL,
  seq {int} NOT NULL UNIQUE,
  deleted_seq {int}
) {strict};
CREATE TABLE view_names (
  project {text} NOT NULL,
  name {text} NOT NULL,
  model {text} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  PRIMARY KEY (project, name, from_seq)
) {clustered};
CREATE INDEX view_names_model ON view_names (model, from_seq);
CREATE TABLE view_versions (
  seq {pk},
  model {text} NOT NULL,
  number {int} NOT NULL,
  deleted_seq {int},
  UNIQUE (model, number)
) {strict};
CREATE INDEX view_versions_model ON view_versions (model, seq);
CREATE TABLE view_aliases (
  model {text} NOT NULL,
  alias {text} NOT NULL,
  version {int} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  PRIMARY KEY (model, alias, from_seq)
) {clustered};
CREATE INDEX view_aliases_version ON view_aliases (model, version);
CREATE TABLE view_attributes (
  subject {int} NOT NULL,
  field {text} NOT NULL,
  key {text} NOT NULL,
  from_seq {int} NOT NULL,
  ord {int} NOT NULL,
  to_seq {int},
  text {text},
  hash {int},
  number {real},
  PRIMARY KEY (subject, field, key, from_seq, ord)
) {clustered};
CREATE INDEX view_attributes_text ON view_attributes (key, hash, subject);
CREATE INDEX view_attributes_number ON view_attributes (key, number, subject) WHERE number IS NOT NULL;

CREATE TABLE own_blobs (
  digest {text} NOT NULL PRIMARY KEY,
  size {int} NOT NULL,
  state {text} NOT NULL,
  leased_until {int} NOT NULL
) {strict};
CREATE TABLE own_project_blobs (
  project {text} NOT NULL,
  digest {text} NOT NULL,
  PRIMARY KEY (project, digest)
) {clustered};
CREATE TABLE own_idempotency (
  actor {text} NOT NULL,
  key {text} NOT NULL,
  fingerprint {text} NOT NULL,
  first_seq {int} NOT NULL,
  last_seq {int} NOT NULL,
  time {int} NOT NULL,
  PRIMARY KEY (actor, key)
) {clustered};
CREATE INDEX own_idempotency_time ON own_idempotency (time);
