// Package server is the composition root: it makes the parts of Pedigree out of a
// [config.Config], joins them to one HTTP handler, listens, and takes everything down
// again in order.
//
// It owns the process's resources: the database, the blob folder, the log's private key,
// the listener, the metrics, the file that publishes checkpoints, and the file in the data
// folder that says where a server runs. It is the one place below the command line that
// knows the clock, the source of random numbers and the process's id.
//
// It must never decide anything about models, versions or the log: it calls the
// registrar. It must never write a private key to a log or an answer.
//
// The same [Server] serves a network address ([Server.Serve]) and, through [Transport],
// a program in the same process, which then needs no port and no second process.
//
// Invariant: what [Open] made, [Server.Close] releases, also after half an Open; and a
// request that was accepted before the server was told to stop is answered, as long as
// it takes less than the shutdown timeout.
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/mlflow"
	"github.com/pedigree-ml/pedigree/internal/notify"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Server is one running registry. Its methods may be called from any goroutine.
type Server struct {
	cfg       config.Config
	log       *slog.Logger
	store     *sqlstore.Store
	registrar *registrar.Registrar
	feed      *notify.Feed
	notifier  *notify.Notifier
	keys      *keySource
	handler   http.Handler
	// instance tells this server from another one that answers at the same address
	// later.
	instance string

	background sync.WaitGroup
	stop       context.CancelFunc // ends what runs in the background

	listening sync.Mutex
	listener  net.Listener
	closing   sync.Once
	closed    error
}

// Open makes a server out of cfg, whose Data must be set; log is told of requests and of
// what an operator should know. An empty database gets its tables, its key and its first
// events. Nothing listens yet.
//
// It returns [pedigree.CodeInvalid] for a configuration that can't be meant,
// [pedigree.CodeRefused] where the log's key is missing or another one, and
// [pedigree.CodeUnavailable] where database or folder can't be used.
func Open(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *Server, err error) {
	if cfg, err = cfg.Complete(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, instance: newID("srv")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := makeFolder(cfg.Data); err != nil {
		return nil, err
	}
	s.store, err = sqlstore.Open(ctx, sqlstore.Config{
		Database: cfg.Database, Now: time.Now, Rand: rand.Reader, Log: log, Connections: cfg.DatabaseConnections,
	})
	if err != nil {
		return nil, err
	}
	blobs, err := blob.OpenDir(cfg.Blobs)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeUnavailable, "the folder of the stored bytes can't be used: %w", err).
			WithFix("check that the user of the server may write to it (--blobs)")
	}
	size, err := s.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	if s.keys, err = openKeys(cfg, size == 0); err != nil {
		return nil, err
	}
	metrics := newMetrics(s.store)
	receivers, err := pedigree.ParseReceivers(cfg.WebhookAllow)
	if err != nil {
		return nil, err
	}
	s.registrar, err = registrar.Open(ctx, registrar.Config{
		Store: s.store, Blobs: metrics.meter(blobs), NewID: newID, Signer: s.keys.signer, Now: time.Now, Rand: rand.Reader, PublicRead: cfg.PublicRead, Secret: cfg.Secret, Receivers: receivers,
	})
	if err != nil {
		return nil, err
	}
	if err := s.finishRotation(ctx); err != nil {
		return nil, err
	}
	s.feed = notify.NewFeed(s.registrar, 0, log)
	s.notifier = notify.New(notify.Config{
		Registrar: s.registrar, Feed: s.feed, Log: log, Owner: s.instance, Now: time.Now, After: time.After, BaseURL: cfg.PublicURL, Agent: "pedigree-webhook",
		Formats: map[pedigree.WebhookFormat]notify.Format{pedigree.FormatMLflow: mlflow.WebhookFormat(s.registrar)},
	})
	metrics.notify(s.registrar, s.feed, s.notifier)
	metrics.targets.MustRegister(&targetCollector{statuses: s.registrar.Statuses})
	if s.handler, err = s.routes(metrics); err != nil {
		return nil, err
	}
	s.startBackground()
	return s, nil
}

// startBackground starts what runs as long as the server is open.
func (s *Server) startBackground() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.background.Go(func() { s.writeAccess(ctx) })
	s.background.Go(func() { s.feed.Run(ctx) })
	if s.cfg.CheckpointTo != "" {
		s.background.Go(func() { s.publishCheckpoints(ctx) })
	}
}

// Handler answers every request of the server: the API, and what watches the server.
func (s *Server) Handler() http.Handler { return s.handler }

// Close releases everything. Requests that still run get errors; [Server.Serve] waits for
// them before it returns. A second Close does nothing.
func (s *Server) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.feed != nil {
			s.feed.Close()
		}
		if s.stop != nil {
			s.stop()
		}
		s.background.Wait()
		s.listening.Lock()
		if s.listener != nil {
			_ = s.listener.Close() // closed already where Serve ran
		}
		s.listening.Unlock()
		if s.store != nil {
			errs = append(errs, s.store.Close())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// newID makes an opaque id: the prefix and a UUIDv7, whose order is that of time.
func newID(prefix string) string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(fmt.Sprintf("no random numbers: %v", err)) // crypto/rand itself never returns an error
	}
	return prefix + "_" + hex.EncodeToString(id[:])
}
