package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/capture"
)

// secrets gathers the places that look like a secret in what is about to enter the log
// or the blob store: nothing of it could be taken out quietly. It names the flag or the
// field and the kind, never the text.
type secrets struct {
	found []string
	// captured and pushed say that some are in what was captured, or in files of the
	// artifact: the advice is another there.
	captured, pushed bool
}

// allowSecrets gives a command the flag that passes all of this over.
func allowSecrets(flags *pflag.FlagSet, allow *bool) {
	flags.BoolVar(allow, "allow-secrets", false, "go on although something looks like a secret")
}

// refuseTyped refuses texts that look like a secret; the keys are the flags, or what
// stands for them.
func refuseTyped(allow bool, texts map[string]string) error {
	var s secrets
	for _, where := range sortedKeys(texts) {
		s.text(where, texts[where])
	}
	return s.refuse(allow)
}

// withTags adds tags to texts for refuseTyped.
func withTags(texts, tags map[string]string) map[string]string {
	for k, v := range tags {
		texts[keyed("tag", k)] += "\n" + k + "=" + v
	}
	return texts
}

var (
	assignment = regexp.MustCompile(`\s*([:=])\s*`)
	space      = regexp.MustCompile(`\s+`)
)

// looksLike is what a text that somebody typed looks to hold. In a sentence, an
// assignment does not fill the line; it is looked for by itself too.
func looksLike(text string) []string {
	var kinds []string
	for _, s := range []string{text, space.ReplaceAllString(assignment.ReplaceAllString(text, "$1"), "\n")} {
		for _, f := range capture.FindSecrets("", []byte(s)) {
			if !slices.Contains(kinds, f.Kind) {
				kinds = append(kinds, f.Kind)
			}
		}
	}
	return kinds
}

// text looks at one text; where is its flag or field.
func (s *secrets) text(where, text string) {
	if kinds := looksLike(text); len(kinds) > 0 {
		s.found = append(s.found, where+": "+strings.Join(kinds, " and "))
	}
}

// keyed is "param depth", and without the key where that looks like a secret itself.
func keyed(what, key string) string {
	if len(looksLike(key)) > 0 {
		return what
	}
	return what + " " + cut(key, 60)
}

// record looks at every text of a record. Digests and ids are told from secrets by
// their form.
func (s *secrets) record(r pedigree.Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("look for secrets: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return fmt.Errorf("look for secrets: %w", err)
	}
	if params, ok := fields["params"].(map[string]any); ok {
		for _, k := range sortedKeys(params) {
			s.text(keyed("param", k), fmt.Sprintf("%s=%v", k, params[k]))
		}
		delete(fields, "params")
	}
	for _, k := range sortedKeys(fields) {
		s.field(strings.ReplaceAll(k, "_", " "), fields[k])
	}
	return nil
}

// field looks at a value of the record, and at what is in it: "data train query".
func (s *secrets) field(where string, v any) {
	switch v := v.(type) {
	case string:
		s.text(where, v)
	case []any:
		for i, item := range v {
			label := fmt.Sprintf("%s %d", where, i+1)
			if m, ok := item.(map[string]any); ok {
				for _, key := range []string{"role", "name"} {
					if name, ok := m[key].(string); ok && name != "" && len(looksLike(name)) == 0 {
						label = where + " " + cut(name, 60)
						break
					}
				}
			}
			s.field(label, item)
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			s.field(where+" "+k, v[k])
		}
	}
}

// maxScanned is the most bytes of a file of an artifact that is looked at: what people
// write is smaller, and weights are no text.
const maxScanned = 1 << 20

// files looks at the small text files of a file or folder that is to be pushed.
func (s *secrets) files(path string, exclude []string) error {
	files, err := client.Files(path, exclude)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fileError(err)
	}
	for _, f := range files {
		if f.Size > maxScanned {
			continue
		}
		name := path
		if info.IsDir() {
			name = filepath.Join(path, filepath.FromSlash(f.Path))
		}
		content, err := readFile(name, maxScanned)
		if pedigree.CodeOf(err) == pedigree.CodeTooLarge { // it grew; the push will say so
			continue
		}
		if err != nil {
			return err
		}
		if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
			continue
		}
		for _, found := range capture.FindSecrets(f.Path, content) {
			s.found, s.pushed = append(s.found, found.String()), true
		}
	}
	return nil
}

// refuse is the error for what was found, nil for nothing.
func (s *secrets) refuse(allow bool) error {
	if allow || len(s.found) == 0 {
		return nil
	}
	found, more := s.found, ""
	if n := len(found); n > 10 {
		found, more = found[:10], fmt.Sprintf("\nand %d more", n-10)
	}
	fix := "take it out"
	if s.captured {
		fix += "; --no-diff leaves out changes that are not committed"
	}
	if s.pushed {
		fix += "; --exclude GLOB leaves a file of the artifact out"
	}
	return pedigree.Errorf(pedigree.CodeRefused, "this looks like a secret, and what is recorded can't be taken back: %s%s", strings.Join(found, ", "), more).
		WithFix("%s; --allow-secrets goes on all the same", fix)
}
