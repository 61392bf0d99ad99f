-- A search by a text that many versions have reads this index alone, and sees in it which
-- rows still hold.
DROP INDEX view_attributes_text;
CREATE INDEX view_attributes_text ON view_attributes (key, hash, subject, field, to_seq);
-- A version that has not changed since it was registered is where its seq is.
DROP INDEX view_versions_updated;
DROP INDEX view_versions_model_updated;
CREATE INDEX view_versions_updated ON view_versions (updated_seq) WHERE updated_seq > seq;
CREATE INDEX view_versions_model_updated ON view_versions (model, updated_seq) WHERE updated_seq > seq;
