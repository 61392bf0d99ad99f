package registrar_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// The lifecycle is compared with a model of it: a few maps in memory, written from what
// docs say and not from the code. Random steps go to both; they must accept and refuse the
// same, and afterwards know the same.

// step is one step of a random life.
type step struct {
	Kind       string
	Who        string
	Model      pedigree.Name
	Version    pedigree.VersionNumber
	Target     pedigree.TargetName
	Role       pedigree.DeploymentRole
	Image      string
	Alias      pedigree.Alias
	Policy     int
	Instance   bool
	Deployment int // 0 is the last that was opened
	Override   []string
	If         int // what the caller believes to be current, -1 for no belief
	Flag       bool
}

var (
	lifeModels  = []pedigree.Name{"fraud", "churn"}
	lifeAliases = []pedigree.Alias{"production", "champion", "candidate"}
	lifeTargets = map[pedigree.TargetName]pedigree.TargetSpec{
		"prod/a": {Kind: pedigree.TargetOnline, Alias: "production"},
		"prod/b": {Kind: pedigree.TargetOnline, Protected: true, Confirm: pedigree.ConfirmReport, Alias: "champion"},
		"dev/c":  {Kind: pedigree.TargetBatch, Confirm: pedigree.ConfirmObservation},
		"dev/d":  {Kind: pedigree.TargetEdge, Alias: "production"},
	}
	lifeTargetNames = []pedigree.TargetName{"prod/a", "prod/b", "dev/c", "dev/d"}
	// lifePolicies are those that a step may apply.
	lifePolicies = []pedigree.Policy{
		{Approvals: &pedigree.ApprovalRule{}},
		{Approvals: &pedigree.ApprovalRule{Count: 2, Environments: []string{"prod"}}},
		{Approvals: &pedigree.ApprovalRule{ValidFor: pedigree.Duration(90 * time.Minute), AllowAuthor: true}},
		{Gates: []pedigree.Gate{{Name: "auc", Expr: "metrics.auc >= current.metrics.auc"}}, Protected: pedigree.Protected{Aliases: []string{"cand*"}}},
		{
			Gates:     []pedigree.Gate{{Name: "fair", Expr: `evidence.exists(e, e.kind == "fairness")`, Environments: []string{"prod"}}},
			Approvals: &pedigree.ApprovalRule{Environments: []string{"dev"}, AllowAuthor: true}, Protected: pedigree.Protected{Targets: []string{"*/a"}},
		},
	}
	storyKinds = []string{ // those at both ends are drawn most
		"deploy", "deploy", "deploy", "deploy", "deploy", "deploy", "deploy", "report", "report", "report", "observe", "observe", "observe", "approve", "approve",
		"approve", "approve", "request", "amend", "fairness", "note", "reject", "revoke", "policy", "policy", "unpolicy", "edit", "fail", "end", "bad", "bad", "good",
		"withdraw", "restore", "restore", "archive", "delete", "later", "alias", "alias", "unalias", "back to", "back to", "back to", "back to", "rollback", "rollback", "rollback", "rollback", "register", "deploy", "rollback",
	}
)

func drawStep(t *rapid.T) step {
	return step{
		Kind:       rapid.SampledFrom(storyKinds).Draw(t, "kind"),
		Who:        rapid.SampledFrom([]string{"ann", "bob", "eve"}).Draw(t, "who"),
		Model:      rapid.SampledFrom([]pedigree.Name{"fraud", "fraud", "fraud", "churn"}).Draw(t, "model"),
		Version:    pedigree.VersionNumber(rapid.SampledFrom([]int{1, 2, 3, 1, 2, 3, 4, 2}).Draw(t, "version")),
		Target:     rapid.SampledFrom([]pedigree.TargetName{"prod/a", "prod/a", "prod/a", "prod/b", "prod/b", "dev/c", "dev/d", "prod/a"}).Draw(t, "target"),
		Role:       rapid.SampledFrom([]pedigree.DeploymentRole{"", "primary", "primary", "canary", "shadow"}).Draw(t, "role"),
		Image:      rapid.SampledFrom([]string{"", "", "registry.example.org/serve:2"}).Draw(t, "image"),
		Alias:      rapid.SampledFrom(lifeAliases).Draw(t, "alias"),
		Policy:     rapid.IntRange(0, len(lifePolicies)-1).Draw(t, "policy"),
		Instance:   rapid.Bool().Draw(t, "instance"),
		Deployment: rapid.IntRange(0, 7).Draw(t, "deployment"),
		Override:   rapid.SampledFrom([][]string{nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, {"approval"}, {"auc"}, {"withdrawn"}, {"approval", "instance/auc"}, {"archived"}, {"rejected"}, nil, nil, nil, nil, nil}).Draw(t, "override"),
		If:         rapid.SampledFrom([]int{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 1, 2, -1, -1, -1, -1}).Draw(t, "if"),
		Flag:       rapid.Bool().Draw(t, "flag"),
	}
}

// lifeBegin is how every life begins: with something to deploy.
var lifeBegin = []step{
	{Kind: "register", Who: "ann", Model: "fraud"},
	{Kind: "register", Who: "bob", Model: "fraud"},
	{Kind: "register", Who: "ann", Model: "fraud"},
	{Kind: "register", Who: "eve", Model: "churn"},
	{Kind: "register", Who: "eve", Model: "churn"},
}

