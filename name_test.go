package pedigree

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseName(t *testing.T) {
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{"fraud", true},
		{"fraud v2", true},
		{"été", true},
		{"7", true},
		{"a@b", true},
		{`a"b`, true},
		{"..a", true},
		{"a%2Fb", true},
		{strings.Repeat("é", MaxName), true},
		{strings.Repeat("é", MaxName+1), false},
		{"", false},
		{"  ", false},
		{"\t", false},
		{".", false},
		{"..", false},
		{"a/b", false},
		{"a:b", false},
		{"a\nb", false},
		{"a\tb", false},
		{"a\rb", false},
		{"a\x00b", false},
		{"a\x7fb", false},
		{"a\u0085b", false},
		{"a\xffb", false},
	} {
		got, err := ParseName(tt.in)
		if tt.ok {
			checkCode(t, tt.in, err, "")
			checkEqual(t, tt.in, got, Name(tt.in))
		} else {
			checkCode(t, tt.in, err, CodeInvalid)
			checkEqual(t, tt.in, got, Name(""))
		}
	}
}

func TestParseProjectName(t *testing.T) {
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{"default", true},
		{"a", true},
		{"risk-2.eu_west", true},
		{"7", true},
		{strings.Repeat("a", MaxProjectName), true},
		{"", false},
		{strings.Repeat("a", MaxProjectName+1), false},
		{"Risk", false},
		{"a--b", false},
		{"-a", false},
		{"a-", false},
		{"a._b", false},
		{"a/b", false},
		{"a b", false},
		{"é", false},
		{"a\n", false},
	} {
		_, err := ParseProjectName(tt.in)
		want := CodeInvalid
		if tt.ok {
			want = ""
		}
		checkCode(t, tt.in, err, want)
	}
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{"team", true},
		{"a b", true},
		{"val/auc", true},
		{"a:b-c_d.e", true},
		{"é", true},
		{"e\u0301", true},
		{strings.Repeat("k", MaxKey), true},
		{"", false},
		{strings.Repeat("k", MaxKey+1), false},
		{"a|b", false},
		{"a\tb", false},
		{`a"b`, false},
		{"a\x00", false},
		{"a\xff", false},
	} {
		_, err := ParseKey("tag", tt.in)
		want := CodeInvalid
		if tt.ok {
			want = ""
		}
		checkCode(t, tt.in, err, want)
	}
}

func TestParseAlias(t *testing.T) {
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{"champion", true},
		{"é", true},
		{"a-b_c", true},
		{"7", true},
		{"v1a", true},
		{strings.Repeat("a", MaxAlias), true},
		{"", false},
		{strings.Repeat("a", MaxAlias+1), false},
		{"a b", false},
		{"a.b", false},
		{"latest", false},
		{"LaTest", false},
		{"v1", false},
		{"V22", false},
		{"a\n", false},
		{"a@b", false},
	} {
		_, err := ParseAlias(tt.in)
		want := CodeInvalid
		if tt.ok {
			want = ""
		}
		checkCode(t, tt.in, err, want)
	}
}

func TestParseDigest(t *testing.T) {
	good := string(testDigest("x"))
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{good, true},
		{"", false},
		{"sha256:", false},
		{good[:len(good)-1], false},
		{good + "0", false},
		{strings.ToUpper(good), false},
		{strings.Replace(good, "sha256", "sha512", 1), false},
		{good[:len(good)-1] + "g", false},
		{good[:len(good)-1] + "\n", false},
	} {
		_, err := ParseDigest(tt.in)
		want := CodeInvalid
		if tt.ok {
			want = ""
		}
		checkCode(t, tt.in, err, want)
	}
	checkEqual(t, "empty", DigestBytes(nil), Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
	checkEqual(t, "short", DigestBytes(nil).Short(), "e3b0c44298fc")
	checkEqual(t, "short of none", Digest("").Short(), "")
	got, n, err := DigestReader(strings.NewReader("abc"))
	if err != nil || n != 3 || got != DigestBytes([]byte("abc")) {
		t.Errorf("DigestReader: got %s, %d, %v", got, n, err)
	}
	broken := errors.New("broken")
	if got, _, err := DigestReader(iotest.ErrReader(broken)); !errors.Is(err, broken) || got != "" {
		t.Errorf("DigestReader of a broken reader: got %q, %v", got, err)
	}
}

