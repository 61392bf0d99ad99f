// Package archtest is the import table of ARCHITECTURE.md as a test. It owns no code
// that runs: the test parses every Go file of the module itself, because a test that
// asks the go command is answered from the test cache after the rule was broken.
//
// Invariant: a package that is not in the table fails the test, so that a new one
// states its place before it exists.
package archtest