// lifeRunning is how half of them go on: with something to go back to.
var lifeRunning = []step{
	{Kind: "deploy", Who: "ann", Model: "fraud", Version: 1, Target: "prod/a", If: -1},
	{Kind: "deploy", Who: "ann", Model: "churn", Version: 1, Target: "prod/a", If: -1},
	{Kind: "deploy", Who: "ann", Model: "fraud", Version: 2, Target: "prod/a", If: 1, Image: "registry.example.org/serve:2"},
	{Kind: "deploy", Who: "ann", Model: "fraud", Version: 3, Target: "prod/a", If: 2},
	{Kind: "deploy", Who: "ann", Model: "fraud", Version: 1, Target: "prod/b", If: 0},
	{Kind: "report", Who: "ann"},
	{Kind: "deploy", Who: "ann", Model: "fraud", Version: 2, Target: "prod/b", If: -1},
	{Kind: "report", Who: "ann"},
}

// number names a version of the model world.
type number struct {
	model pedigree.Name
	n     pedigree.VersionNumber
}

func (v number) reference() pedigree.Reference {
	return pedigree.Reference{Project: "default", Model: v.model, Version: v.n}
}

// opinion is what one person said last of a version.
type opinion struct {
	yes, stale bool
	own        bool // of somebody who made the version
	until      int  // hour after which a yes counts no more; 0 is for ever
}

// card is a version as the model knows it.
type card struct {
	auc                 float64
	fair                bool
	note                string // the rollback note
	makers              map[string]bool
	requester, asked    string // who asked last, and the words
	wasAsked            bool   // in this round
	said                map[string]opinion
	revoked             bool
	bad                 string // the last rejection or revocation: "rejected" or "revoked"
	since               int    // how many approved it at once after that, and nobody rejected
	again               int    // how many approved it at once after it was amended, and nobody rejected
	badAt, withdrawnAt  int    // the steps
	amendedAt           int
	withdrawn, archived bool
	deleted             bool
}

// stay is a deployment as the model knows it.
type stay struct {
	id       string
	target   pedigree.TargetName
	v        number
	role     pedigree.DeploymentRole
	image    string
	state    pedigree.DeploymentState
	confirm  pedigree.Confirm
	opened   int // the step
	started  int // how many had been active before it; -1 for never
	bad      bool
	restores *stay
	approved bool // by as many as had to, when it was opened
}

func (s *stay) what() string { return fmt.Sprint(s.v, s.image) }

func (s *stay) live() bool { return s.state == "pending" || s.state == "active" }

// world is the model: what must be true after the steps so far.
type world struct {
	cards    map[number]*card
	last     map[pedigree.Name]pedigree.VersionNumber
	targets  map[pedigree.TargetName]pedigree.TargetSpec
	aliases  map[pedigree.Name]map[pedigree.Alias]pedigree.VersionNumber
	policies map[bool]*pedigree.Policy // of the instance, and of the project
	stays    []*stay
	seen     map[string]string // what each instance runs
	active   int
	hour     int
}

func newWorld() *world {
	w := &world{
		cards: map[number]*card{}, last: map[pedigree.Name]pedigree.VersionNumber{}, targets: map[pedigree.TargetName]pedigree.TargetSpec{},
		aliases: map[pedigree.Name]map[pedigree.Alias]pedigree.VersionNumber{}, policies: map[bool]*pedigree.Policy{}, seen: map[string]string{},
	}
	for name, spec := range lifeTargets {
		if spec.Confirm == "" {
			spec.Confirm = pedigree.ConfirmNone
		}
		w.targets[name] = spec
	}
	for _, m := range lifeModels {
		w.aliases[m] = map[pedigree.Alias]pedigree.VersionNumber{}
	}
	return w
}

const (
	refused  = pedigree.CodeRefused
	missing  = pedigree.CodeNotFound
	conflict = pedigree.CodeConflict
	invalid  = pedigree.CodeInvalid
	fine     = pedigree.ErrorCode("")
)

func (w *world) card(v number) *card {
	if c := w.cards[v]; c != nil && !c.deleted {
		return c
	}
	return nil
}

// find is the newest deployment of a target that pleases.
func (w *world) find(target pedigree.TargetName, pleases func(s *stay) bool) *stay {
	for _, s := range slices.Backward(w.stays) {
		if s.target == target && pleases(s) {
			return s
		}
	}
	return nil
}

// latest is the deployment that was opened n before the last.
func (w *world) latest(n int) *stay { return w.stays[len(w.stays)-1-n%len(w.stays)] }

func (w *world) current(target pedigree.TargetName) *stay {
	return w.find(target, func(s *stay) bool { return s.role == "primary" && s.state == "active" })
}

func (w *world) pending(target pedigree.TargetName) *stay {
	return w.find(target, func(s *stay) bool { return s.role == "primary" && s.state == "pending" })
}

// rules are the approval rules of an environment; all of them where the place is protected.
func (w *world) rules(environment string, protected bool) []*pedigree.ApprovalRule {
	var out []*pedigree.ApprovalRule
	for _, instance := range []bool{true, false} {
		if p := w.policies[instance]; p != nil && p.Approvals != nil {
			if r := p.Approvals; protected || r.Environments == nil || slices.Contains(r.Environments, environment) {
				out = append(out, r)
			}
		}
	}
	return out
}

