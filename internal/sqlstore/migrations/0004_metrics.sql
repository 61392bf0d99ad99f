CREATE TABLE own_metric_chunks (
  id {autopk},
  run {text} NOT NULL,
  latest {int} NOT NULL,
  points {bytes} NOT NULL
) {strict};
CREATE INDEX own_metric_chunks_run ON own_metric_chunks (run, id);
