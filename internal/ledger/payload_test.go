package ledger_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// The vectors of this package were computed by another program in another language.
// They are the format: where one of these tests fails, the code is wrong.

const goldenPayload = pedigree.Digest("sha256:9a949055ba104ea5b15007d216a8bce28a224496a3daaff0eea3292096f0d388")

func goldenFields(t *testing.T) []pedigree.Field {
	t.Helper()
	fields, err := ledger.Seal(map[string]json.RawMessage{
		"tags":    json.RawMessage(`{"a":"<b> & c","n":null}`),
		"project": json.RawMessage(`"prj_1"`),
		"name":    json.RawMessage(`"fraud"`),
	}, &counting{})
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

func TestPayloadGolden(t *testing.T) {
	fields := goldenFields(t)
	want := []struct{ name, commitment string }{
		{"name", "0ad9d78ecbebb79910a74be01c39775bd187e0e1162e1a5943f47f48cb496ebe"},
		{"project", "b585d07ecbc658ff647de128e9c8ce8df5be683604d067f7c83e5e31e9147e5e"},
		{"tags", "ce11db5086d8f865ad7644801c3e8559d0a28957711f16d017c70982335f3b14"},
	}
	if len(fields) != len(want) {
		t.Fatalf("got %d fields, want %d", len(fields), len(want))
	}
	for i, w := range want {
		if got := hex.EncodeToString(ledger.Commitment(fields[i])); fields[i].Name != w.name || got != w.commitment {
			t.Errorf("field %d is %s with commitment %s, want %s with %s", i, fields[i].Name, got, w.name, w.commitment)
		}
	}
	if got := ledger.PayloadDigest(fields); got != goldenPayload {
		t.Errorf("got payload digest %s, want %s", got, goldenPayload)
	}
	const empty = pedigree.Digest("sha256:b81de93bf94a4b5deaea4395fb72d1daceb0456eee74e8c52727f7afa9bcde0b")
	if got := ledger.PayloadDigest(nil); got != empty {
		t.Errorf("got payload digest %s of no fields, want %s", got, empty)
	}
}

func TestLeafGolden(t *testing.T) {
	const envelope = `{"v":1,"seq":3,"time":"2026-05-01T10:00:00.123456Z","type":"model.created",` +
		`"actor":"act_1","subject":"mdl_1","payload_digest":"` + string(goldenPayload) + `"}`
	leaf := ledger.Leaf(envelope)
	const want = "db173ee0be012baea8069e93d3c59c35ffbc1fce9ea186c62337a747136e026f"
	if got := hex.EncodeToString(leaf[:]); got != want {
		t.Errorf("got leaf %s, want %s", got, want)
	}
	ev, err := ledger.CheckEntry(pedigree.Entry{Envelope: envelope, Fields: goldenFields(t), Seq: 3, Leaf: leaf[:]})
	if err != nil {
		t.Fatal(err)
	}
	if got := ev.String("name"); got != "fraud" || ev.Text != envelope {
		t.Errorf("the event has the name %q and the text %s", got, ev.Text)
	}
	if got := ev.Envelope(); got != envelope {
		t.Errorf("the root package writes the envelope\n%s, want\n%s", got, envelope)
	}
}

// An erasure takes value and salt, and changes no digest, whatever is erased.
func TestEraseKeepsDigest(t *testing.T) {
	fields := goldenFields(t)
	for mask := range 1 << len(fields) {
		erased := slices.Clone(fields)
		for i := range erased {
			if mask>>i&1 == 0 {
				continue
			}
			erased[i] = ledger.Erase(erased[i])
			erased[i] = ledger.Erase(erased[i]) // once more does nothing
			if f := erased[i]; f.Value != nil || f.Salt != nil || !f.Erased() || f.Name != fields[i].Name {
				t.Errorf("erased field %d is %+v", i, f)
			}
		}
		slices.Reverse(erased)
		if got := ledger.PayloadDigest(erased); got != goldenPayload {
			t.Errorf("mask %b: got payload digest %s, want %s", mask, got, goldenPayload)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	for _, tc := range []struct{ name, field, value, what string }{
		{"NoName", "", `1`, "a-z and _"},
		{"UpperCase", "Name", `1`, "a-z and _"},
		{"Digit", "name2", `1`, "a-z and _"},
		{"LineBreak", "a\nb", `1`, "a-z and _"},
		{"NotASCII", "größe", `1`, "a-z and _"},
		{"Empty", "a", ``, "not compact JSON"},
		{"NotJSON", "a", `{"b":}`, "not compact JSON"},
		{"TwoValues", "a", `1 2`, "not compact JSON"},
		{"Space", "a", `{"b": 1}`, "not compact JSON"},
		{"LineEnd", "a", "1\n", "not compact JSON"},
		{"NotUTF8", "a", "\"\xff\"", "not compact JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ledger.Seal(map[string]json.RawMessage{tc.field: json.RawMessage(tc.value)}, &counting{})
			wantError(t, err, pedigree.CodeInvalid, tc.what)
		})
	}
	if _, err := ledger.Seal(map[string]json.RawMessage{"a": json.RawMessage("1")}, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a salt of 31 random bytes was accepted")
	}
	if _, err := ledger.Seal(map[string]json.RawMessage{"a": json.RawMessage("1")}, iotest.ErrReader(iotest.ErrTimeout)); err == nil {
		t.Error("a salt was made without randomness")
	}
}

// An entry comes out of its JSON as it went in, so that its digest does not change
// on the wire: null, angle brackets and line separators among the values.
func TestEntrySurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.MapOf(rapid.StringMatching(`[a-z_]{1,8}`), jsonValue()).Draw(t, "payload")
		fields, err := ledger.Seal(payload, &counting{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range fields {
			if rapid.Bool().Draw(t, "erase") {
				fields[i] = ledger.Erase(fields[i])
			}
		}
		ev := pedigree.Event{V: 1, Type: pedigree.ModelTagged, PayloadDigest: ledger.PayloadDigest(fields)}
		for i := range fields {
			if fields[i].Erased() && !pedigree.Erasable(ev.Type, fields[i].Name) {
				t.Skip("a field that can't be erased")
			}
		}
		text := ev.Envelope()
		leaf := ledger.Leaf(text)

		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(pedigree.Entry{Envelope: text, Fields: fields, Leaf: leaf[:]}); err != nil {
			t.Fatal(err)
		}
		var back pedigree.Entry
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.CheckEntry(back); err != nil {
			t.Fatalf("%v in %s", err, b.Bytes())
		}
	})
}

// jsonValue generates compact JSON texts.
func jsonValue() *rapid.Generator[json.RawMessage] {
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return json.RawMessage(rapid.SampledFrom([]string{"null", "true", "0", "-1.5e-7", "[]", "{}", `""`, `"<&>"`, "\"\u2028\"", `"\u003c"`, `{"b":1,"a":2,"a":3}`}).Draw(t, "text"))
		default:
			b, err := json.Marshal(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "object"))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	})
}
