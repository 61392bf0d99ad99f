package mlrecord

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// Tags by which a client of MLflow fills what MLflow has no word for.
const (
	OwnerTag    = "pedigree.owner"
	ImageTag    = "pedigree.image"
	TargetTag   = "pedigree.target"
	RollbackTag = "pedigree.rollback_note"
	DataTag     = "pedigree.data." // and a role
)

// ApplyTag fills the field of a record that a tag stands for; typed says that it is such
// a tag. It returns [pedigree.CodeInvalid] for a value that the field can't have.
func ApplyTag(r *pedigree.Record, key, value string) (typed bool, err error) {
	switch key {
	case OwnerTag:
		r.Owner = value
	case ImageTag:
		if r.Runtime == nil {
			r.Runtime = &pedigree.Runtime{}
		} else {
			again := *r.Runtime
			r.Runtime = &again
		}
		r.Runtime.Image = value
	case TargetTag:
		if value != "" {
			if _, err := pedigree.ParseTarget(value); err != nil {
				return true, err
			}
		}
		r.Target = value
	case RollbackTag:
		r.RollbackNote = value
	default:
		role, ok := strings.CutPrefix(key, DataTag)
		if !ok || role == "" || value == "" {
			return false, nil
		}
		ref, err := parseData(role, value)
		if err != nil {
			return true, err
		}
		r.Data = append(slices.DeleteFunc(slices.Clone(r.Data), func(old pedigree.DataReference) bool { return old.Role == role && old.URI == ref.URI }), ref)
	}
	return true, nil
}

// fillTags fills what the tags of a run or a logged model say in our words; a value that
// the field can't have is left out.
func fillTags(r *pedigree.Record, tags []KeyValue) {
	for _, t := range tags {
		next := *r
		if typed, err := ApplyTag(&next, t.Key, t.Value); typed && err == nil {
			*r = next
		}
	}
}

var queryStart = regexp.MustCompile(`(?is)^\s*(select|with|from)\s`)

// parseData reads what a tag says of data: a URI, with "@sha256:…" where its digest is
// known, a query, or the JSON of a data reference.
func parseData(role, value string) (pedigree.DataReference, error) {
	ref := pedigree.DataReference{Role: role, Kind: pedigree.DataSnapshot}
	if strings.HasPrefix(strings.TrimSpace(value), "{") {
		if err := json.Unmarshal([]byte(value), &ref); err != nil {
			return ref, pedigree.Errorf(pedigree.CodeInvalid, "The tag '%s%s' is not the JSON of a data reference: %s", DataTag, role, err)
		}
		ref.Role = role
		return ref, nil
	}
	if query, ok := strings.CutPrefix(value, "query:"); ok || queryStart.MatchString(value) {
		ref.Kind, ref.Query = pedigree.DataQuery, strings.TrimSpace(query)
		return ref, nil
	}
	lower := strings.ToLower(value)
	switch {
	case strings.HasPrefix(lower, "features:"), strings.HasPrefix(lower, "feast:"):
		ref.Kind = pedigree.DataFeatures
	case strings.HasPrefix(lower, "lineage:"), strings.HasPrefix(lower, "openlineage:"):
		ref.Kind = pedigree.DataLineage
	}
	if i := strings.LastIndex(value, "@sha256:"); i >= 0 {
		digest, err := pedigree.ParseDigest(value[i+1:])
		if err != nil {
			return ref, err
		}
		value, ref.Digest = value[:i], digest
	}
	var err error
	ref.URI, err = pedigree.ParseSafeURI(value)
	return ref, err
}
