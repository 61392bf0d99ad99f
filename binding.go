package pedigree

import "time"

// Binding is a role that an account or a group has, in one project or for the whole
// registry.
type Binding struct {
	Role   Role   `json:"role"`
	Member Member `json:"member"`
	// Project is the name of the project, "" for the whole registry.
	Project ProjectName `json:"project,omitempty"`
	// Seq is the event that gave it.
	Seq   int64     `json:"seq"`
	Time  time.Time `json:"time"`
	Actor string    `json:"actor"`
	Named
}

// NewBinding is what a caller says of a binding that is to be made or to end.
type NewBinding struct {
	Role Role `json:"role"`
	// Member is the name or the id of an account, or "group:" and the name of a group.
	Member string `json:"member"`
}

// AddBinding decides that a member has a role from now on, in the project with that id
// or, where it is "", for the whole registry. has says that it has it already: no event.
func AddBinding(role Role, member Member, project string, has bool) ([]Draft, error) {
	if _, err := ParseRole(string(role)); err != nil {
		return nil, err
	}
	if has {
		return nil, nil
	}
	return []Draft{bound(BindingAdded, role, member, project)}, nil
}

// RemoveBinding decides that a member has a role no longer. has says that it has it now,
// lastAdmin that it is the last account that is admin of the whole registry by itself.
// It returns [CodeNotFound] and [CodeRefused].
func RemoveBinding(role Role, member Member, project string, has, lastAdmin bool) ([]Draft, error) {
	switch {
	case !has:
		return nil, Errorf(CodeNotFound, "%s does not have the role %s there", member.Label(), role).WithFix("pedigree role list")
	case lastAdmin && role == Admin && project == "" && !member.Group:
		return nil, errLastAdmin(member.Label())
	}
	return []Draft{bound(BindingRemoved, role, member, project)}, nil
}

func bound(t EventType, role Role, member Member, project string) Draft {
	subject := project
	if subject == "" {
		subject = InstanceSubject
	}
	return Draft{
		Type: t, Subject: subject, Refs: []string{member.ID},
		Payload: Payload{"role": role, "member": member.ID, "project": project},
	}
}

// Deny decides the event that says that a caller was refused; more is how often it was
// refused the same thing since the event before, and was not told of in the log.
func Deny(permission Permission, project string, more int) []Draft {
	subject := project
	if subject == "" {
		subject = InstanceSubject
	}
	payload := Payload{"permission": permission}
	if more > 0 {
		payload["more"] = more
	}
	return []Draft{{Type: AccessDenied, Subject: subject, Payload: payload}}
}
