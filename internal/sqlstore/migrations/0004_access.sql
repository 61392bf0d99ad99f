CREATE TABLE view_accounts (
  id {text} NOT NULL,
  kind {text} NOT NULL,
  acts_for {text} NOT NULL,
  disabled {int} NOT NULL DEFAULT 0,
  erased {int} NOT NULL DEFAULT 0,
  seq {int} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  PRIMARY KEY (id, from_seq)
) {clustered};
CREATE TABLE view_groups (
  id {text} NOT NULL PRIMARY KEY,
  seq {int} NOT NULL,
  deleted_seq {int}
) {strict};
CREATE TABLE view_members (
  grp {text} NOT NULL,
  account {text} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  PRIMARY KEY (grp, account, from_seq)
) {clustered};
CREATE INDEX view_members_account ON view_members (account, grp) WHERE to_seq IS NULL;
CREATE TABLE view_bindings (
  project {text} NOT NULL,
  member {text} NOT NULL,
  role {text} NOT NULL,
  from_seq {int} NOT NULL,
  to_seq {int},
  PRIMARY KEY (project, member, role, from_seq)
) {clustered};
CREATE INDEX view_bindings_member ON view_bindings (member) WHERE to_seq IS NULL;
CREATE TABLE view_tokens (
  id {text} NOT NULL PRIMARY KEY,
  account {text} NOT NULL,
  scopes {text} NOT NULL,
  expires {int},
  seq {int} NOT NULL,
  revoked_seq {int}
) {strict};
CREATE INDEX view_tokens_account ON view_tokens (account, seq);

CREATE TABLE own_actors (
  id {text} NOT NULL PRIMARY KEY,
  kind {text} NOT NULL,
  name {text},
  display {text},
  email {text}
) {strict};
CREATE UNIQUE INDEX own_actors_name ON own_actors (kind, name);
CREATE TABLE own_tokens (
  id {text} NOT NULL PRIMARY KEY,
  hash {bytes} NOT NULL UNIQUE,
  name {text} NOT NULL,
  last_used {int}
) {strict};
