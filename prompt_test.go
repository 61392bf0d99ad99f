package pedigree

import "testing"

func TestWithoutPrompts(t *testing.T) {
	for _, row := range []struct {
		filter, want string
		names        bool
	}{
		{"", `NOT tags."mlflow.prompt.is_prompt" = 'true'`, false},
		{"model = 'a'", `model = 'a' AND NOT tags."mlflow.prompt.is_prompt" = 'true'`, true},
		{"owner = 'a' AND name = 'b'", `owner = 'a' AND model = 'b' AND NOT tags."mlflow.prompt.is_prompt" = 'true'`, true},
		{"model = 'a' OR owner = 'b'", `(model = 'a' OR owner = 'b') AND NOT tags."mlflow.prompt.is_prompt" = 'true'`, false},
		{"model != 'a'", `model != 'a' AND NOT tags."mlflow.prompt.is_prompt" = 'true'`, false},
		{"tags.`mlflow.prompt.is_prompt` = 'true'", `tags."mlflow.prompt.is_prompt" = 'true'`, false},
	} {
		f, err := ParseFilter(row.filter)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ParseFilter(row.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.WithoutPrompts().String(); got != want.String() {
			t.Errorf("%q: got %s, want %s", row.filter, got, want)
		}
		if f.NamesModel() != row.names {
			t.Errorf("%q: NamesModel is %t", row.filter, f.NamesModel())
		}
	}
}
