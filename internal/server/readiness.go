package server

import (
	"context"
	"sync"
	"time"
)

// The pace of looking whether protected targets could go back.
const (
	// readinessJob is the lease: of all servers of a database one looks.
	readinessJob = "readiness"
	// readinessLease is how long a server that stopped without a word keeps the job.
	readinessLease = 30 * time.Second
	// readinessPoll is how soon a change of the log is noticed.
	readinessPoll = time.Second
	// readinessSweep is how often approvals and files are looked at although nothing
	// happened: approvals expire without an event.
	readinessSweep = time.Minute
	// forgetInterval is how often instances that are gone are forgotten.
	forgetInterval = time.Hour
)

// keepReadiness looks whether the protected targets could go back, and forgets instances
// that are gone, whenever this server has the job, until ctx ends.
func (s *Server) keepReadiness(ctx context.Context) {
	said := false // the last failure: one line is enough for an outage
	for {
		grown := s.registrar.Grown()
		held, err := s.registrar.HasTargets(ctx)
		if err == nil && held {
			held, err = s.registrar.Lease(ctx, readinessJob, s.instance, readinessLease)
		}
		if err != nil && ctx.Err() == nil && !said {
			s.log.Warn("nobody looks whether targets could go back", "error", err)
		}
		if said = err != nil; held {
			s.readiness(ctx)
		}
		timer := time.NewTimer(readinessLease / 3)
		select {
		case <-grown: // perhaps the first target
			sleep(ctx, readinessPoll)
		case <-timer.C:
		case <-ctx.Done():
		}
		if timer.Stop(); ctx.Err() != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readinessPoll)
	defer cancel()
	_ = s.registrar.Release(ctx, readinessJob, s.instance) // it ends by itself
}

// readiness looks as long as this server has the lease.
func (s *Server) readiness(ctx context.Context) {
	ctx, lost := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		defer lost()
		for sleep(ctx, readinessLease/3) {
			if held, err := s.registrar.Lease(ctx, readinessJob, s.instance, readinessLease); err != nil || !held {
				return
			}
		}
	})
	defer renewing.Wait()
	defer lost()
	var looked, forgot time.Time
	last, failed := int64(-1), false
	for ctx.Err() == nil {
		grown := s.registrar.Grown()
		moved, now, err := s.registrar.ReadinessMoved(ctx, last)
		if err == nil && (moved || time.Since(looked) >= min(readinessSweep, s.cfg.ReadinessInterval)) {
			looked = time.Now()
			err = s.registrar.CheckReadiness(ctx, s.cfg.ReadinessInterval)
		}
		if err == nil && time.Since(forgot) >= forgetInterval {
			forgot = time.Now()
			err = s.registrar.ForgetInstances(ctx)
		}
		if err == nil {
			last = now
		} else if ctx.Err() == nil && !failed {
			s.log.Warn("whether targets could go back can't be told", "error", err)
		}
		failed = err != nil
		timer := time.NewTimer(readinessPoll)
		select {
		case <-grown:
			timer.Stop()
			sleep(ctx, readinessPoll/10) // what belongs together comes together
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// sleep waits and says whether ctx still runs.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
