package httpapi

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// actorID matches the ids of accounts and groups, wherever they stand in an answer.
var actorID = regexp.MustCompile(`\b(?:acc|grp)_[0-9a-f]{32}\b`)

// named returns an answer with the names of the actors that it shows by their ids: in a
// member "names" of the object that it is, for callers who have signed in. Whatever noun
// comes to show an actor, people can read who it was.
func (c *call) named(v any) (any, error) {
	if !c.principal.Account() {
		return v, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return v, err
	}
	body := bytes.TrimSpace(b.Bytes())
	seen := map[string]bool{}
	var ids []string
	for _, id := range actorID.FindAll(body, -1) {
		if !seen[string(id)] {
			seen[string(id)] = true
			ids = append(ids, string(id))
		}
	}
	names, err := c.a.registrar.Names(c.ctx(), c.principal, ids)
	if err != nil || len(names) == 0 || len(body) < len("{}") || body[0] != '{' {
		return v, err
	}
	text, err := json.Marshal(names)
	if err != nil {
		return v, err
	}
	out := body[:len(body)-1]
	if len(out) > 1 {
		out = append(out, ',')
	}
	return json.RawMessage(append(append(append(out, `"names":`...), text...), '}')), nil
}