func gatesOf(p *pedigree.Policy) []pedigree.Gate {
	if p == nil {
		return nil
	}
	return p.Gates
}

func most(rules []*pedigree.ApprovalRule) int {
	n := 1
	for _, r := range rules {
		n = max(n, r.Count)
	}
	return n
}

// votes counts what is said of a version at this hour.
func (w *world) votes(c *card) (yes, no, stale, late int) {
	for _, o := range c.said {
		switch {
		case !o.yes && !o.stale:
			no++
		case !o.yes:
		case o.stale:
			stale++
		case o.until != 0 && o.until <= w.hour:
			late++
		default:
			yes++
		}
	}
	return yes, no, stale, late
}

// own is how many of the votes for a version are of those who made it.
func (w *world) own(c *card) int {
	n := 0
	for _, o := range c.said {
		if o.yes && o.own && !o.stale && (o.until == 0 || o.until > w.hour) {
			n++
		}
	}
	return n
}

// approval is the state of a version's approval.
func (w *world) approval(c *card) pedigree.ApprovalState {
	yes, no, stale, late := w.votes(c)
	switch {
	case no > 0:
		return "rejected"
	case yes == 0 && c.revoked:
		return "revoked"
	case yes >= most(w.rules("", true)):
		return "approved"
	case stale > 0:
		return "stale"
	case late > 0:
		return "expired"
	case c.wasAsked || yes > 0:
		return "requested"
	}
	return "none"
}

// place is the environment of a target, and whether it is protected; of a protected alias for
// target "".
func (w *world) place(target pedigree.TargetName) (environment string, protected bool) {
	if target == "" {
		return "", true
	}
	environment, _, _ = strings.Cut(string(target), "/")
	protected = w.targets[target].Protected
	for _, p := range w.policies {
		protected = protected || p != nil && p.Protected.Targets != nil && strings.HasSuffix(string(target), "/a")
	}
	return environment, protected
}

// stops are the names of the checks that stop v from going to a target, or to a protected
// alias for target ""; before is what it would replace.
func (w *world) stops(v number, target pedigree.TargetName, before *number) map[string]bool {
	c, out := w.cards[v], map[string]bool{}
	environment, protected := w.place(target)
	if c.withdrawn {
		out["withdrawn"] = true
	}
	if c.archived {
		out["archived"] = true
	}
	if rules := w.rules(environment, protected); len(rules) > 0 {
		yes, no, _, _ := w.votes(c)
		if slices.ContainsFunc(rules, func(r *pedigree.ApprovalRule) bool { return !r.AllowAuthor }) {
			yes -= w.own(c)
		}
		if no > 0 || yes < most(rules) {
			out["approval"] = true
		}
	}
	for instance, p := range w.policies {
		for _, g := range gatesOf(p) {
			if target != "" && g.Environments != nil && !slices.Contains(g.Environments, environment) {
				continue
			}
			fails := g.Name == "fair" && !c.fair || g.Name == "auc" && before != nil && w.cards[*before].auc > c.auc
			if fails && instance {
				out["instance/"+g.Name] = true
			} else if fails {
				out[g.Name] = true
			}
		}
	}
	return out
}

func (w *world) pass(stops map[string]bool, override []string) pedigree.ErrorCode {
	for _, name := range override {
		if !stops[name] {
			return invalid
		}
		delete(stops, name)
	}
	if len(stops) > 0 {
		return refused
	}
	return fine
}

// isBad says that a version was rejected or revoked, and not approved again.
func (w *world) isBad(c *card) bool { return c.bad != "" && c.since < most(w.rules("", true)) }

// barred says that something was said of a version after it was to be deployed, or that it is
// not what was approved then.
func (w *world) barred(s *stay) bool {
	c := w.cards[s.v]
	return c.withdrawn && c.withdrawnAt > s.opened || w.isBad(c) && c.badAt > s.opened ||
		s.approved && c.amendedAt > s.opened && c.again < most(w.rules("", true))
}

// open opens a deployment, and makes it active where the target asks for nothing.
func (w *world) open(s *stay) {
	if old := w.find(s.target, func(o *stay) bool { return o.role == s.role && o.state == "pending" }); old != nil {
		old.state = "superseded"
	}
	s.state, s.started, s.confirm = "pending", -1, w.targets[s.target].Confirm
	w.stays = append(w.stays, s)
	if s.confirm == pedigree.ConfirmNone {
		w.start(s)
	}
}

// start makes a deployment active: the one before it ends, and the tied alias follows.
func (w *world) start(s *stay) {
	for _, o := range w.stays {
		switch {
		case o == s || o.target != s.target || !o.live():
		case o.role == s.role && o.state == "active" && s.restores != nil:
			o.state = "rolled_back"
		case o.role == s.role && o.state == "active":
			o.state = "superseded"
		case s.role == "primary" && o.role != "primary" && o.v == s.v: // it has grown up
			o.state = "superseded"
		}
	}
	s.state, s.started = "active", w.active
	w.active++
	if a := w.targets[s.target].Alias; a != "" && s.role == "primary" {
		w.aliases[s.v.model][a] = s.v.n
	}
}

