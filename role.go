package pedigree

import (
	"slices"
	"strings"
)

// Permission names one thing that a caller may do, mostly within a project.
type Permission string

// The permissions. [ImportsWrite] and those after it are of the registry as a whole: a
// role within one project never holds them.
const (
	RecordsRead         Permission = "records.read"         // models, versions, aliases and their history
	BytesRead           Permission = "bytes.read"           // files of artifacts, evidence, and of runs
	LogRead             Permission = "log.read"             // the events of the project
	RunsRead            Permission = "runs.read"            // what training reported
	VersionsWrite       Permission = "versions.write"       // models, registrations, amendments, tags, archive
	AliasesWrite        Permission = "aliases.write"        // aliases that nothing protects
	RunsWrite           Permission = "runs.write"           // report training: runs, logged models, their files
	ApprovalsRequest    Permission = "approvals.request"    // ask for an approval
	ApprovalsDecide     Permission = "approvals.decide"     // approve and reject
	ApprovalsRevoke     Permission = "approvals.revoke"     // take an approval back
	VersionsWithdraw    Permission = "versions.withdraw"    // bar a version everywhere, and undo it
	DeploymentsWrite    Permission = "deployments.write"    // deploy
	DeploymentsReport   Permission = "deployments.report"   // say how a deployment went
	DeploymentsRollback Permission = "deployments.rollback" // go back
	ObservationsWrite   Permission = "observations.write"   // say what an instance runs
	GatesOverride       Permission = "gates.override"       // pass a gate by name, with a reason
	TargetsWrite        Permission = "targets.write"        // make and change targets
	PoliciesWrite       Permission = "policies.write"       // policies, and what they protect
	WebhooksWrite       Permission = "webhooks.write"       // webhooks and their secrets
	BindingsWrite       Permission = "bindings.write"       // give and take roles
	ImportsWrite        Permission = "imports.write"        // versions with numbers, authors and times of elsewhere
	ProjectsWrite       Permission = "projects.write"       // make projects
	AccountsWrite       Permission = "accounts.write"       // accounts, groups, everybody's tokens
	LogRedact           Permission = "log.redact"           // erase fields of events, rotate the log's key
	// ProofsRead is what every account may, whatever its roles, and everybody where reading
	// is public: checkpoints, keys and proofs of the log.
	ProofsRead Permission = "proofs.read"
	// SignedIn is what every account may, and nobody else: the names of other accounts,
	// and its own tokens.
	SignedIn Permission = "signed.in"
)

// Permissions lists every permission that a role can hold, in the order above.
var Permissions = []Permission{
	RecordsRead, BytesRead, LogRead, RunsRead, VersionsWrite, AliasesWrite, RunsWrite, ApprovalsRequest, ApprovalsDecide, ApprovalsRevoke,
	VersionsWithdraw, DeploymentsWrite, DeploymentsReport, DeploymentsRollback, ObservationsWrite, GatesOverride, TargetsWrite,
	PoliciesWrite, WebhooksWrite, BindingsWrite, ImportsWrite, ProjectsWrite, AccountsWrite, LogRedact,
}

// Instance says that a permission is of the registry as a whole, and held only by a
// role for the whole registry.
func (p Permission) Instance() bool {
	return p == ImportsWrite || p == ProjectsWrite || p == AccountsWrite || p == LogRedact
}

// always says that a permission needs no role.
func (p Permission) always() bool { return p == SignedIn || p == ProofsRead }

// Role is a set of permissions that is given to an account or to a group, in one project
// or for the whole registry.
type Role string

// The roles.
const (
	Viewer      Role = "viewer"      // records, not bytes
	Reader      Role = "reader"      // and bytes
	Contributor Role = "contributor" // registers, amends, tags, reports runs, moves aliases that nothing protects
	Approver    Role = "approver"    // decides on approvals, withdraws
	Deployer    Role = "deployer"    // deploys, reports, rolls back
	OnCall      Role = "oncall"      // reads, and rolls back
	Admin       Role = "admin"       // everything
)

// Roles lists every role, from the least to the most.
var Roles = []Role{Viewer, Reader, Contributor, Approver, Deployer, OnCall, Admin}

// rolePermissions is the one table from roles to what they may.
var rolePermissions = func() map[Role][]Permission {
	viewer := []Permission{RecordsRead, LogRead, RunsRead}
	reader := slices.Concat(viewer, []Permission{BytesRead})
	return map[Role][]Permission{
		Viewer:      viewer,
		Reader:      reader,
		Contributor: slices.Concat(reader, []Permission{VersionsWrite, AliasesWrite, RunsWrite, ApprovalsRequest}),
		Approver:    slices.Concat(reader, []Permission{ApprovalsDecide, ApprovalsRevoke, VersionsWithdraw}),
		Deployer:    slices.Concat(reader, []Permission{ApprovalsRequest, DeploymentsWrite, DeploymentsReport, DeploymentsRollback, ObservationsWrite}),
		OnCall:      slices.Concat(reader, []Permission{DeploymentsRollback}),
		Admin:       Permissions,
	}
}()