func TestClip(t *testing.T) {
	checkEqual(t, "short", clip("é"), "é")
	checkEqual(t, "long", clip(strings.Repeat("é", 41)), strings.Repeat("é", 40)+"…")
	checkEqual(t, "inside a character", clip("x"+strings.Repeat("é", 40)), "x"+strings.Repeat("é", 39)+"…")
}

// TestUnmarshalText checks that JSON brings nothing in that the parsers refuse.
func TestUnmarshalText(t *testing.T) {
	for _, tt := range []struct {
		in   string
		to   any
		want ErrorCode
	}{
		{`"fraud"`, new(Name), ""},
		{`"a/b"`, new(Name), CodeInvalid},
		{`""`, new(Name), CodeInvalid},
		{`"risk"`, new(ProjectName), ""},
		{`"Risk"`, new(ProjectName), CodeInvalid},
		{`"champion"`, new(Alias), ""},
		{`"latest"`, new(Alias), CodeInvalid},
		{`""`, new(Digest), ""},
		{`"md5:1"`, new(Digest), CodeInvalid},
		{`"s3://a/b"`, new(SafeURI), ""},
		{`"a\u0000b"`, new(SafeURI), CodeInvalid},
		{`{"champion":1}`, new(map[Alias]VersionNumber), ""},
		{`{"latest":1}`, new(map[Alias]VersionNumber), CodeInvalid},
	} {
		checkCode(t, tt.in, json.Unmarshal([]byte(tt.in), tt.to), tt.want)
	}
	var u SafeURI
	if err := json.Unmarshal([]byte(`"https://ann:pw@example.com/x"`), &u); err != nil || u != "https://example.com/x" {
		t.Errorf("SafeURI from JSON: got %q, %v", u, err)
	}
}