// candidate is what a rollback of a target restores: the latest earlier primary that was
// active, with something else than what runs, and not found bad. What was rolled back was
// bad, and so is the same thing deployed before.
func (w *world) candidate(target pedigree.TargetName) *stay {
	now := w.current(target)
	judged := map[string]bool{}
	for _, s := range slices.Backward(w.stays) {
		if s.target != target || s.role != "primary" || s.started < 0 || judged[s.what()] {
			continue
		}
		judged[s.what()] = true
		if s.bad || s.state == "rolled_back" || now != nil && s.what() == now.what() {
			continue
		}
		return s
	}
	return nil
}

func (w *world) standing(v number) bool {
	return slices.ContainsFunc(w.stays, func(s *stay) bool { return s.live() && s.v == v })
}

func (w *world) named(v number) bool {
	for _, n := range w.aliases[v.model] {
		if n == v.n {
			return true
		}
	}
	return false
}

// change says whether a step changes what everybody may ask for; see [world.step].
type change struct {
	code pedigree.ErrorCode
	// opened is the deployment that the step opened, whose id only the registry knows.
	opened *stay
}

// step does one step in the model.
func (w *world) step(i int, o step) change {
	v := number{o.Model, o.Version}
	c := w.card(v)
	code := func(code pedigree.ErrorCode) change { return change{code: code} }
	if o.Kind == "register" {
		w.last[o.Model]++
		w.cards[number{o.Model, w.last[o.Model]}] = &card{auc: auc(i), makers: map[string]bool{o.Who: true}, said: map[string]opinion{}}
		return code(fine)
	}
	switch o.Kind {
	case "policy":
		p := lifePolicies[o.Policy]
		w.policies[o.Instance] = &p
		return code(fine)
	case "unpolicy":
		if w.policies[o.Instance] == nil {
			return code(missing)
		}
		w.policies[o.Instance] = nil
		return code(fine)
	case "later":
		w.hour++
		return code(fine)
	case "edit":
		spec := w.targets[o.Target]
		spec.Protected, spec.Confirm = o.Flag, confirms[o.Policy%3]
		if o.Instance {
			spec.Alias = o.Alias
		}
		w.targets[o.Target] = spec
		return code(fine)
	case "report", "fail", "end", "bad", "good":
		return code(w.report(o))
	case "observe":
		return code(w.observe(o))
	case "rollback", "back to":
		return w.rollback(i, o)
	case "unalias":
		return code(w.unalias(o))
	}
	if c == nil {
		return code(missing)
	}
	switch o.Kind {
	case "amend", "fairness", "note":
		return code(w.amend(i, o, c))
	case "request", "approve", "reject", "revoke":
		return code(w.speak(i, o, c))
	case "withdraw":
		if !c.withdrawn {
			c.withdrawn, c.withdrawnAt = true, i
		}
	case "restore":
		c.withdrawn, c.archived = false, false
	case "archive":
		switch {
		case w.standing(v), !c.archived && w.named(v):
			return code(refused)
		}
		c.archived = true
	case "delete":
		if w.standing(v) || w.named(v) {
			return code(refused)
		}
		c.deleted = true
	case "alias":
		return w.alias(i, o, v, c)
	case "deploy":
		return w.deploy(i, o, v, c)
	}
	return code(fine)
}

func (w *world) amend(i int, o step, c *card) pedigree.ErrorCode {
	reads := false // a gate reads evidence
	for _, p := range w.policies {
		for _, g := range gatesOf(p) {
			reads = reads || g.Name == "fair"
		}
	}
	switch {
	case o.Kind == "note":
		c.note = fmt.Sprint("note ", i)
	case o.Kind == "amend" || !c.fair && reads:
		for who, said := range c.said {
			said.stale = true
			c.said[who] = said
		}
		c.amendedAt, c.again = i, 0
	case c.fair:
		return fine // it says nothing new, and makes nobody an author
	}
	c.fair = c.fair || o.Kind == "fairness"
	c.makers[o.Who] = true
	return fine
}

func (w *world) speak(i int, o step, c *card) pedigree.ErrorCode {
	switch o.Kind {
	case "request":
		note := fmt.Sprint(o.Flag)
		switch {
		case c.withdrawn:
			return refused
		case w.approval(c) == "requested" && c.wasAsked && c.asked == note:
			return fine // it is asked for in the same words
		}
		c.wasAsked, c.asked, c.requester, c.revoked, c.said = true, note, o.Who, false, map[string]opinion{}
	case "approve":
		allowed, until := len(w.rules("", true)) > 0, 0
		for _, r := range w.rules("", true) {
			allowed = allowed && r.AllowAuthor
			if r.ValidFor != 0 {
				until = w.hour + 2 // an hour and a half
			}
		}
		if c.withdrawn || (c.makers[o.Who] || c.requester == o.Who) && !allowed {
			return refused
		}
		c.said[o.Who], c.revoked = opinion{yes: true, own: c.makers[o.Who] || c.requester == o.Who, until: until}, false
		if yes, no, _, _ := w.votes(c); no == 0 {
			c.since, c.again = max(c.since, yes), max(c.again, yes)
		}
	case "reject":
		c.said[o.Who], c.revoked = opinion{}, false
		c.bad, c.since, c.badAt = "rejected", 0, i
	case "revoke":
		had := len(c.said)
		for who, said := range c.said {
			if said.yes {
				delete(c.said, who)
			}
		}
		if len(c.said) == had {
			return refused
		}
		c.revoked = true
		c.bad, c.since, c.badAt = "revoked", 0, i
	}
	return fine
}

