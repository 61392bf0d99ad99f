CREATE TABLE own_metric_chunks (
  id {autopk},
  run {text} NOT NULL,
  latest {int} NOT NULL,
  points {bytes} NOT NULL
) {strict};
CREATE INDEX own_metric_chunks_run ON own_metric_chunks (run, id);
CREATE TABLE own_metric_folds (
  run {text} NOT NULL PRIMARY KEY,
  dirty {int} NOT NULL,
  upto {int} NOT NULL
) {clustered};
CREATE INDEX own_metric_folds_dirty ON own_metric_folds (run) WHERE dirty = 1;
