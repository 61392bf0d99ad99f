package server

import (
	"context"

	"github.com/pedigree-ml/pedigree"
)

// Rebuild makes the tables that answer questions again from the log alone. progress, if
// not nil, is told the events done and the events in all.
func (s *Server) Rebuild(ctx context.Context, progress func(done, size int64)) error {
	return s.registrar.Rebuild(ctx, pedigree.Operator, progress)
}

// Entry returns one event of the log. It returns [pedigree.CodeNotFound] for a number
// that the log has not reached.
func (s *Server) Entry(ctx context.Context, seq int64) (pedigree.Entry, error) {
	list, err := s.registrar.Entries(ctx, pedigree.Operator, pedigree.EventQuery{After: seq - 1, Limit: 1})
	if err != nil {
		return pedigree.Entry{}, err
	}
	if seq < 0 || len(list.Items) == 0 {
		return pedigree.Entry{}, pedigree.Errorf(pedigree.CodeNotFound, "the log has no event %d; the last is %d", seq, list.AsOf)
	}
	return list.Items[0], nil
}

// Redact erases payload fields of one event for good and returns what is left of it. It
// returns [pedigree.CodeInvalid] for a field that is not there and [pedigree.CodeRefused]
// for one that can't be erased.
func (s *Server) Redact(ctx context.Context, seq int64, fields []string, reason string) (pedigree.Entry, error) {
	if _, err := s.registrar.Redact(ctx, pedigree.Operator, seq, fields, reason); err != nil {
		return pedigree.Entry{}, err
	}
	return s.Entry(ctx, seq)
}
