ALTER TABLE view_approvals ADD COLUMN conditional {int} NOT NULL DEFAULT 0;
UPDATE view_approvals SET conditional = 1 WHERE kind = 'approved' AND EXISTS (SELECT 1 FROM log_fields f WHERE f.seq = view_approvals.from_seq AND f.name = 'conditions');
CREATE INDEX view_approvals_conditional ON view_approvals (from_seq) WHERE conditional = 1;
