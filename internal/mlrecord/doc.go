// Package mlrecord makes a [pedigree.Record] out of what MLflow knows of a model: the run
// that trained it, the logged model, the tags in which a notebook says what MLflow has no
// word for, and the files that MLflow writes beside every model (MLmodel,
// requirements.txt, python_env.yaml).
//
// It owns that mapping, once: the MLflow dialect fills records by it from runs that are
// here, the registry-only mode and "pedigree import" from runs of another server, and a
// push from a folder that holds an MLmodel file.
//
// It must never read or fetch anything: whoever calls it has the run and the content of
// the files in hand.
//
// Invariant: what a run says by itself never keeps its model from being registered. A
// value that a record can't hold is left out; only a tag that somebody sets on the
// version itself is refused.
package mlrecord
