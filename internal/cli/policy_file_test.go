package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pedigree-ml/pedigree"
)

const somePolicy = `# of the fraud team
description: what we agreed on
gates:
  - name: auc
    expr: metrics.auc >= 0.9
    message: 42
  - name: literal
    expr: |
      metrics.auc >= 0.9 &&
        ownr != ""
    environments: [prod, "eu-*"]
  - name: folded
    expr: >-
      metrics.auc >= 0.9
      && ownr != ""
  - {name: quoted, expr: 'ownr != "x"'}
  - name: always
    expr: true
  - name: plain
    expr: metrics.auc >= 0.9
      && ownr != ""
approvals: {count: 2, role: approver, valid_for: 90d, environments: [prod]}
protected: {aliases: [production], targets: [prod/*]}
override: admin
seq: 12
`

func TestReadPolicy(t *testing.T) {
	f, err := readPolicy([]byte(somePolicy), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := f.policy
	if p.Seq != 0 || len(p.Gates) != 6 || p.Gates[0].Message != "42" || p.Gates[4].Expr != "true" || p.Approvals.ValidFor.String() != "90d" {
		t.Errorf("got %+v", p)
	}
	if diff := cmp.Diff([]string{"prod", "eu-*"}, p.Gates[1].Environments); diff != "" {
		t.Error(diff)
	}
	if p.Gates[1].Expr != "metrics.auc >= 0.9 &&\n  ownr != \"\"\n" || p.Gates[2].Expr != `metrics.auc >= 0.9 && ownr != ""` {
		t.Errorf("got %q", p.Gates)
	}
	if j, err := readPolicy([]byte(`{"gates": [{"name": "a", "expr": "true"}], "approvals": {"count": 1}}`), "p.json"); err != nil || len(j.policy.Gates) != 1 {
		t.Errorf("JSON: %v", err)
	}
}

// TestPlacePolicy: a fault in an expression is shown where it stands in the file.
func TestPlacePolicy(t *testing.T) {
	f, err := readPolicy([]byte(somePolicy), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for message, want := range map[string]string{
		`gate "auc", line 1, column 9: x`:                                 `policy.yaml:5:19: gate "auc": x`,
		`gate "literal", line 2, column 3: x`:                             `policy.yaml:10:9: gate "literal": x`,
		`gate "folded", line 1, column 23: x`:                             `policy.yaml:15:10: gate "folded": x`,
		`gate "quoted", line 1, column 1: x`:                              `policy.yaml:16:27: gate "quoted": x`,
		`gate "always": it gives int; gate "plain", line 1, column 23: x`: `policy.yaml:18: gate "always": it gives int; policy.yaml:20: gate "plain": x`,
		`gate "other", line 1, column 2: x`:                               `gate "other", line 1, column 2: x`,
		`there is no project risk`:                                        `there is no project risk`,
	} {
		if got := f.place(pedigree.Errorf(pedigree.CodeInvalid, "%s", message)).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if err := f.place(os.ErrNotExist); err != os.ErrNotExist {
		t.Errorf("got %v", err)
	}
}

func TestReadPolicyErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"gates:\n  - name: a\n    exp: true\n", `p.yaml:3: there is no key "exp" in gates[0]; did you mean expr?`},
		{"gate: []\n", `p.yaml:1: there is no key "gate" here; did you mean gates?`},
		{"approvals:\n  number: 2\n", `p.yaml:2: there is no key "number" in approvals; there are allow_author, count, environments, role, valid_for`},
		{"approvals: {count: two}\n", `p.yaml:1: approvals.count: there is "two", and a whole number is wanted`},
		{"approvals:\n  count: 1.5\n", `p.yaml:2: approvals.count: there is "1.5", and a whole number is wanted`},
		{"approvals: {allow_author: perhaps}\n", `p.yaml:1: approvals.allow_author: there is "perhaps", and true or false is wanted`},
		{"approvals:\n  valid_for: 90 days\n", `p.yaml:2: approvals.valid_for: "90 days" is not a length of time; write 90d, 2w, 36h or 15m`},
		{"approvals: [1]\n", `p.yaml:1: approvals: there is a list, and fields (KEY: VALUE) is wanted`},
		{"gates:\n  auc: true\n", `p.yaml:2: gates: there is fields (KEY: VALUE), and a list is wanted`},
		{"gates:\n  - name: [a]\n", `p.yaml:2: gates[0].name: there is a list, and a plain value is wanted`},
		{"override: adminn\n", `p.yaml:1: override: there is no role "adminn"; did you mean admin?`},
		{"gates:\n  - name: A\n    expr: true\n", `p.yaml: gate name "A": use 1 to 63 lower-case letters, digits, '_' and '-'`},
		{"override: admin\noverride: admin\n", `p.yaml:2: the key "override" is there twice`},
		{"a: [\n", `p.yaml: line 1: did not find expected node content`},
		{"", `p.yaml: it is empty`},
		{"# nothing\n", `p.yaml: it is empty`},
		{"{}\n---\n{}\n", `p.yaml: there is a second YAML document in it; pedigree apply -f p.yaml reads files of several`},
		{"- a\n", `p.yaml:1: the file: there is a list, and fields (KEY: VALUE) is wanted`},
		{"gates: &a [*a]\n", `p.yaml:1: `},
	} {
		_, err := readPolicy([]byte(tt.text), "p.yaml")
		if pedigree.CodeOf(err) != pedigree.CodeInvalid {
			t.Errorf("%q: got %v", tt.text, err)
		} else if got := err.Error(); got != tt.want && (tt.want[len(tt.want)-1] != ' ' || got[:len(tt.want)] != tt.want) {
			t.Errorf("%q\n\tgot  %s\n\twant %s", tt.text, got, tt.want)
		}
	}
}

// TestExamplePolicies: the policies in examples/policies can be read.
func TestExamplePolicies(t *testing.T) {
	files, err := filepath.Glob("../../examples/policies/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	a := &app{stdin: strings.NewReader("")}
	if declared, err := a.readDeclarations([]string{"../../examples/registry"}, false); err != nil || len(declared) != 10 {
		t.Errorf("examples/registry: %d declarations, %v", len(declared), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readPolicy(data, filepath.Base(file)); err != nil {
			t.Error(err)
		}
	}
}