func TestParseSafeURI(t *testing.T) {
	digest := string(testDigest("x"))
	for _, tt := range []struct{ in, want string }{
		// Nothing to hide: kept byte by byte.
		{"", ""},
		{"s3://bucket/key with space", "s3://bucket/key with space"},
		{"https://example.com:8443/a?b=c&d;e&&f#g=h", "https://example.com:8443/a?b=c&d;e&&f#g=h"},
		{"https://example.com/a@b/c@v1", "https://example.com/a@b/c@v1"},
		{"hf://org/model@main", "hf://org/model@main"},
		{"models:/fraud@champion", "models:/fraud@champion"},
		{"git@example.com:org/repo.git", "git@example.com:org/repo.git"},
		{"ssh://git@example.com/org/repo", "ssh://git@example.com/org/repo"},
		{"git+ssh://git@example.com/org/repo@v1", "git+ssh://git@example.com/org/repo@v1"},
		{"abfss://container@account.dfs.core.windows.net/train", "abfss://container@account.dfs.core.windows.net/train"},
		{"wasbs://container@account.blob.core.windows.net/x", "wasbs://container@account.blob.core.windows.net/x"},
		{"docker://alpine@" + digest, "docker://alpine@" + digest},
		{"docker://example.com:5000/a@" + digest, "docker://example.com:5000/a@" + digest},
		{"https://[::1]:80/a@b", "https://[::1]:80/a@b"},
		{"mongodb://h1:27017,h2:27017/db", "mongodb://h1:27017,h2:27017/db"},
		{"C:\\models\\a@b", "C:\\models\\a@b"},
		{"models/a b@c", "models/a b@c"},
		{"pypi:numpy@1.26", "pypi:numpy@1.26"},
		// User info.
		{"https://ann:secret@example.com/x", "https://example.com/x"},
		{"https://token@example.com", "https://example.com"},
		{"https://a@b@example.com/x", "https://example.com/x"},
		{"HTTPS://ann:secret@example.com/x", "HTTPS://example.com/x"},
		{"s3://KEY:SECRET@bucket/key", "s3://bucket/key"},
		{"ssh://git:secret@example.com/x", "ssh://example.com/x"},
		{"https://git@example.com/x", "https://example.com/x"},
		{"abfss://container:key@account.dfs.core.windows.net/x", "abfss://account.dfs.core.windows.net/x"},
		{"docker://ann:pw@alpine@" + digest, "docker://alpine@" + digest},
		{"jdbc:postgresql://ann:pw@db:5432/x?user=ann&password=pw", "jdbc:postgresql://db:5432/x?user=ann"},
		{"//ann:pw@example.com/x", "//example.com/x"},
		{"https://ann:pa/ss@example.com/x", "https://example.com/x"},
		{"https://ann:pa#ss@example.com/x@v1", "https://example.com/x@v1"},
		{"https://ann:pa?ss@example.com", "https://example.com"},
		{"https://web.example.com/https://ann:pw@example.com/x", "https://web.example.com/https://example.com/x"},
		{"https://example.com/?u=https://ann:pw@example.org/", "https://example.com/?u=https://example.org/"},
		{"ann:token@example.com/org/repo", "example.com/org/repo"},
		// Signatures and tokens in query and fragment.
		{"https://b.s3.example.com/k?X-Amz-Signature=s&X-Amz-Credential=c&X-Amz-Date=d&versionId=3", "https://b.s3.example.com/k?versionId=3"},
		{"https://b.s3.example.com/k?AWSAccessKeyId=a&Signature=s&Expires=1", "https://b.s3.example.com/k"},
		{"https://a.blob.example.com/c/b?sv=2020&se=1&sr=b&sp=r&sig=x", "https://a.blob.example.com/c/b"},
		{"https://s.example.com/o?x-goog-signature=s&GoogleAccessId=a&generation=5", "https://s.example.com/o?generation=5"},
		{"https://e.com/?access_token=t;private_token=t&a=1", "https://e.com/?a=1"},
		{"https://e.com/?%73ig=x&%20token=y&a=1", "https://e.com/?a=1"},
		{"https://e.com/?client_secret=x&refresh_token=y", "https://e.com/"},
		{"https://e.com/x#access_token=t&state=1", "https://e.com/x#state=1"},
		{"https://e.com/x#token=t", "https://e.com/x"},
		{"e.com/x?sig=s&a=1", "e.com/x?a=1"},
		{"https://e.com/x?sig=s#frag", "https://e.com/x#frag"},
	} {
		got, err := ParseSafeURI(tt.in)
		checkCode(t, tt.in, err, "")
		checkEqual(t, tt.in, string(got), tt.want)
		again, err := ParseSafeURI(string(got))
		checkCode(t, tt.in, err, "")
		checkEqual(t, "again: "+tt.in, again, got)
	}
	for _, bad := range []string{"a\nb", "a\x00", "a\xff", "s3://" + strings.Repeat("x", MaxURI), strings.Repeat("é", MaxURI)} {
		_, err := ParseSafeURI(bad)
		checkCode(t, clip(bad), err, CodeInvalid)
	}
}

func FuzzParseSafeURI(f *testing.F) {
	for _, s := range []string{
		"", "s3://b/k", "https://a:b@c/d?sig=x&e=f#g", "ssh://git@h/x", "abfss://c@a.net/x", "docker://a@sha256:0", "//u@h", "u:p@h.com/x:y@z.io/",
		"https://u:p/w@h", "x://a://b@c", "https://[::1]@x", "a?b#c?d", "://@@@", "https://h?sig=1&u=https://a:b@c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseSafeURI(s)
		if err != nil {
			checkCode(t, s, err, CodeInvalid)
			return
		}
		if len(got) > len(s) {
			t.Errorf("%q became longer: %q", s, got)
		}
		again, err := ParseSafeURI(string(got))
		if err != nil || again != got {
			t.Errorf("%q: %q, and again %q, %v", s, got, again, err)
		}
		if u, err := url.Parse(string(got)); err == nil && u.User != nil {
			_, password := u.User.Password()
			host := strings.HasPrefix(u.Host, digestPrefix)
			scheme := strings.ToLower(u.Scheme)
			kept := strings.HasSuffix(scheme, "ssh") && u.User.Username() == "git" || strings.HasSuffix(scheme, "abfs") || strings.HasSuffix(scheme, "abfss") ||
				strings.HasSuffix(scheme, "wasb") || strings.HasSuffix(scheme, "wasbs")
			if !host && (password || !kept) {
				t.Errorf("%q: user info is left in %q", s, got)
			}
		}
		if u, err := url.Parse(string(got)); err == nil && u.IsAbs() {
			for key := range u.Query() {
				if signatureParams[strings.ToLower(key)] {
					t.Errorf("%q: %s is left in %q", s, key, got)
				}
			}
		}
	})
}
