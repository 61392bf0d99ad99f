// Package ledger is the arithmetic of the log: what an event's leaf is, what a
// payload's digest is, how the Merkle tree grows, and how checkpoints and proofs are
// made and checked. The server, the SDK and the offline verifier share it.
//
// It must never do input or output, read a clock or choose a source of randomness:
// bytes, times and an [io.Reader] come in, values go out. So a proof that the server
// makes and the one that a client checks are the same code, and every test is a
// computation.
//
// Invariant: a value in the log can be erased without changing a leaf. The leaf
// commits to the payload digest, the digest to one commitment per field, and the
// commitment outlives value and salt. Nothing else can change unseen.
//
// The format, fixed for as long as a log exists:
//
//	commitment      SHA-256(salt ‖ name ‖ 0x00 ‖ value)
//	                salt: 32 random bytes; name: [a-z_]+; value: the exact JSON text
//	payload_digest  "sha256:" + hex of SHA-256 of the text
//	                pedigree-payload/1\n
//	                and for each field, sorted by the bytes of its name,
//	                name + " " + lower-case hex of its commitment + "\n"
//	leaf            SHA-256(0x00 ‖ envelope text)        (RFC 6962, section 2.1)
//	node            SHA-256(0x01 ‖ left ‖ right)
//	checkpoint      a signed note (C2SP signed-note, Ed25519) of the text
//	                origin\n size in decimal\n base64 of the root\n
//	                without the spaces; origin is the name of the key (C2SP tlog-checkpoint)
//
// Keys have the form of golang.org/x/mod/sumdb/note: name+hash+base64, and
// PRIVATE+KEY+name+hash+base64 for the half that signs.
//
// A check that fails returns [pedigree.CodeCorrupt] and says what does not match; an
// argument that could never be right returns [pedigree.CodeInvalid].
package ledger
