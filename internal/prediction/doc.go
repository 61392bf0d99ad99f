// Package prediction reads logs of predictions and checks their lines: against the form
// that all have, which is the root package's, and against the log schema of a target,
// which is a JSON Schema.
//
// It owns the one place where JSON Schema is evaluated, for the command that reads a log
// where it lies and for the registry that is sent a piece of one. It must never fetch what
// a schema refers to, and never keep or repeat a line: what it says of one names fields and
// types, and quotes at most what the schema or the form gives away.
//
// Invariant: however a schema and a line were made, comparing them ends: the schemas that
// are visited are counted, and there is a most.
package prediction
