package link

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestKeys finds the access key in every place where it may be.
func TestKeys(t *testing.T) {
	// The library for the container's service looks at the real environment first.
	for _, name := range []string{
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_REGION",
	} {
		t.Setenv(name, "")
	}
	home := t.TempDir()
	mustWrite(t, home, ".aws/credentials", []byte("[default]\naws_access_key_id = of-default\naws_secret_access_key = s\n[lab]\naws_access_key_id = of-lab\naws_secret_access_key = s\n"))
	mustWrite(t, home, ".aws/config", []byte("[profile ops]\naws_access_key_id = of-ops\naws_secret_access_key = s\n"))
	other := mustWrite(t, home, "other", []byte("[default]\naws_access_key_id = of-other\naws_secret_access_key = s\n"))
	broken := mustWrite(t, home, "broken", []byte("[default]\naws_access_key_id = half\n"))
	container := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "container-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"AccessKeyId":"of-container","SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00Z"}`))
	})
	nowhere := filepath.Join(home, "nowhere")
	tests := []struct {
		name string
		env  environ
		want string // the key, or what the help says when there is none
	}{
		{"environment", environ{"AWS_ACCESS_KEY_ID": "of-env", "AWS_SECRET_ACCESS_KEY": "s", "HOME": home}, "of-env"},
		{"half an environment", environ{"AWS_ACCESS_KEY_ID": "of-env", "HOME": home}, "of-default"},
		{"home", environ{"HOME": home}, "of-default"},
		{"home of Windows", environ{"USERPROFILE": home}, "of-default"},
		{"profile", environ{"HOME": home, "AWS_PROFILE": "lab"}, "of-lab"},
		{"profile of the other file", environ{"HOME": home, "AWS_PROFILE": "ops"}, "of-ops"},
		{"another file", environ{"HOME": home, "AWS_SHARED_CREDENTIALS_FILE": other}, "of-other"},
		{"container", environ{"HOME": nowhere, "AWS_CONTAINER_CREDENTIALS_FULL_URI": container.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-token"}, "of-container"},
		{"nothing", environ{}, "no keys were found: set"},
		{"no such home", environ{"HOME": nowhere}, "no keys were found: set"},
		{"no such profile", environ{"HOME": home, "AWS_PROFILE": "none"}, "none"},
		{"half a file", environ{"AWS_SHARED_CREDENTIALS_FILE": broken}, "partial static credentials"},
		{"container refuses", environ{"AWS_CONTAINER_CREDENTIALS_FULL_URI": container.URL}, "403 Forbidden"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeS3(t, map[string]fakeObject{"a": {data: []byte("a")}})
			tt.env["AWS_ENDPOINT_URL"] = f.URL
			if f.key = tt.want; strings.HasPrefix(tt.want, "of-") {
				checkInfo(t, mustRead(t, "s3://models/a", Options{Env: tt.env.get}), 1, "", 0, "no digest")
				return
			}
			err := mustFail(t, "s3://models/a", Options{Env: tt.env.get}, pedigree.CodeForbidden)
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}

// TestPublicBucket reads without keys.
func TestPublicBucket(t *testing.T) {
	f := newFakeS3(t, map[string]fakeObject{"a": {data: []byte("a")}})
	f.key = ""
	checkInfo(t, mustRead(t, "s3://models/a", Options{Env: environ{"AWS_ENDPOINT_URL": f.URL}.get, Digest: true}), 1, pedigree.DigestBytes([]byte("a")), 0, "")
}

func TestEndpoint(t *testing.T) {
	tests := []struct {
		env  environ
		want string // "" is an error
	}{
		{environ{}, "https://s3.amazonaws.com"},
		{environ{"AWS_ENDPOINT_URL": "http://127.0.0.1:7070"}, "http://127.0.0.1:7070"},
		{environ{"AWS_ENDPOINT_URL": "http://127.0.0.1:7070", "AWS_ENDPOINT_URL_S3": "https://store.example/"}, "https://store.example/"},
		{environ{"AWS_ENDPOINT_URL": "127.0.0.1:7070"}, ""},
		{environ{"AWS_ENDPOINT_URL": "https://"}, ""},
		{environ{"AWS_ENDPOINT_URL": "https://id:secret@store.example"}, ""},
		{environ{"AWS_ENDPOINT_URL": "https://store.example/path"}, ""},
	}
	for _, tt := range tests {
		got, err := newReader("s3://b/k", Options{Env: tt.env.get}).endpoint()
		switch {
		case tt.want == "" && pedigree.CodeOf(err) != pedigree.CodeInvalid:
			t.Errorf("%v: got %v, %v; want code %s", tt.env, got, err, pedigree.CodeInvalid)
		case tt.want != "" && (err != nil || got.String() != tt.want):
			t.Errorf("%v: got %v, %v; want %s", tt.env, got, err, tt.want)
		}
	}
}
