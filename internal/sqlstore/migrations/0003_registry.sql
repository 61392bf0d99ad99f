ALTER TABLE view_models ADD COLUMN updated_seq {int} NOT NULL DEFAULT 0;
ALTER TABLE view_versions ADD COLUMN updated_seq {int} NOT NULL DEFAULT 0;
ALTER TABLE view_versions ADD COLUMN stage {text} NOT NULL DEFAULT 'None';
ALTER TABLE view_versions ADD COLUMN stage_seq {int} NOT NULL DEFAULT 0;
UPDATE view_versions SET stage_seq = seq, updated_seq = coalesce((SELECT max(e.seq) FROM log_events e
WHERE e.subject = view_versions.model || '/' || view_versions.number AND e.type IN
('version.registered', 'version.edited', 'version.amended', 'version.archived', 'version.restored', 'version.deleted')), seq);
UPDATE view_versions SET updated_seq = (SELECT max(e.seq) FROM log_events e WHERE e.subject = view_versions.model AND e.type = 'model.renamed')
WHERE EXISTS (SELECT 1 FROM log_events e WHERE e.subject = view_versions.model AND e.type = 'model.renamed'
AND e.seq > view_versions.updated_seq AND (view_versions.deleted_seq IS NULL OR e.seq < view_versions.deleted_seq));
UPDATE view_models SET updated_seq = coalesce((SELECT max(e.seq) FROM log_events e
WHERE e.subject = view_models.id AND e.type IN ('model.created', 'model.edited', 'model.renamed')), seq);
UPDATE view_models SET updated_seq = (SELECT max(v.deleted_seq) FROM view_versions v WHERE v.model = view_models.id)
WHERE (SELECT max(v.deleted_seq) FROM view_versions v WHERE v.model = view_models.id) > updated_seq;
CREATE INDEX view_versions_stage ON view_versions (model, stage, number);
CREATE INDEX view_versions_model_updated ON view_versions (model, updated_seq);
CREATE INDEX view_versions_updated ON view_versions (updated_seq);
