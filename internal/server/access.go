package server

import (
	"context"
	"net"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// accessInterval is how often what was gathered about callers is written: when tokens were
// last used, and refusals that were counted.
const accessInterval = time.Minute

// writeAccess writes what is gathered about callers until ctx ends, and once more then.
func (s *Server) writeAccess(ctx context.Context) {
	tick := time.NewTicker(accessInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.flushAccess(ctx, false)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.flushAccess(last, true)
			return
		}
	}
}

func (s *Server) flushAccess(ctx context.Context, all bool) {
	if err := s.registrar.WriteTokenUses(ctx); err != nil {
		s.log.Error("when tokens were used can't be written", "error", err)
	}
	if err := s.registrar.WriteDenials(ctx, all); err != nil {
		s.log.Error("refusals can't be written to the log", "error", err)
	}
}

// hasAccounts says whether callers must say who they are. Where that can't be found out
// they may not be strangers.
func (s *Server) hasAccounts(ctx context.Context) bool {
	on, err := s.registrar.HasAccounts(ctx)
	return err == nil && on
}

// checkReach refuses to listen where other machines reach a registry that anybody may
// change. Only the log knows whether there are accounts.
func (s *Server) checkReach(ctx context.Context) error {
	if s.cfg.AllowAnonymous || s.cfg.Loopback() {
		return nil
	}
	on, err := s.registrar.HasAccounts(ctx)
	if err != nil || on {
		return err
	}
	host, _, err := net.SplitHostPort(s.cfg.Addr)
	if err != nil {
		return err
	}
	if host == "" {
		host = "every address of this machine"
	}
	return pedigree.Errorf(pedigree.CodeInvalid, "addr %q listens on %s, where other machines reach it, and this registry has no accounts: whoever reaches it may change it", s.cfg.Addr, host).
		WithFix("make accounts: pedigree admin init; or listen on 127.0.0.1; or pass --allow-anonymous to accept that")
}

// EnableAccounts makes the first account and returns its token: from then on callers must
// say who they are, on every server of the database. It returns [pedigree.CodeRefused]
// where they have to already.
func (s *Server) EnableAccounts(ctx context.Context, spec pedigree.NewAccount) (pedigree.Token, error) {
	return s.registrar.EnableAccounts(ctx, pedigree.Operator, spec)
}

// CreateToken makes a token of any account: the way back in for who has lost theirs.
func (s *Server) CreateToken(ctx context.Context, spec pedigree.NewToken) (pedigree.Token, error) {
	return s.registrar.CreateToken(ctx, pedigree.Operator, spec)
}
