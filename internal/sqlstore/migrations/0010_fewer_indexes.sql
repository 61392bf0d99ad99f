DROP INDEX view_versions_model;
DROP INDEX view_versions_stage;
CREATE INDEX view_versions_stage ON view_versions (model, stage, number) WHERE stage <> 'None';
