// Package gate compiles and evaluates the gates of policies: CEL expressions over a
// version's record, its model, the place where it is to go, and the version that it
// replaces there.
//
// It owns what an expression can read (the table of fields in field.go, which
// docs/policies.md shows), what it may cost, and how a result is explained: every check
// says which values were read, why the gate failed, and the command that mends it.
//
// Invariants. A result is a function of the expression and the [Input] alone: no clock, no
// network, no order of maps. A value that is not recorded is an error, never a false or a
// zero that lets a version pass; metrics that were measured on different data are not
// compared. Nothing that can change without making an approval stale by intent can be read:
// descriptions, tags and notes have no field. Whatever an expression is, compiling and
// evaluating it takes bounded time and memory.
//
// It never reads a database, and decides nothing: what a failed check stops is decided in
// the root package.
package gate