func (w *world) deploy(i int, o step, v number, c *card) change {
	now := w.current(o.Target)
	if o.If >= 0 {
		if n := 0; now != nil {
			if n = int(now.v.n); n != o.If || now.v.model != o.Model {
				return change{code: conflict}
			}
		} else if n != o.If {
			return change{code: conflict}
		}
	}
	var before *number
	if now != nil {
		before = &now.v
	}
	if code := w.pass(w.stops(v, o.Target, before), o.Override); code != fine {
		return change{code: code}
	}
	if note := fmt.Sprint("note ", i); o.Flag && c.note != note {
		c.note, c.makers[o.Who] = note, true
	}
	rules := w.rules(w.place(o.Target))
	s := &stay{target: o.Target, v: v, role: o.Role, image: o.Image, opened: i, approved: len(rules) > 0 && !slices.Contains(o.Override, "approval")}
	if s.role == "" {
		s.role = "primary"
	}
	w.open(s)
	return change{opened: s}
}

func (w *world) report(o step) pedigree.ErrorCode {
	if len(w.stays) == 0 {
		return missing
	}
	s := w.latest(o.Deployment)
	switch o.Kind {
	case "report":
		switch s.state {
		case "pending":
			if w.barred(s) {
				return refused
			}
			w.start(s)
		case "active":
		default:
			return refused
		}
	case "fail":
		switch s.state {
		case "pending":
			s.state = "failed"
		case "failed":
		default:
			return refused
		}
	case "end":
		if s.live() {
			s.state = "ended"
		}
	default:
		s.bad = o.Kind == "bad"
	}
	return fine
}

// observe: an instance says a deployment (Flag), or a version, or both (Instance).
func (w *world) observe(o step) pedigree.ErrorCode {
	var named *stay
	if o.Flag && len(w.stays) > 0 {
		named = w.latest(o.Deployment)
	}
	if says := named == nil || o.Instance; says && w.last[o.Model] == 0 {
		return missing // no such model
	}
	v := number{o.Model, o.Version}
	found := w.find(o.Target, func(s *stay) bool {
		switch {
		case s.state != "pending" || s.confirm != pedigree.ConfirmObservation:
			return false
		case named == nil:
			return s.v == v
		case named.target == o.Target && named.live(): // it says plainly which of them it runs
			return s == named
		}
		return o.Instance && s.v == v
	})
	if found != nil && !w.barred(found) {
		w.start(found)
	}
	return fine
}

func (w *world) rollback(i int, o step) change {
	now, to := w.current(o.Target), w.candidate(o.Target)
	if o.If >= 0 && (now == nil || len(w.stays) == 0 || now != w.latest(o.If)) {
		return change{code: conflict}
	}
	switch {
	case o.Kind == "back to" && o.Flag:
		if len(w.stays) == 0 {
			return change{code: missing}
		}
		to = w.latest(o.Deployment)
		if to.target != o.Target || to.role != "primary" || to.started < 0 {
			return change{code: missing}
		}
		if now != nil && to.what() == now.what() {
			return change{code: refused} // it runs already
		}
	case o.Kind == "back to":
		v, there := number{o.Model, o.Version}, false
		to = w.find(o.Target, func(s *stay) bool {
			fits := s.role == "primary" && s.started >= 0 && s.v == v
			there = there || fits
			return fits && (now == nil || s.what() != now.what())
		})
		if !there {
			return change{code: missing}
		}
	}
	if to == nil || w.card(to.v) == nil {
		return change{code: refused}
	}
	stops := map[string]bool{}
	c := w.cards[to.v]
	if c.withdrawn {
		stops["withdrawn"] = true
	}
	if w.isBad(c) {
		stops[c.bad] = true
	}
	if code := w.pass(stops, o.Override); code != fine {
		return change{code: code}
	}
	s := &stay{target: o.Target, v: to.v, role: "primary", image: to.image, restores: to, opened: i}
	w.open(s)
	return change{opened: s}
}

func (w *world) protects(a pedigree.Alias) bool {
	for _, p := range w.policies {
		if p != nil && p.Protected.Aliases != nil && a == "candidate" {
			return true
		}
	}
	return false
}

// alias: moving a tied alias is a deployment; a protected one passes the gates.
func (w *world) alias(i int, o step, v number, c *card) change {
	at := w.aliases[o.Model][o.Alias]
	switch {
	case c.archived || c.withdrawn:
		return change{code: refused}
	case at == o.Version:
		return change{}
	}
	var runs, empty []pedigree.TargetName
	for name, spec := range w.targets {
		if spec.Alias != o.Alias {
			continue
		}
		now, next := w.current(name), w.pending(name)
		if now == nil {
			now = w.find(name, func(s *stay) bool { return s.role == "primary" && s.started >= 0 })
		}
		switch {
		case now == nil && next == nil:
			empty = append(empty, name)
		case now != nil && now.v.model == o.Model, next != nil && next.v.model == o.Model:
			runs = append(runs, name)
		}
	}
	if len(runs) == 0 {
		runs = empty
	}
	switch {
	case len(runs) > 1, len(runs) == 1 && w.targets[runs[0]].Confirm != pedigree.ConfirmNone:
		return change{code: refused}
	case len(runs) == 1:
		var before *number
		if now := w.current(runs[0]); now != nil {
			before = &now.v
		}
		if len(w.stops(v, runs[0], before)) > 0 {
			return change{code: refused}
		}
		s := &stay{target: runs[0], v: v, role: "primary", opened: i}
		w.open(s)
		return change{opened: s}
	}
	if w.protects(o.Alias) {
		var before *number
		if at != 0 {
			before = &number{o.Model, at}
		}
		if len(w.stops(v, "", before)) > 0 {
			return change{code: refused}
		}
	}
	w.aliases[o.Model][o.Alias] = o.Version
	return change{}
}

