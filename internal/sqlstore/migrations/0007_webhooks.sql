CREATE TABLE view_webhooks (
  id {text} NOT NULL PRIMARY KEY,
  project {text} NOT NULL,
  format {text} NOT NULL,
  seq {int} NOT NULL UNIQUE,
  deleted_seq {int}
) {strict};
CREATE INDEX view_webhooks_project ON view_webhooks (project, seq);
CREATE TABLE own_webhooks (
  id {text} NOT NULL PRIMARY KEY,
  secret {text} NOT NULL,
  old_secret {text} NOT NULL,
  old_until {int} NOT NULL,
  cursor_seq {int} NOT NULL,
  leased_by {text} NOT NULL,
  leased_until {int} NOT NULL
) {strict};
CREATE TABLE own_deliveries (
  webhook {text} NOT NULL,
  seq {int} NOT NULL,
  type {text} NOT NULL,
  subject {text} NOT NULL,
  state {text} NOT NULL,
  again {int} NOT NULL,
  attempts {int} NOT NULL,
  created {int} NOT NULL,
  first_at {int},
  next_at {int},
  last_at {int},
  duration {real} NOT NULL,
  status {int} NOT NULL,
  answer {text} NOT NULL,
  error {text} NOT NULL,
  PRIMARY KEY (webhook, seq)
) {clustered};
CREATE INDEX own_deliveries_pending ON own_deliveries (webhook, subject, seq) WHERE state = 'pending';
CREATE INDEX own_deliveries_dead ON own_deliveries (webhook, seq) WHERE state = 'dead';
