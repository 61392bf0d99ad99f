package server

import (
	"context"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// publishInterval is how often the log is looked at for a checkpoint to publish.
const publishInterval = time.Second

// publishCheckpoints keeps the file of checkpoint-to fresh until ctx ends, and once more
// after that: the last events before a shutdown are the ones that nobody else has seen.
func (s *Server) publishCheckpoints(ctx context.Context) {
	tick := time.NewTicker(publishInterval)
	defer tick.Stop()
	var published int64
	for {
		published = s.publish(ctx, published)
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.publish(last, published)
			return
		}
	}
}

// publish writes a checkpoint if the log has grown beyond published, and returns the size
// that the file now has.
func (s *Server) publish(ctx context.Context, published int64) int64 {
	size, err := s.store.Head(ctx)
	if err == nil && size == published {
		return published
	}
	var cp pedigree.Checkpoint
	if err == nil {
		cp, err = s.registrar.Checkpoint(ctx, pedigree.System)
	}
	if err == nil {
		err = writeFile(s.cfg.CheckpointTo, []byte(cp.Note), 0o644)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error("the checkpoint can't be published", "path", s.cfg.CheckpointTo, "error", err)
		}
		return published
	}
	return cp.Size
}
