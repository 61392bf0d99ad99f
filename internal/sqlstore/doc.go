// Package sqlstore holds every SQL statement of Pedigree, for SQLite and for
// PostgreSQL, and the two ways in: [Store.Append] writes, [Store.Read] reads.
//
// Tables are of three classes, by prefix. log_ tables are the log: events, payload
// fields, tree hashes, head. view_ tables answer questions; apply (in apply.go) is
// the only code that writes them, and [Store.Rebuild] makes the same tables again
// from the log alone. own_ tables hold what is not audited: blobs and leases,
// idempotency keys, and what training code reports: experiments, runs, logged models
// and the names of their files.
//
// An append gives events their seq, time and version numbers, hashes them into the
// tree and applies them, all in one transaction under the log's lock. Appends that
// wait share a commit. An append that rests on what it read carries the seq of each
// subject, and is refused with CodeConflict when one has moved.
//
// A version's record is kept once, as the payload of the events that registered and
// amended it; view_ tables hold only what is searched for. Rows with from_seq and
// to_seq are intervals of the log, so that a question about the past is a WHERE
// clause.
//
// This package has no rules about models or versions: those stand in the root
// package and in the registrar. It never returns a driver's error as it is: what a
// caller can act on becomes a [pedigree.Error], and *sql.DB never leaves.
package sqlstore
