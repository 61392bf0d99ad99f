package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// sentence says in a line what an event did to subject, which is the present name of
// what it was about. An erased field is null.
func sentence(t pedigree.EventType, subject string, payload map[string]json.RawMessage) string {
	text := func(name string) string {
		raw := payload[name]
		switch {
		case raw == nil:
			return ""
		case string(raw) == "null":
			return "(erased)"
		}
		return cut(rawText(raw), 60)
	}
	why := func(name string) string {
		if s := text(name); s != "" {
			return " (" + s + ")"
		}
		return ""
	}
	switch t {
	case pedigree.LogCreated:
		return "the log " + text("origin") + " was created"
	case pedigree.KeyRotated:
		return "the log got a new key"
	case pedigree.ProjectCreated:
		return "project " + subject + " was created"
	case pedigree.ModelCreated:
		return subject + " was created" + fieldList(payload, "project", "name")
	case pedigree.ModelEdited:
		return subject + " was changed" + fieldList(payload)
	case pedigree.ModelRenamed:
		return text("from") + " was renamed to " + text("to")
	case pedigree.ModelDeleted:
		return subject + " was deleted" + why("reason")
	case pedigree.ModelTagged, pedigree.VersionTagged:
		return subject + " was tagged " + text("key") + "=" + text("value")
	case pedigree.ModelUntagged, pedigree.VersionUntagged:
		return subject + " lost the tag " + text("key")
	case pedigree.VersionRegistered:
		return subject + " was registered" + registeredWith(payload)
	case pedigree.VersionAmended:
		var fields []string
		for _, name := range sortedKeys(payload) {
			if name != "reason" && name != "stales_approval" { // what is amended, and nothing about it
				fields = append(fields, name)
			}
		}
		return subject + " was amended: " + strings.Join(fields, ", ") + why("reason")
	case pedigree.VersionEdited:
		return subject + " was described: " + text("description")
	case pedigree.VersionArchived:
		return subject + " was archived" + why("reason")
	case pedigree.VersionRestored:
		return subject + " was restored" + why("reason")
	case pedigree.VersionDeleted:
		return subject + " was deleted" + why("reason")
	case pedigree.AliasMoved:
		return subject + "@" + text("alias") + " → " + text("version") + why("note")
	case pedigree.AliasRemoved:
		return subject + "@" + text("alias") + " was removed" + why("note")
	case pedigree.WebhookCreated:
		return "webhook " + subject + " was created" + fieldList(payload, "project", "format", "active")
	case pedigree.WebhookEdited:
		return "webhook " + subject + " was changed" + fieldList(payload, "reason") + why("reason")
	case pedigree.WebhookSecretRotated:
		return "webhook " + subject + " got another secret" + why("reason")
	case pedigree.WebhookDeleted:
		return "webhook " + subject + " was deleted" + why("reason")
	case pedigree.PayloadRedacted:
		var fields []string
		_ = json.Unmarshal(payload["fields"], &fields)
		return "erased of event " + text("event") + ": " + strings.Join(fields, ", ") + why("reason")
	case pedigree.VersionWithdrawn:
		return subject + " was WITHDRAWN" + why("reason")
	case pedigree.VersionReinstated:
		return subject + " is withdrawn no more" + why("reason")
	case pedigree.PolicyApplied:
		var gates []pedigree.Gate
		_ = json.Unmarshal(payload["gates"], &gates)
		return subject + " was applied: " + count(len(gates), "gate")
	case pedigree.PolicyRemoved:
		return subject + " was removed" + why("reason")
	case pedigree.ApprovalRequested:
		return "the approval of " + subject + " was asked for" + why("note")
	case pedigree.ApprovalGranted:
		return subject + " was approved" + why("comment")
	case pedigree.ApprovalRejected:
		return subject + " was rejected" + why("comment")
	case pedigree.ApprovalRevoked:
		return "the approval of " + subject + " was revoked" + why("comment")
	case pedigree.ApprovalConditionMet:
		return "condition " + text("condition") + " of " + subject + " is met" + why("comment")
	case pedigree.TargetCreated:
		return "target " + subject + " was created" + fieldList(payload, "project", "name", "log_schema")
	case pedigree.TargetEdited:
		return "target " + subject + " was changed" + fieldList(payload)
	case pedigree.TargetDeleted:
		return "target " + subject + " was deleted" + why("reason")
	case pedigree.DeploymentOpened:
		did := "was deployed"
		if payload["restores"] != nil {
			did = "was ROLLED BACK to"
		}
		return subject + " " + did + why("note")
	case pedigree.DeploymentActivated:
		return subject + " is active" + why("note")
	case pedigree.DeploymentFailed:
		return subject + " FAILED" + why("reason")
	case pedigree.DeploymentEnded:
		return subject + " was ended" + why("reason")
	case pedigree.DeploymentMarked:
		if text("bad") == "true" {
			return subject + " was marked BAD" + why("reason")
		}
		return subject + " was marked good" + why("reason")
	case pedigree.GateOverridden:
		return "check " + text("check") + " of " + subject + " was OVERRIDDEN" + why("reason")
	case pedigree.TargetReadiness:
		if text("ready") == "true" {
			return "the way back of " + subject + " is open"
		}
		return "the way back of " + subject + " is NOT READY"
	case pedigree.ExecutionStarted:
		return subject + " began"
	case pedigree.ExecutionFinished:
		return subject + " ended with exit code " + text("exit")
	case pedigree.InstanceChanged:
		what := "version " + text("version")
		if text("version") == "" {
			what = text("digest")
		}
		return "instance " + text("instance") + " of " + subject + " runs " + what
	}
	if s := accessSentence(t, subject, payload); s != "" {
		return s
	}
	return subject + " " + string(t) // a type that a newer program wrote
}

