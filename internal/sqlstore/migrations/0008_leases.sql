CREATE TABLE own_leases (
  name {text} NOT NULL PRIMARY KEY,
  leased_by {text} NOT NULL,
  leased_until {int} NOT NULL
) {strict};
