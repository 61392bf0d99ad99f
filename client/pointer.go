package client

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// Source is what somebody follows: a target, or an alias of a model, in the project of the
// client.
type Source struct {
	// Target is a target; "" stands for the alias.
	Target pedigree.TargetName
	Model  pedigree.Name
	Alias  pedigree.Alias
}

// name is the source with its project, as a pointer has it.
func (s Source) name(project pedigree.ProjectName) string {
	if s.Target != "" {
		return "target:" + string(project) + ":" + string(s.Target)
	}
	return pedigree.Reference{Project: project, Model: s.Model, Alias: s.Alias}.String()
}

// SourceName is the name that pointers to what s stands for have as their Source.
func (c *Client) SourceName(s Source) string { return s.name(c.project) }

// Desired says what a source stands for now, without its files and without proofs: see
// [Client.Prove]. Of a target that is what instances are to run: the primary deployment that
// waits to be confirmed by an observation, else the active one. It returns
// [pedigree.CodeNotFound] where nothing is deployed, and [pedigree.CodeRefused] for an alias
// of a version that was withdrawn.
func (c *Client) Desired(ctx context.Context, s Source) (pedigree.Pointer, error) {
	p := pedigree.Pointer{Schema: pedigree.PointerV1, Source: s.name(c.project), Project: c.project, ResolvedAt: time.Now().UTC()}
	if s.Target == "" {
		found, err := c.Resolve(ctx, pedigree.Reference{Project: c.project, Model: s.Model, Alias: s.Alias}, pedigree.At{})
		p.Alias, p.Model, p.ModelID, p.Version, p.Digest, p.AsOf = s.Alias, found.Model, found.ModelID, found.Number, found.Digest, found.AsOf
		return p, err
	}
	status, err := c.TargetStatus(ctx, s.Target, pedigree.At{})
	if err != nil {
		return p, err
	}
	d := status.Desired()
	if d == nil {
		return p, pedigree.Errorf(pedigree.CodeNotFound, "nothing is deployed at %s", s.Target).WithFix("pedigree deploy MODEL/VERSION --to %s", s.Target)
	}
	p.Target, p.TargetID, p.Deployment = s.Target, status.Target.ID, d.ID
	p.Model, p.ModelID, p.Version, p.Digest, p.AsOf = d.Model, d.ModelID, d.Version, d.Digest, status.AsOf
	return p, nil
}

// Prove adds the files to a pointer, and the events that it rests on with their proofs,
// under a checkpoint that m remembers from then on. It returns [pedigree.CodeUnsupported]
// for an artifact that is not stored, [pedigree.CodeCorrupt] where the log does not say what
// the registry says, and [pedigree.CodeForbidden], with the files filled in, where the
// caller may not read the log.
func (c *Client) Prove(ctx context.Context, p *pedigree.Pointer, m *Memory) error {
	ref := pedigree.Reference{Project: p.Project, Model: p.Model, Version: p.Version}
	found, artifact, err := c.Artifact(ctx, ref, pedigree.At{})
	if err != nil {
		return err
	}
	if err := checkArtifact(ref, found, artifact); err != nil {
		return err
	}
	if found.ModelID != p.ModelID || found.Digest != p.Digest {
		return pedigree.Errorf(pedigree.CodeConflict, "%s was replaced by another model while it was read", ref).WithFix("try again")
	}
	p.Files = artifact.Files
	entries := map[int64]pedigree.Entry{}
	var events []pedigree.Event
	gather := func(project string) error {
		for _, q := range p.Queries(project) {
			if err := c.collect(ctx, q, entries); err != nil {
				return err
			}
		}
		events = events[:0]
		for _, seq := range sortedSeqs(entries) {
			e, err := ledger.CheckEntry(entries[seq])
			if err != nil {
				return err
			}
			events = append(events, e)
		}
		return nil
	}
	if err := gather(""); err != nil {
		return err
	}
	if len(events) == 0 { // a model has at least the event that made it
		return pedigree.Errorf(pedigree.CodeForbidden, "the events that prove what %s stands for are not shown to this caller", p.Source).
			WithFix("give its account the permission log.read, which every role has, and a token that is not narrower")
	}
	if project := p.ProjectID(events); project != "" {
		if err := gather(project); err != nil {
			return err
		}
	}
	if p.Checkpoint, err = c.Remember(ctx, m); err != nil { // now: it covers what was read
		return err
	}
	p.Events = nil
	for _, seq := range sortedSeqs(entries) {
		proof, err := c.InclusionProof(ctx, seq, p.Checkpoint.Size)
		if err != nil {
			return err
		}
		p.Events = append(p.Events, pedigree.Proven{Entry: entries[seq], Inclusion: proof})
	}
	return checkProven(p)
}

// collect adds all that a question to the log finds.
func (c *Client) collect(ctx context.Context, q pedigree.EventQuery, to map[int64]pedigree.Entry) error {
	for {
		list, err := c.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, entry := range list.Items {
			entry.Named = pedigree.Named{} // names of people can be erased, and files are kept
			to[entry.Seq] = entry
		}
		if list.Next == "" {
			return nil
		}
		if q.After, err = strconv.ParseInt(list.Next, 10, 64); err != nil {
			return pedigree.Errorf(pedigree.CodeUnavailable, "the next page has no number: %w", err)
		}
	}
}

func sortedSeqs(entries map[int64]pedigree.Entry) []int64 {
	var out []int64
	for seq := range entries {
		out = append(out, seq)
	}
	slices.Sort(out)
	return out
}

// checkProven checks that p is what its events say, and that they are in the log of its
// checkpoint.
func checkProven(p *pedigree.Pointer) error {
	events, err := ledger.CheckProven(p.Events, p.Checkpoint)
	if err != nil {
		return err
	}
	return p.Check(events)
}

// CheckPointer checks a pointer without the registry: that its checkpoint is signed by one
// of the keys, that its events are in that log, and that they say what the pointer says. It
// returns [pedigree.CodeCorrupt].
func CheckPointer(p pedigree.Pointer, keys ...string) error {
	if len(p.Events) == 0 {
		return pedigree.Errorf(pedigree.CodeCorrupt, "the pointer to %s has no proof: whoever made it could not read the log", p.Source)
	}
	cp, err := ledger.OpenCheckpoint(p.Checkpoint.Note, keys...)
	if err != nil {
		return err
	}
	p.Checkpoint = cp // what stands beside the signed text does not count
	p.Events = slices.Clone(p.Events)
	for i := range p.Events { // what was indented since was compact when it was hashed
		fields := slices.Clone(p.Events[i].Entry.Fields)
		for k := range fields {
			var value bytes.Buffer
			if f := &fields[k]; json.Compact(&value, f.Value) == nil {
				f.Value = value.Bytes()
			}
		}
		p.Events[i].Entry.Fields = fields
	}
	return checkProven(&p)
}

// Keys are the keys of a server's log that m remembers; origin is the name of the log, for a
// registry without an address of its own. There are none where the server was never seen.
func (m *Memory) Keys(server, origin string) ([]pedigree.LogKey, error) {
	c, err := New(Config{URL: server})
	if err != nil {
		return nil, err
	}
	r, err := m.load(m.path(c.shown, origin))
	if err != nil || r == nil {
		return nil, err
	}
	return r.Keys, nil
}