// ParseRole checks s and returns it as a Role, or [CodeInvalid] and the nearest role.
func ParseRole(s string) (Role, error) {
	if slices.Contains(Roles, Role(s)) {
		return Role(s), nil
	}
	e := Errorf(CodeInvalid, "there is no role %q", clip(s))
	names := make([]string, len(Roles))
	for i, r := range Roles {
		names[i] = string(r)
	}
	if near := Nearest(s, names); near != "" {
		return "", e.WithFix("did you mean %s?", near)
	}
	return "", e.WithFix("there are %s", strings.Join(names, ", "))
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseRole].
func (r *Role) UnmarshalText(b []byte) error {
	v, err := ParseRole(string(b))
	*r = v
	return err
}

// Has says whether a role holds a permission. Whether it does so in a project is for
// [Permits] to say.
func (r Role) Has(permission Permission) bool {
	return permission.always() || slices.Contains(rolePermissions[r], permission)
}

// Least lists the roles that hold a permission, those that hold the least first.
func (p Permission) Least() []Role {
	var out []Role
	for _, r := range Roles {
		if r.Has(p) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Role) int { return len(rolePermissions[a]) - len(rolePermissions[b]) })
	return out
}

// Grant is a role that a caller has, by itself or by a group.
type Grant struct {
	Role Role `json:"role"`
	// Project is the id of the project, "" for the whole registry.
	Project string `json:"project,omitempty"`
}

// Permits is the one decision on who may do what: whether grants hold a permission in
// the project with that id; "" asks about the registry as a whole, where only a grant
// for the whole registry counts.
func Permits(grants []Grant, permission Permission, project string) bool {
	if permission.always() {
		return true
	}
	for _, g := range grants {
		if g.Role.Has(permission) && (g.Project == "" || g.Project == project && !permission.Instance()) {
			return true
		}
	}
	return false
}

// Holds says whether grants hold a role in the project with that id, and scopes leave all
// of it: for rules that ask for a role by its name. An admin holds every role.
func Holds(grants []Grant, scopes []Scope, role Role, project string) bool {
	has := slices.ContainsFunc(grants, func(g Grant) bool {
		return (g.Role == role || g.Role == Admin) && (g.Project == "" || g.Project == project)
	})
	return has && !slices.ContainsFunc(rolePermissions[role], func(p Permission) bool { return !p.Instance() && !Narrow(scopes, p, project) })
}

// Scope narrows what a token may: "[PROJECT/]WHAT", where WHAT is a role, a permission
// or "*" for all that the account may. PROJECT is a name for people, and an id in the
// log and in a [Principal].
type Scope string

// ParseScope checks s and returns it as a Scope, or [CodeInvalid]. The project is not
// looked up.
func ParseScope(s string) (Scope, error) {
	project, what := Scope(s).Split()
	if strings.Contains(s, "/") && project == "" {
		return "", Errorf(CodeInvalid, "scope %q names no project before the slash", clip(s))
	}
	if project != "" {
		if _, err := ParseProjectName(project); err != nil {
			return "", err
		}
	}
	known := []string{"*"}
	for _, r := range Roles {
		known = append(known, string(r))
	}
	for _, p := range Permissions {
		known = append(known, string(p))
	}
	if slices.Contains(known, what) {
		return Scope(s), nil
	}
	e := Errorf(CodeInvalid, "scope %q is neither a role nor a permission", clip(s))
	if near := Nearest(what, known); near != "" {
		return "", e.WithFix("did you mean %s?", near)
	}
	return "", e.WithFix("write it like contributor, bytes.read or risk/reader")
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseScope].
func (s *Scope) UnmarshalText(b []byte) error {
	v, err := ParseScope(string(b))
	*s = v
	return err
}

// Split takes a scope apart; project is "" where it names none.
func (s Scope) Split() (project, what string) {
	if project, what, ok := strings.Cut(string(s), "/"); ok {
		return project, what
	}
	return "", string(s)
}

// In returns the scope with another text for its project.
func (s Scope) In(project string) Scope {
	_, what := s.Split()
	if project == "" {
		return Scope(what)
	}
	return Scope(project + "/" + what)
}

// covers says whether a permission in a project, or "" for the registry, is within s.
func (s Scope) covers(permission Permission, project string) bool {
	within, what := s.Split()
	if within != "" && (within != project || permission.Instance()) {
		return false
	}
	if permission == RecordsRead && !Permission(what).Instance() {
		return true // nobody can do anything with what they can't see
	}
	return what == "*" || what == string(permission) || Role(what).Has(permission)
}

// Narrow says whether the scopes of a token leave a permission in a project; no scopes
// leave all that the account may.
func Narrow(scopes []Scope, permission Permission, project string) bool {
	if len(scopes) == 0 || permission.always() {
		return true
	}
	return slices.ContainsFunc(scopes, func(s Scope) bool { return s.covers(permission, project) })
}
