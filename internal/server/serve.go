package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Listen takes the address of the configuration. Connections wait until [Server.Serve]
// runs. It returns [pedigree.CodeUnavailable] for an address that can't be had.
func (s *Server) Listen(ctx context.Context) error {
	s.listening.Lock()
	defer s.listening.Unlock()
	if s.listener != nil {
		return nil
	}
	if err := s.checkReach(ctx); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return pedigree.Errorf(pedigree.CodeUnavailable, "the server can't listen on %s: %w", s.cfg.Addr, err).
			WithFix("stop what uses that port, or pass another one: --addr 127.0.0.1:0 takes any that is free")
	}
	s.listener = limit(l.(*net.TCPListener), s.cfg.MaxConnections) // of the network "tcp"
	return nil
}

// URL is where the server answers, as seen from this machine; "" before [Server.Listen].
func (s *Server) URL() string {
	s.listening.Lock()
	defer s.listening.Unlock()
	if s.listener == nil {
		return ""
	}
	addr, err := netip.ParseAddrPort(s.listener.Addr().String())
	if err != nil {
		return ""
	}
	ip := addr.Addr().Unmap()
	if ip.IsUnspecified() { // every address: one of them is this machine's own
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return "http://" + netip.AddrPortFrom(ip, addr.Port()).String()
}

// Database is the kind of the database: "sqlite" or "postgres".
func (s *Server) Database() string { return s.store.Kind() }

// Data is the data folder, absolute.
func (s *Server) Data() string { return s.cfg.Data }

// Serve answers requests until ctx ends, then stops to accept, lets those under way
// finish for as long as the shutdown timeout, and returns nil; or an error where the
// listener failed or the timeout passed. It listens where [Server.Listen] has not. The
// caller closes the server afterwards.
func (s *Server) Serve(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	// Memory that is never touched, and so never taken from the machine. The garbage
	// collector runs when the heap has doubled: a server of a few megabytes would collect
	// dozens of times a second under load.
	ballast := make([]byte, 24<<20)
	defer runtime.KeepAlive(ballast)
	h := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // clients that break off
	}
	h.RegisterOnShutdown(s.feed.Close) // watches would hold the end back
	// Webhooks are sent by servers alone: a command that opens the folder for a moment
	// must not take their leases.
	ctx, stop := context.WithCancel(ctx)
	var sending sync.WaitGroup
	sending.Go(func() { s.notifier.Run(ctx, s.cfg.ShutdownTimeout) })
	sending.Go(func() { s.keepReadiness(ctx) })
	defer sending.Wait()
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(s.listener) }()
	// After the first request can be answered: a file that a crash left behind may name
	// this very address, and is asked.
	if err := s.announce(ctx, s.URL()); err != nil {
		s.log.Warn("command lines will not find this server by its data folder", "error", err)
	}
	defer s.withdraw()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	return s.shutDown(context.WithoutCancel(ctx), h)
}

// shutDown ends h; ctx does not end with the order to stop.
func (s *Server) shutDown(ctx context.Context, h *http.Server) error {
	s.log.Info("stopping", "timeout", s.cfg.ShutdownTimeout)
	s.withdraw() // before the last request: nobody new shall come
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout)
	defer cancel()
	begin := time.Now()
	err := h.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(pedigree.Errorf(pedigree.CodeUnavailable, "requests were still running after %s; they were broken off", s.cfg.ShutdownTimeout), h.Close())
	}
	s.log.Info("stopped", "took", time.Since(begin))
	return err
}
