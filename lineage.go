package pedigree

// Node is one thing in a lineage graph.
type Node struct {
	// ID is unique within the graph: a version subject, or kind and text.
	ID string `json:"id"`
	// Kind is version, data, code, run, model (a base model outside) or output.
	Kind string `json:"kind"`
	// Label is what people call it: "fraud/7", a URI, a commit.
	Label string `json:"label"`
	// Note says what is worth knowing: "archived", "bytes erased".
	Note string `json:"note,omitempty"`
	// Digest is its content, where known.
	Digest Digest `json:"digest,omitempty"`
}

// Edge says that To was made from, or read, From.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Relation is trained_on, built_from, made_by, upstream_of, wrote, or a [Relation].
	Relation string `json:"relation"`
}

// Lineage is the graph around one version, upstream and downstream.
type Lineage struct {
	Root  string `json:"root"`
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
	// Truncated says that the graph goes on beyond the depth or the number of nodes
	// that was asked for.
	Truncated bool `json:"truncated,omitempty"`
}
