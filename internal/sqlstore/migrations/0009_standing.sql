CREATE INDEX view_deployments_running ON view_deployments (model, number, target) WHERE end_seq IS NULL;