// fieldList is ": owner = ann, tier = high" for the fields that are set, but for some.
func fieldList(payload map[string]json.RawMessage, but ...string) string {
	var out []string
	for _, name := range sortedKeys(payload) {
		skip := name == "state" && rawText(payload[name]) == string(pedigree.StateDevelopment) && len(but) > 0
		for _, b := range but {
			skip = skip || name == b
		}
		if !skip {
			out = append(out, name+" = "+cut(rawText(payload[name]), 40))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

// registeredWith says what a registration brought: its artifact and its metrics.
func registeredWith(payload map[string]json.RawMessage) string {
	var art pedigree.Artifact
	var metrics []pedigree.Metric
	_ = json.Unmarshal(payload["artifact"], &art)
	_ = json.Unmarshal(payload["metrics"], &metrics)
	var parts []string
	switch art.Kind {
	case pedigree.ArtifactStored:
		parts = append(parts, art.Digest.Short()+", "+count(len(art.Files), "file")+", "+size(art.Size))
	case pedigree.ArtifactLinked:
		parts = append(parts, string(art.URI))
	}
	for i, m := range metrics {
		if i == 3 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, metricName(m)+" "+m.Value.String())
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// namer finds what opaque ids are called today. What is deleted is called as it was
// last.
type namer struct {
	a     *app
	c     *client.Client
	known map[string]string
}

func (a *app) newNamer(c *client.Client) *namer {
	return &namer{a: a, c: c, known: map[string]string{pedigree.LogSubject: "the log"}}
}

// name returns the present name of a subject of the log, or the subject itself where
// the log does not say (or this caller may not read it).
func (n *namer) name(ctx context.Context, subject string) string {
	if name, ok := n.known[subject]; ok {
		return name
	}
	name := subject
	id, number, isVersion := pedigree.SplitVersionSubject(subject)
	switch {
	case isVersion:
		if model := n.name(ctx, id); model != id {
			name = model + "/" + number.String()
		}
	case strings.HasPrefix(subject, "mdl_"):
		name = n.last(ctx, subject, []pedigree.EventType{pedigree.ModelCreated, pedigree.ModelRenamed, pedigree.ModelDeleted}, "name", "to")
	case strings.HasPrefix(subject, "tgt_"):
		name = n.last(ctx, subject, []pedigree.EventType{pedigree.TargetCreated, pedigree.TargetDeleted}, "name")
	case strings.HasPrefix(subject, "dep_"):
		if d, err := n.c.Deployment(ctx, subject, pedigree.At{}); err == nil {
			name = n.a.deployed(&d) + " at " + string(d.Target)
		}
	case strings.HasPrefix(subject, "policy:"):
		name = "the policy of " + n.name(ctx, strings.TrimPrefix(subject, "policy:"))
	case strings.HasPrefix(subject, "acc_"), strings.HasPrefix(subject, "grp_"):
		name = n.c.NameOf(subject)
	case strings.HasPrefix(subject, "prj_"):
		name = n.last(ctx, subject, []pedigree.EventType{pedigree.ProjectCreated}, "name")
	}
	n.known[subject] = name
	return name
}

// last reads a name from the newest of the events that give one.
func (n *namer) last(ctx context.Context, subject string, types []pedigree.EventType, fields ...string) string {
	list, err := n.c.Events(ctx, pedigree.EventQuery{Subject: subject, Types: types, After: -1, Newest: true, Limit: 1})
	if err != nil || len(list.Items) == 0 {
		return subject
	}
	e, err := list.Items[0].Event()
	if err != nil {
		return subject
	}
	name := ""
	for _, f := range fields {
		if s := e.String(f); s != "" {
			name = s
		}
	}
	if name == "" {
		return subject
	}
	if project := e.String("project"); project != "" && !strings.HasPrefix(subject, "tgt_") {
		ref := pedigree.Reference{Model: pedigree.Name(name)}
		if p := n.name(ctx, project); p != string(n.a.home) {
			ref.Project = pedigree.ProjectName(p)
		}
		return ref.String()
	}
	return name
}

// describe is an entry in a sentence; one that this caller may not read says so.
func (n *namer) describe(ctx context.Context, entry *pedigree.Entry, e *pedigree.Event) string {
	if entry.Envelope == "" {
		return "(not to be read by you)"
	}
	return n.say(ctx, e.Type, n.name(ctx, e.Subject), entry.Payload())
}

// change is what would be recorded, in a sentence.
func (n *namer) change(ctx context.Context, c *pedigree.Change) string {
	name := n.name(ctx, c.Subject)
	if name == c.Subject { // it is to be made
		made := func(field string) string { return rawText(c.Payload[field]) }
		switch {
		case c.Type == pedigree.DeploymentOpened:
			number, _ := pedigree.ParseVersionNumber(made("version"))
			name = n.name(ctx, pedigree.VersionSubject(made("model"), number)) + " at " + n.name(ctx, made("target"))
			n.known[c.Subject] = name
		case made("name") != "":
			name = made("name")
		}
	}
	return n.say(ctx, c.Type, name, c.Payload)
}

// say is an event in a sentence, with the ids in its payload as what they are called.
func (n *namer) say(ctx context.Context, t pedigree.EventType, subject string, payload map[string]json.RawMessage) string {
	for field, raw := range payload { // ids of accounts, groups and projects
		var id string
		if json.Unmarshal(raw, &id) == nil && (strings.HasPrefix(id, "acc_") || strings.HasPrefix(id, "grp_") || strings.HasPrefix(id, "prj_")) {
			if name, err := json.Marshal(n.name(ctx, id)); err == nil {
				payload[field] = name
			}
		}
	}
	return sentence(t, subject, payload)
}

// eventTypes reads the values of --type; a family ("alias") stands for all its types.
func eventTypes(texts []string) ([]pedigree.EventType, error) {
	var out []pedigree.EventType
	for _, s := range texts {
		found := false
		var all []string
		for _, t := range pedigree.EventTypes {
			all = append(all, string(t))
			if string(t) == s || strings.HasPrefix(string(t), s+".") {
				out, found = append(out, t), true
			}
		}
		if !found {
			err := pedigree.Errorf(pedigree.CodeInvalid, "--type %q is not a type of event", cut(s, 60))
			if near := pedigree.Nearest(s, all); near != "" {
				return nil, err.WithFix("did you mean %s?", near)
			}
			return nil, err.WithFix("types: %s", fmt.Sprint(strings.Join(all, ", ")))
		}
	}
	return out, nil
}
