// Package httpx is what every HTTP dialect of Pedigree has in common: handlers that
// return errors, problem documents (RFC 9457), the one table from error codes to
// statuses, strict JSON, conditional requests, idempotency keys, and the chain that each
// request passes: an id of the server's own, one line in the log, the refusal of foreign
// origins and hosts, and the answer to a panic.
//
// It must never know what a request is about: no registry, no storage, no rules. It
// imports the root package and the standard library, and takes clock, log and ids from
// its caller.
//
// Invariant: whatever a client sends gets an answer below 500, unless the server itself
// failed or a part of it is out of order. The text of an unexpected failure stays in
// the log; its caller gets a fixed text and the request's id.
package httpx
