package mlflow

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// A client may have its registry here and its runs on another tracking server. What it
// registers then has a source that means nothing here: where the operator named that
// server as the upstream, run and files are fetched from it; otherwise the version is
// linked, and says so.

var (
	runSource   = regexp.MustCompile(`^runs:/+([0-9a-f]{32})(?:/|$)`)
	modelSource = regexp.MustCompile(`^models:/+(m-[0-9a-f]{32})/*$`)
)

// elsewhereID is the id of the run or logged model that a source names, where it is one
// that a tracking server gives out; "" for every other source.
func elsewhereID(source string) string {
	for _, pattern := range []*regexp.Regexp{runSource, modelSource} {
		if found := pattern.FindStringSubmatch(source); found != nil {
			return found[1]
		}
	}
	if p, ok := registrar.TrackedPath(source); ok {
		for _, pattern := range []*regexp.Regexp{modelFolder, runFolder} {
			if found := pattern.FindStringSubmatch(p); found != nil {
				return found[1]
			}
		}
	}
	return ""
}

// warningTag says what is wrong with a version in the answers to clients; it is computed.
const warningTag = "pedigree.warning"

const linkedWarning = "run and files are on another tracking server, and were not read: start this server with --upstream-mlflow URL and register again"

// here says whether the run or the logged model with an id is one of this server,
// deleted or not.
func (d *Dialect) here(c *call, id string) (bool, error) {
	var err error
	if strings.HasPrefix(id, "m-") {
		_, err = d.registrar.LoggedModel(c.ctx(), c.principal, c.project, id, true)
	} else {
		_, err = d.registrar.Run(c.ctx(), c.principal, c.project, id)
	}
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// elsewhere says whether a source belongs to another tracking server, and then fills o:
// from the upstream, or as a link.
func (d *Dialect) elsewhere(c *call, o *origin, in sourceRequest, host bool) (bool, error) {
	id, modelID := elsewhereID(in.source), text(in.modelID)
	switch {
	case id == "" && d.cfg.Upstream != nil && !wordScheme(in.source): // a bucket's URI, of a run that may be the upstream's
		if id = modelID; id == "" {
			id = o.runID
		}
	case id == "", host && !d.cfg.Upstream.Owns(parsed(in.source)):
		return false, nil
	}
	if id == "" {
		return false, nil
	}
	if there, err := d.here(c, id); there || err != nil {
		return false, err
	}
	if err := contradiction(in, id, o.runID); err != nil {
		return true, err
	}
	if d.cfg.Upstream == nil {
		o.linked = true
		if o.runID == "" && !strings.HasPrefix(id, "m-") {
			o.runID = id
		}
		return true, nil
	}
	if strings.HasPrefix(id, "m-") {
		modelID = id
	} else if o.runID == "" {
		o.runID = id
	}
	// Nothing is fetched for a caller that may not register it.
	if err := d.registrar.May(c.ctx(), c.principal, pedigree.VersionsWrite, c.project); err != nil {
		return true, err
	}
	away, err := d.cfg.Upstream.Origin(c.ctx(), in.source, o.runID, modelID)
	if err != nil {
		return true, fromUpstream(err)
	}
	return true, d.takeOrigin(o, in, away)
}

// wordScheme says whether a source has a scheme that only MLflow itself knows.
func wordScheme(source string) bool {
	switch schemeOf(source) {
	case "runs", "models", "mlflow-artifacts":
		return true
	}
	return false
}

func parsed(uri string) *url.URL {
	u, err := url.Parse(uri)
	if err != nil {
		return &url.URL{}
	}
	return u
}

// contradiction returns MLflow's error for a request whose run or model is not the one
// that the source names.
func contradiction(in sourceRequest, id, runID string) error {
	modelID := text(in.modelID)
	switch scheme := schemeOf(in.source); {
	case scheme == "runs" && modelID != "", scheme == "models" && modelID != "" && modelID != id, scheme == "mlflow-artifacts" && modelID != "" && strings.HasPrefix(id, "m-") && modelID != id:
		return badSource(in.source, "model_id")
	case scheme == "runs" && runID != "" && runID != id, scheme == "mlflow-artifacts" && runID != "" && modelID == "" && !strings.HasPrefix(id, "m-") && runID != id:
		return badSource(in.source, "run_id")
	}
	return nil
}

// takeOrigin fills o with what the upstream knows of its source, by the rules that hold
// for sources that are here.
func (d *Dialect) takeOrigin(o *origin, in sourceRequest, away upstream.Origin) error {
	scheme := schemeOf(in.source)
	switch {
	case away.Model == nil && (scheme == "models" || text(in.modelID) != ""):
		id := text(in.modelID)
		if id == "" {
			id = elsewhereID(in.source)
		}
		return notFound("Logged model with ID '%s' not found, neither here nor on the upstream.", clip(id))
	case scheme == "mlflow-artifacts" && !rootedIn(in.source, away):
		if text(in.modelID) != "" {
			return badSource(in.source, "model_id")
		}
		return badSource(in.source, "run_id")
	}
	o.upstream, o.run, o.model, o.away = true, away.Run, away.Model, away.Tree
	o.linked = away.Tree == nil
	if away.Run != nil {
		o.runID = away.Run.ID
	}
	return nil
}

// rootedIn says whether a source lies within the root of its run or model. A run whose
// files are elsewhere, as its own URI says, has none on the upstream's artifact proxy.
func rootedIn(source string, away upstream.Origin) bool {
	p, ok := registrar.TrackedPath(source)
	return ok && (away.Run != nil && within(p, away.Run.ArtifactURI) || away.Model != nil && within(p, away.Model.ArtifactURI))
}

// fromUpstream is an error of the upstream as the client sees it: only what may succeed
// later has a status that its library tries again.
func fromUpstream(err error) error {
	switch pedigree.CodeOf(err) {
	case pedigree.CodeNotFound: // of the client's own request, 404 would say something else
		return pedigree.Errorf(pedigree.CodeUnsupported, "nothing was registered: %w", err)
	case "", pedigree.CodeInternal:
		return err
	}
	return pedigree.Errorf(pedigree.CodeOf(err), "nothing was registered: %w", err)
}

// self is the address under which the client reached this server and its project, where
// its artifact URIs must name it: a client whose runs are on the upstream takes every
// other URI for one of that server.
func (c *call) self() string {
	if c.d.cfg.Upstream == nil {
		return ""
	}
	scheme := "http"
	if c.r.TLS != nil || strings.EqualFold(c.r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	self := scheme + "://" + c.r.Host
	if c.project != pedigree.DefaultProject {
		self += "/p/" + url.PathEscape(string(c.project))
	}
	return self
}

// filesURI is where the client finds the files of a stored version.
func (c *call) filesURI(card *registrar.Card) string {
	uri := registrar.VersionURI(card.ModelID, card.Number)
	self := c.self()
	if self == "" {
		return uri
	}
	return self + artifacts + "/artifacts" + strings.TrimPrefix(uri, "mlflow-artifacts:")
}

// fetches are the sources whose files are on their way. A large model may take longer
// than its client waits: the client's next try finds the transfer under way, or done.
type fetches struct {
	mu    sync.Mutex
	byKey map[string]*fetch
}

type fetch struct {
	cancel  context.CancelFunc
	done    chan struct{}
	waiting int
	files   []mlrecord.Content
	err     error
}

// linger is how long a transfer goes on, and its outcome is kept, while nobody waits.
const linger = 5 * time.Minute

// get returns what read returns. Calls with one key at one time share one read, which
// outlives its callers for a while.
func (f *fetches) get(ctx context.Context, key string, read func(context.Context) ([]mlrecord.Content, error)) ([]mlrecord.Content, error) {
	f.mu.Lock()
	one := f.byKey[key]
	if one == nil {
		one = &fetch{done: make(chan struct{})}
		var own context.Context
		own, one.cancel = context.WithCancel(context.WithoutCancel(ctx))
		if f.byKey == nil {
			f.byKey = map[string]*fetch{}
		}
		f.byKey[key] = one
		go func() {
			one.files, one.err = read(own)
			close(one.done)
			f.mu.Lock()
			defer f.mu.Unlock()
			if one.err != nil && one.waiting == 0 { // the next try may fare better
				f.forget(key, one)
			}
		}()
	}
	one.waiting++
	f.mu.Unlock()
	var err error
	select {
	case <-one.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	one.waiting--
	if err == nil { // the next registration reads anew: files may change there
		f.forget(key, one)
		return one.files, one.err
	}
	if one.waiting == 0 {
		time.AfterFunc(linger, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if one.waiting == 0 {
				f.forget(key, one)
			}
		})
	}
	return nil, err
}

// forget ends a transfer; f.mu is held.
func (f *fetches) forget(key string, one *fetch) {
	one.cancel()
	if f.byKey[key] == one {
		delete(f.byKey, key)
	}
}

// fillFetched makes a stored artifact of the files on the upstream, as fillFiles does of
// those that are here.
func (d *Dialect) fillFetched(c *call, r *pedigree.Record, o *origin) error {
	files, err := d.fetches.get(c.ctx(), string(c.project)+" "+o.source+" "+o.runID, func(ctx context.Context) ([]mlrecord.Content, error) {
		return d.fetch(ctx, c.principal, c.project, o.away)
	})
	if err != nil {
		return fromUpstream(err)
	}
	if len(files) == 0 {
		return nil
	}
	mlrecord.FillContent(r, files)
	return nil
}

// parallelFetches is how many files of one version are on their way at a time.
const parallelFetches = 4

// fetch stores the files of a tree of the upstream.
func (d *Dialect) fetch(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, tree *upstream.Tree) ([]mlrecord.Content, error) {
	list, err := tree.Files(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]mlrecord.Content, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelFetches)
	for i, f := range list {
		g.Go(func() (err error) {
			out[i], err = d.fetchFile(ctx, p, project, tree, f)
			return err
		})
	}
	return out, g.Wait()
}

func (d *Dialect) fetchFile(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, tree *upstream.Tree, f upstream.File) (mlrecord.Content, error) {
	out := mlrecord.Content{File: pedigree.File{Path: f.Path, Size: max(f.Size, 0)}}
	body, err := tree.Open(ctx, f)
	if err != nil {
		return out, err
	}
	defer func() { _ = body.Close() }()
	var content bytes.Buffer
	src := io.Reader(body)
	described := f.Size >= 0 && mlrecord.Described(out.File)
	if described {
		src = io.TeeReader(body, &content)
	}
	out.Digest, out.Size, err = d.registrar.ReceiveBlob(ctx, p, project, src)
	if err == nil && described {
		out.Text = content.Bytes()
	}
	return out, err
}
