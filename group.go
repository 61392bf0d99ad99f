package pedigree

import "time"

// Group is a set of accounts; what is granted to it is granted to each of them.
type Group struct {
	// ID is opaque: "grp_…".
	ID   string    `json:"id"`
	Name ActorName `json:"name,omitempty"`
	// Members are the accounts in it, by name. Lists of groups leave them out.
	Members   []Member  `json:"members,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Seq       int64     `json:"seq"`
	Named
}

// Member is an account or a group where it has a role, or is in a group.
type Member struct {
	// ID is that of the account or of the group.
	ID   string    `json:"id"`
	Name ActorName `json:"name,omitempty"`
	// Group says that it is a group.
	Group bool `json:"group,omitempty"`
}

// Label is the member as people write it: "ann", "group:risk", or the id where the name
// is gone.
func (m *Member) Label() string {
	switch {
	case m.Name == "":
		return m.ID
	case m.Group:
		return GroupPrefix + string(m.Name)
	}
	return string(m.Name)
}

// GroupPrefix begins the name of a group where an account could be meant, too.
const GroupPrefix = "group:"

// CreateGroup decides the creation of a group under a new id.
func CreateGroup(id string) []Draft {
	return []Draft{{Type: GroupCreated, Subject: id, Payload: Payload{}}}
}

// Delete decides the end of a group, and with it of all that was granted to it.
func (g *Group) Delete() []Draft {
	return []Draft{{Type: GroupDeleted, Subject: g.ID, Payload: Payload{}}}
}

// Add decides that an account is in a group from now on. It returns [CodeInvalid] for a
// disabled account, and no event for one that is in it.
func (g *Group) Add(a *Account) ([]Draft, error) {
	if g.has(a.ID) {
		return nil, nil
	}
	if a.Disabled {
		return nil, Errorf(CodeInvalid, "%s is disabled", a.Label()).WithFix("pedigree account enable %s", a.Label())
	}
	return []Draft{g.member(GroupMemberAdded, a.ID)}, nil
}

// Remove decides that an account is not in a group any more. It returns [CodeNotFound]
// for one that is not.
func (g *Group) Remove(a *Account) ([]Draft, error) {
	if !g.has(a.ID) {
		return nil, Errorf(CodeNotFound, "%s is not in the group %s", a.Label(), g.Name).WithFix("pedigree group list %s", g.Name)
	}
	return []Draft{g.member(GroupMemberRemoved, a.ID)}, nil
}

func (g *Group) has(account string) bool {
	for _, m := range g.Members {
		if m.ID == account {
			return true
		}
	}
	return false
}

func (g *Group) member(t EventType, account string) Draft {
	return Draft{Type: t, Subject: g.ID, Refs: []string{account}, Payload: Payload{"account": account}}
}