func (w *world) unalias(o step) pedigree.ErrorCode {
	if w.last[o.Model] == 0 || w.aliases[o.Model][o.Alias] == 0 {
		return missing
	}
	for name, spec := range w.targets {
		for _, s := range []*stay{w.current(name), w.pending(name)} {
			if spec.Alias == o.Alias && s != nil && s.v.model == o.Model {
				return refused
			}
		}
	}
	delete(w.aliases[o.Model], o.Alias)
	return fine
}

func auc(i int) float64 { return float64(i*7%10) / 10 }

var confirms = []pedigree.Confirm{pedigree.ConfirmNone, pedigree.ConfirmReport, pedigree.ConfirmObservation}

// life is a registry that lives beside its model.
type life struct {
	*registry
	w    *world
	hour *int
	// then says what was active at each target, and what each alias named, from an event
	// on.
	then []moment
}

type moment struct {
	seq     int64
	current map[pedigree.TargetName]string
	aliases map[string]pedigree.VersionNumber
}

// mustLive opens a registry whose clock is the test's, as far as decisions go.
func mustLive(t *rapid.T, database string) *life {
	t.Helper()
	ctx := context.Background()
	key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
	if err != nil {
		t.Fatal(err)
	}
	l := &life{w: newWorld(), hour: new(int)}
	now := func() time.Time { return time.Now().Add(time.Duration(*l.hour) * time.Hour) }
	store, err := sqlstore.Open(ctx, sqlstore.Config{Database: database, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	r, err := registrar.Open(ctx, registrar.Config{
		Store: store, Blobs: blob.NewMemory(), Now: now, NewID: newID, Rand: rand.Reader,
		Signer: func() (*ledger.Signer, error) { return ledger.NewSigner(key) },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.registry = &registry{Registrar: r, store: store, key: key}
	for _, name := range lifeTargetNames {
		if _, err := r.CreateTarget(ctx, me, "default", name, lifeTargets[name]); err != nil {
			t.Fatal(err)
		}
	}
	l.note(t)
	return l
}

// id is the id of the deployment that a step means.
func (l *life) id(n int) string {
	if len(l.w.stays) == 0 {
		return "dep_none"
	}
	return l.w.latest(n).id
}

// do does one step in the registry, and returns the deployment that it opened.
func (l *life) do(ctx context.Context, i int, o step) (opened string, err error) {
	who, ref := pedigree.Principal{ID: o.Who}, number{o.Model, o.Version}.reference()
	var overrides []pedigree.Override
	for _, name := range o.Override {
		overrides = append(overrides, pedigree.Override{Name: name, Reason: "incident 4711"})
	}
	var d pedigree.Deployment
	switch o.Kind {
	case "register":
		_, err = l.Register(ctx, who, "default", o.Model, pedigree.Registration{CreateModel: true, Record: pedigree.Record{Metrics: []pedigree.Metric{{Name: "auc", Value: pedigree.Float(auc(i))}}}})
	case "amend":
		_, err = l.Amend(ctx, who, ref, pedigree.Amend{Record: pedigree.Record{Params: pedigree.Params{"depth": fmt.Sprint(i)}}}, nil)
	case "fairness":
		_, err = l.Amend(ctx, who, ref, pedigree.Amend{Record: pedigree.Record{Evidence: []pedigree.Evidence{{Name: "fair.html", Kind: "fairness", URI: "https://example.org/fair"}}}}, nil)
	case "note":
		_, err = l.Amend(ctx, who, ref, pedigree.Amend{Record: pedigree.Record{RollbackNote: fmt.Sprint("note ", i)}}, nil)
	case "request":
		_, err = l.RequestApproval(ctx, who, ref, fmt.Sprint(o.Flag))
	case "approve":
		_, err = l.Approve(ctx, who, ref, pedigree.Review{})
	case "reject":
		_, err = l.Reject(ctx, who, ref, pedigree.Review{Comment: "no"})
	case "revoke":
		_, err = l.RevokeApproval(ctx, who, ref, "no more")
	case "policy":
		p := lifePolicies[o.Policy]
		if p.Project = "default"; o.Instance {
			p.Project = ""
		}
		_, _, err = l.ApplyPolicy(ctx, who, p, false)
	case "unpolicy":
		project := pedigree.ProjectName("default")
		if o.Instance {
			project = ""
		}
		err = l.RemovePolicy(ctx, who, project, "")
	case "edit":
		_, err = l.EditTarget(ctx, who, "default", o.Target, func(s *pedigree.TargetSpec) error {
			if s.Protected, s.Confirm = o.Flag, confirms[o.Policy%3]; o.Instance {
				s.Alias = o.Alias
			}
			return nil
		}, nil)
	case "deploy":
		deploy := pedigree.Deploy{Role: o.Role, Image: o.Image, Overrides: overrides}
		if o.Flag {
			deploy.RollbackNote = fmt.Sprint("note ", i)
		}
		var ifCurrent *pedigree.VersionNumber
		if n := pedigree.VersionNumber(o.If); o.If >= 0 {
			ifCurrent = &n
		}
		d, err = l.Deploy(ctx, who, ref, o.Target, deploy, ifCurrent)
	case "report":
		_, err = l.ReportDeployment(ctx, who, l.id(o.Deployment), pedigree.DeploymentReport{State: pedigree.DeploymentActive})
	case "fail":
		_, err = l.ReportDeployment(ctx, who, l.id(o.Deployment), pedigree.DeploymentReport{State: pedigree.DeploymentFailing, Note: "it does not start"})
	case "end":
		_, err = l.EndDeployment(ctx, who, l.id(o.Deployment), "")
	case "bad", "good":
		_, err = l.MarkDeployment(ctx, who, l.id(o.Deployment), o.Kind == "bad", "it rejects everybody")
	case "observe":
		seen := pedigree.Observation{Instance: o.Who}
		if o.Flag && len(l.w.stays) > 0 {
			seen.Deployment = l.id(o.Deployment)
		}
		if seen.Deployment == "" || o.Instance {
			seen.Model, seen.Version = o.Model, o.Version
		}
		_, err = l.Observe(ctx, who, "default", o.Target, seen)
	case "withdraw":
		_, err = l.Withdraw(ctx, who, ref, "it leaks", "")
	case "restore":
		_, err = l.RestoreVersion(ctx, who, ref, "")
	case "archive":
		_, err = l.ArchiveVersion(ctx, who, ref, "")
	case "delete":
		_, err = l.DeleteVersion(ctx, who, ref, "", false, nil)
	case "rollback", "back to":
		back := pedigree.Rollback{Reason: "it rejects everybody", Overrides: overrides}
		if o.If >= 0 {
			back.IfCurrent = l.id(o.If)
		}
		switch {
		case o.Kind == "back to" && o.Flag:
			back.To = l.id(o.Deployment)
		case o.Kind == "back to":
			back.To = fmt.Sprintf("%s/%d", o.Model, o.Version)
		}
		d, err = l.Rollback(ctx, who, "default", o.Target, back)
	case "alias":
		_, err = l.SetAlias(ctx, who, ref, o.Alias, nil, "")
	case "unalias":
		err = l.RemoveAlias(ctx, who, "default", o.Model, o.Alias, nil, "")
	case "later":
		*l.hour++
	}
	return d.ID, err
}

// step does one step on both sides, and compares.
func (l *life) step(t *rapid.T, i int, o step) {
	ctx := context.Background()
	opened, err := l.do(ctx, i, o)
	before := len(l.w.stays)
	want := l.w.step(i, o)
	if got := pedigree.CodeOf(err); got != want.code {
		t.Fatalf("step %d %+v: got %q (%v), want %q", i, o, got, err, want.code)
	}
	if len(l.w.stays) > before {
		if opened == "" { // a move of an alias, which answers with the move
			list, err := l.Deployments(ctx, me, "default", pedigree.Page{Limit: 1}, pedigree.At{})
			if err != nil || len(list.Items) != 1 {
				t.Fatalf("step %d %+v: a deployment was opened: %v %v", i, o, list.Items, err)
			}
			opened = list.Items[0].ID
		}
		want.opened.id = opened
	}
	l.note(t)
}

// note keeps what is current from the event on that made it so.
func (l *life) note(t *rapid.T) {
	ctx := context.Background()
	m := moment{current: map[pedigree.TargetName]string{}, aliases: map[string]pedigree.VersionNumber{}}
	for _, name := range lifeTargetNames {
		if s := l.w.current(name); s != nil {
			m.current[name] = s.id
		}
	}
	for model, aliases := range l.w.aliases {
		for a, n := range aliases {
			m.aliases[fmt.Sprint(model, "@", a)] = n
		}
	}
	if len(l.then) > 0 {
		last := l.then[len(l.then)-1]
		if cmp.Equal(last.current, m.current) && cmp.Equal(last.aliases, m.aliases) {
			return
		}
	}
	head, err := l.store.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m.seq = head - 1 // the last of the append: what comes before in it is not asked about
	l.then = append(l.then, m)
}

// compare asks the registry for all that the model knows of the present.
func (l *life) compare(t *rapid.T) {
	ctx := context.Background()
	name := func(d *pedigree.Deployment) string {
		if d == nil {
			return ""
		}
		return d.ID
	}
	of := func(s *stay) string {
		if s == nil {
			return ""
		}
		return s.id
	}
	for _, target := range lifeTargetNames {
		status, err := l.TargetStatus(ctx, me, "default", target, pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := name(status.Current), of(l.w.current(target)); got != want {
			t.Fatalf("%s runs %q, want %q", target, got, want)
		}
		if got, want := name(status.Pending), of(l.w.pending(target)); got != want {
			t.Fatalf("at %s %q waits, want %q", target, got, want)
		}
		plan, err := l.PlanRollback(ctx, me, "default", target, pedigree.Rollback{})
		candidate := l.w.candidate(target)
		if candidate != nil && l.w.card(candidate.v) == nil {
			candidate = nil
		}
		switch {
		case pedigree.CodeOf(err) == refused:
			plan.To.ID = ""
		case err != nil:
			t.Fatal(err)
		}
		if got, want := plan.To.ID, of(candidate); got != want {
			t.Fatalf("%s would go back to %q, want %q", target, got, want)
		}
	}
	list, err := l.Deployments(ctx, me, "default", pedigree.Page{Limit: pedigree.MaxLimit}, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, d := range slices.Backward(list.Items) {
		got = append(got, fmt.Sprint(d.ID, d.Target, d.Model, d.Version, d.Role, d.Image, d.State, d.Bad, d.Restores))
	}
	for _, s := range l.w.stays {
		want = append(want, fmt.Sprint(s.id, s.target, s.v.model, s.v.n, s.role, s.image, s.state, s.bad, of(s.restores)))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("deployments (-want +got):\n%s", d)
	}
	for v, c := range l.w.cards {
		if c.deleted {
			continue
		}
		got, err := l.Version(ctx, me, v.reference(), pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		state := pedigree.ApprovalNone
		if got.Approval != nil {
			state = got.Approval.State
		}
		if want := l.w.approval(c); state != want {
			t.Fatalf("the approval of %s is %s, want %s", v.reference(), state, want)
		}
		if (got.Withdrawn != nil) != c.withdrawn || got.Archived != c.archived {
			t.Fatalf("%s: withdrawn %v, archived %v, want %v, %v", v.reference(), got.Withdrawn, got.Archived, c.withdrawn, c.archived)
		}
	}
	for model, want := range l.w.aliases {
		if l.w.last[model] == 0 {
			continue
		}
		list, err := l.Aliases(ctx, me, "default", model, pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[pedigree.Alias]pedigree.VersionNumber{}
		for _, m := range list.Items {
			got[m.Alias] = m.Version
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("aliases of %s (-want +got):\n%s", model, d)
		}
	}
}

// history asks what ran, and what the aliases named, as of every event.
func (l *life) history(t *rapid.T) {
	ctx := context.Background()
	head, err := l.store.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	known := l.then[0]
	for seq := known.seq; seq < head; seq++ {
		at := pedigree.At{Seq: &seq}
		i := slices.IndexFunc(l.then, func(m moment) bool { return m.seq > seq }) // the next
		if i < 0 {
			i = len(l.then)
		}
		known = l.then[i-1]
		if i < len(l.then) && l.half(t, seq, l.then[i].seq) {
			continue
		}
		for _, target := range lifeTargetNames {
			found, err := l.Which(ctx, me, "default", string(target), at)
			got := ""
			switch {
			case pedigree.CodeOf(err) == missing:
			case err != nil:
				t.Fatal(err)
			default:
				d := found.Items[0].Deployment
				if got = d.ID; d.State != pedigree.DeploymentActive {
					t.Fatalf("as of %d, %s runs %s, which is %s", seq, target, got, d.State)
				}
			}
			if got != known.current[target] {
				t.Fatalf("as of %d, %s ran %q, want %q", seq, target, got, known.current[target])
			}
		}
		for _, model := range lifeModels {
			list, err := l.Aliases(ctx, me, "default", model, at)
			if err != nil && pedigree.CodeOf(err) != missing {
				t.Fatal(err)
			}
			got, want := map[string]pedigree.VersionNumber{}, map[string]pedigree.VersionNumber{}
			for _, m := range list.Items {
				got[fmt.Sprint(model, "@", m.Alias)] = m.Version
			}
			for name, n := range known.aliases {
				if strings.HasPrefix(name, string(model)+"@") {
					want[name] = n
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("as of %d, aliases (-want +got):\n%s", seq, d)
			}
		}
	}
}

// half says that seq is within the append that ends with last, whose events all have the
// same time: the model has no opinion about such moments.
func (l *life) half(t *rapid.T, seq, last int64) bool {
	list, err := l.Entries(context.Background(), pedigree.Operator, pedigree.EventQuery{After: seq - 1, Limit: int(last-seq) + 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		e, err := list.Items[i].Event()
		if err != nil {
			t.Fatal(err)
		}
		first, err := list.Items[0].Event()
		if err != nil {
			t.Fatal(err)
		}
		if !e.Time.Equal(first.Time) {
			return false
		}
	}
	return true
}

// TestLifecycle runs random lives on each database beside a model of what must be: the same
// steps are accepted and refused, and the same is true afterwards, as of every event, and
// after a rebuild; the log verifies.
func TestLifecycle(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			steps := rapid.SliceOfN(rapid.Custom(drawStep), 20, 80).Draw(rt, "life")
			begin := lifeBegin
			if rapid.Bool().Draw(rt, "running") {
				begin = slices.Concat(begin, lifeRunning)
			}
			n++
			l := mustLive(rt, another(t, database, n))
			defer l.store.Close()
			for i, o := range slices.Concat(begin, steps) {
				l.step(rt, i, o)
				if i%5 == 4 {
					l.compare(rt)
				}
			}
			l.compare(rt)
			l.history(rt)
			before := l.views(rt)
			if err := l.Rebuild(context.Background(), me, nil); err != nil {
				rt.Fatal(errors.Join(errors.New("rebuild"), err))
			}
			if d := cmp.Diff(before, l.views(rt)); d != "" {
				rt.Fatalf("a rebuild changed the tables:\n%s", d)
			}
			l.compare(rt)
			l.verify(rt)
		})
	})
}

// another is a further database of the same kind.
func another(t *testing.T, database string, n int) string {
	if strings.HasPrefix(database, "postgres") {
		return pgtest.Database(t)
	}
	return fmt.Sprint(database, n)
}
