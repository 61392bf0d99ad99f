package registrar

import (
	"encoding/hex"
	"fmt"
)

// generatedName makes a name that people can say out of an id whose last digits are
// random: "amber-heron-417". Names are no identities: two runs may have one.
func generatedName(id string) string {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) < 4 {
		return id
	}
	b = b[len(b)-4:]
	return fmt.Sprintf("%s-%s-%d", adjectives[int(b[0])%len(adjectives)], nouns[int(b[1])%len(nouns)], (int(b[2])<<8|int(b[3]))%1000)
}

var adjectives = []string{
	"able", "amber", "apt", "ardent", "azure", "bold", "brisk", "bright", "calm", "candid", "clear", "clever", "coral", "crisp", "deft", "eager",
	"early", "exact", "fair", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "handy", "hardy", "honest", "ivory", "jolly",
	"keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "modest", "neat", "nimble", "noble", "patient", "plain", "polite", "proud", "quick",
	"quiet", "rapid", "ready", "robust", "rosy", "sage", "serene", "sharp", "silver", "snug", "steady", "sunny", "swift", "tidy", "vivid", "wise",
}

var nouns = []string{
	"acorn", "alder", "aspen", "badger", "beech", "birch", "bison", "brook", "cedar", "cliff", "clover", "comet", "condor", "coral", "crane", "delta",
	"dune", "eagle", "elk", "ember", "falcon", "fern", "finch", "fjord", "gale", "glade", "grove", "harbor", "hawk", "hazel", "heron", "holly",
	"ibex", "iris", "island", "ivy", "jay", "juniper", "kestrel", "lake", "lark", "laurel", "linden", "lynx", "maple", "marten", "meadow", "mesa",
	"moss", "oak", "orchid", "osprey", "otter", "pebble", "pine", "plover", "poplar", "quail", "raven", "reef", "river", "robin", "spruce", "wren",
}
