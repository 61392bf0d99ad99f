// Package pedigree holds the nouns of a model registry, the values that name them,
// and the decisions that change them.
//
// A [Project] holds models. A [Model] is a line of versions. A [Version] has a
// [Record]: an [Artifact], the [Code], the [Runtime], [DataReference] and [Metric]
// lists, the [Run], its [Output] list, each [Parent], a [Signature], each [Flavor], [Evidence],
// an owner, an intended target and a rollback note. An [Alias] is a movable name of a
// version. An [Event] is one entry of the log of everything that ever happened.
//
// Every change is decided by a pure function here: it takes values, checks the
// rules, and returns each [Draft] that is to be appended, or an [Error] whose
// [ErrorCode] says what the caller can do. Nothing here does input or output, reads a
// clock or draws a random number, and nothing outside the standard library is
// imported; a test keeps it so.
//
// The structs carry JSON tags and are the native wire format, the SDK's results
// and what SQL scans into: one noun, one struct.
//
// Invariants: a value that [ParseName], [ParseAlias], [ParseDigest],
// [ParseReference] and their like returned is never checked again; a record is
// normalized before it is decided on; the payload of an event is what its JSON keys
// say for as long as the log exists.
package pedigree
