package capture

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The secrets here are made up and put together at run time, so that a scanner of this
// repository finds none.
const (
	hex40   = "3f9a1c7be04d582a6fb3" + "97d0c5e81b24a6f7093d"
	hex64   = "9c1d5a7e3b806f42d18c0e95a74b3f6d" + "52e8107cba93d64f01b57e2c8da3460f"
	base36  = "Zq7Lw2Xc9Vb4Nm1Pk8Rt" + "5Yh3Gd6Fs0Aj4Ek9"
	letters = "qWeRtYuIoPaSdFgHjKl" + "ZxCvBnMqAzWsXeDc"
)

func TestFindSecrets(t *testing.T) {
	pem := "-----BEGIN RSA PRIVATE" + " KEY-----"
	body := strings.Repeat("MIIEpAIBAAKCAQEA7bq3", 3)
	jwt := func(header string) string {
		e := base64.RawURLEncoding.EncodeToString
		return e([]byte(header)) + "." + e([]byte(`{"sub":"1234567890"}`)) + "." + base36[:30]
	}
	tests := []struct {
		name    string // of the file; "x.py" when empty
		content string
		want    string // kind
	}{
		{"", `key = "` + "AKIA" + `Z7QWXCVB2NML4KJH"`, "AWS access key"},
		{"", `url = "https://b.s3.test/k?X-Amz-Credential=` + "ASIA" + `Z7QWXCVB2NML4KJH/20260101"`, "AWS access key"},
		{"", `AWS_SECRET_ACCESS_KEY = "` + "wJal/XUtnFE+MI7K9MDE" + `NGbPxRfiCYzk3v8QeT/d"`, "AWS secret key"},
		{".env", "aws_secret_access_key=" + "wJal/XUtnFE+MI7K9MDE" + "NGbPxRfiCYzk3v8QeT/d", "AWS secret key"},
		{"", `t = "` + "ghp_" + base36 + `"`, "GitHub token"},
		{"", `# see https://` + "ghs_" + base36 + `@git.test/x`, "GitHub token"},
		{"", `t = "` + "github_pat_" + base36 + "_" + base36 + `"`, "GitHub token"},
		{"", `t = "` + "glpat-" + base36[:20] + `"`, "GitLab token"},
		{"", `t = "` + "xoxb-" + "123456789012-" + base36[:24] + `"`, "Slack token"},
		{"", `t = "` + "xapp-" + "1-A0123-" + base36[:24] + `"`, "Slack token"},
		{"", `u = "https://hooks.slack` + ".com/services/T0123ABCD/B0123ABCD/" + base36[:24] + `"`, "Slack webhook"},
		{"", `k = "` + "AIza" + base36[:35] + `"`, "Google API key"},
		{"", `k = "` + "GOCSPX-" + base36[:28] + `"`, "Google OAuth secret"},
		{"", `k = "` + "ya29." + base36 + `"`, "Google access token"},
		{"sa.json", `  "private_key": "` + pem + `\n` + body + `\n",`, "Google service account key"},
		{"", "KEY = '''" + pem + "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\n" + body, "private key"},
		{"id", "-----BEGIN OPENSSH PRIVATE" + " KEY-----\n" + body, "private key"},
		{"", `t = "` + "hf_" + letters[:34] + `"`, "Hugging Face token"},
		{"", `token: ` + "pdg_" + "b7k2mzq5x3w4c6ydn2rtj5sfhaeg4l7uvpo3i6kmzq5x3w4c6ydn", "Pedigree token"},
		{"", `t = "` + "api_org_" + letters[:34] + `"`, "Hugging Face token"},
		{"", `openai.api_key = "` + "sk-" + base36 + "AbCdEfGh" + `"`, "OpenAI key"},
		{"", `k = "` + "sk-proj-" + base36 + `"`, "OpenAI or Anthropic key"},
		{"", `k = "` + "sk-ant-" + "api03-" + base36 + `"`, "OpenAI or Anthropic key"},
		{"", `c = "DefaultEndpointsProtocol=https;AccountName=x;` + "AccountKey=" + base36 + base36 + `abcdefghijklmn==;"`, "Azure account key"},
		{"", `c = "` + "a1B" + "8Q~" + base36[:34] + `"`, "Azure client secret"},
		{"", `u = "https://x.blob.test/c/f?sv=2024&` + "sig=" + base36 + `abcd%3D"`, "signed URL"},
		{"", `u = "https://x.s3.test/f?X-Amz-Signature=` + hex64 + `"`, "signed URL"},
		{"", `t = "` + "dapi" + hex40[:32] + `"`, "Databricks token"},
		{".pypirc", "x = " + "pypi-AgEI" + base36 + base36, "PyPI token"},
		{".npmrc", "//r.test/:_x=" + "npm_" + base36, "npm token"},
		{"", `k = "` + "sk_live_" + base36[:24] + `"`, "Stripe key"},
		{"", `t = "` + jwt(`{"alg":"HS256","typ":"JWT"}`) + `"`, "JSON web token"},
		{"", `h = {"Authorization": "Bearer ` + hex40 + `"}`, "authorization header"},
		{"", `c = "Server=db;Database=x;` + "Password=" + `S3cr!tPa55x;"`, "connection string with a password"},

		{"", `u = "https://ann:` + "t0psEcr3t" + `@git.test/x"`, "URL with a password"},
		{"", `u = "https://` + base36 + `@pypi.test/simple"`, "URL with a token"},
		{"", `dsn = "postgresql+psycopg2://ann:` + "t0psEcr3t" + `@db/x"`, "database URL with a password"},
		{"", `r = "redis://:` + "t0psEcr3t" + `@cache:6379/0"`, "database URL with a password"},
		{"", `m = "mongodb+srv://ann:` + "t0psEcr3t" + `@db.test"`, "database URL with a password"},

		{"", `password = "` + "hunter2!Xyz" + `"`, "password or token"},
		{"", `password: str = '` + "hunter2!Xyz" + `'`, "password or token"},
		{"", `connect(user="ann", passwd="` + "hunter2!Xyz" + `")`, "password or token"},
		{"", `os.environ["WANDB_API_KEY"] = "` + hex40 + `"`, "password or token"},
		{"", `k = os.getenv("MY_TOKEN", "` + base36 + `")`, "password or token"},
		{"", `wandb.login(key="` + hex40 + `")`, "password or token"},
		{"", `SECRET_KEY = "` + hex64 + `"`, "password or token"},
		{"", `{"apiKey": "` + base36 + `"}`, "password or token"},
		{"", `heroku_api_key = "0a1b2c3d-4e5f-6789-` + `abcd-ef0123456789"`, "password or token"},
		{"x.R", `api_key <- "` + base36 + `"`, "password or token"},
		{"x.yaml", `api_key: "` + base36 + `"`, "password or token"},
		{"x.yaml", `password: ` + "hunter2!Xyz", "password or token"},
		{".env", `DB_PASSWORD=` + "hunter2!Xyz", "password or token"},
		{"run.sh", `export COMET_API_KEY=` + base36 + ` # mine`, "password or token"},
		{"x.ipynb", `    "%env WANDB_API_KEY=` + hex40 + `\n",`, "password or token"},
		{"x.ipynb", `    "api_key = \"` + base36 + `\"\n",`, "password or token"},
		{"x.ipynb", `    "url = \"https://ann:` + "t0psEcr3t" + `@git.test/x\"\n",`, "URL with a password"},
		{"x.ipynb", `    "print(1)\n` + "ghp_" + base36 + `\n",`, "GitHub token"},
	}
	covered := map[string]bool{}
	for _, tt := range tests {
		name := tt.name
		if name == "" {
			name = "x.py"
		}
		got := FindSecrets(name, []byte("first = 1\n"+tt.content))
		if len(got) != 1 || got[0].Kind != tt.want || got[0].Line != 2 || got[0].File != name {
			t.Errorf("%s: %s\n got %v, want %s in line 2", name, tt.content, got, tt.want)
		}
		covered[tt.want] = true

		// The same in a patch, whatever the marker.
		for _, marker := range []string{"+", "-", " "} {
			patch := "diff --git a/src/" + name + " b/src/" + name + "\n@@ -1 +1 @@\n" + marker + strings.ReplaceAll(tt.content, "\n", "\n"+marker)
			got := FindSecrets("capture/changes.patch", []byte(patch))
			if len(got) != 1 || got[0].Kind != tt.want || got[0].Line != 3 || got[0].Path != "src/"+name {
				t.Errorf("patch, %q: %s\n got %v, want %s in line 3", marker, tt.content, got, tt.want)
			}
		}
	}
	for _, r := range keyRules {
		if !covered[r.kind] {
			t.Errorf("no test finds a %s", r.kind)
		}
	}
}

func TestFindSecretsBenign(t *testing.T) {
	tests := []struct{ name, content string }{
		{"x.py", `digest = "sha256:` + hex64 + `"`},
		{"x.py", `commit = "` + hex40 + `"`},
		{"x.py", `cache_token = "sha256:` + hex64 + `"`},
		{"requirements.txt", "numpy==1.26.4 --hash=sha256:" + hex64 + " \\\n    --hash=sha256:" + hex64},
		{"requirements.txt", "pkg @ git+https://git.test/x/pkg@" + hex40},
		{"uv.lock", `wheels = [{ url = "https://files.test/packages/` + hex40 + `/numpy-1.26.4-cp312-cp312-manylinux_2_17_x86_64.whl", hash = "sha256:` + hex64 + `", size = 18 }]`},
		{"poetry.lock", `content-hash = "` + hex64 + `"`},
		{"go.sum", "golang.org/x/mod v0.42.0 h1:" + base36 + "AbCdEf=="},
		{"x.yaml", "image: registry.test/train@sha256:" + hex64},
		{"changes.patch", "diff --git a/x b/x\nindex " + hex40 + ".." + hex40 + " 100644\n--- a/x\n+++ b/x\n-Subproject commit " + hex40},

		{"x.py", `password = os.environ["DB_PASSWORD"]`},
		{"x.py", `password = getpass.getpass("Password: ")`},
		{"x.py", `api_key = settings.openai_api_key2024`},
		{"x.py", `token = tokenizer.convert_tokens_to_ids("<|endoftext_0001|>")`},
		{"x.py", `parser.add_argument("--password", help="the password of the database, see README2.md")`},
		{"x.py", `password="your-password-here-123"`},
		{"x.py", `API_KEY = "<YOUR_API_KEY_GOES_HERE_2024>"`},
		{"x.py", `token = "${CI_JOB_TOKEN_0123456789abcdef}"`},
		{"x.py", `token = "ghp_` + strings.Repeat("x", 36) + `"`},
		{"x.py", `key = "` + "AKIA" + `IOSFODNN7EXAMPLE"`},
		{"x.py", `secret = "` + "wJalrXUtnFEMI/K7MDENG/" + `bPxRfiCYEXAMPLEKEY"`},
		{"x.py", `pad_token = "<|finetune_right_pad_id_0|>"`},
		{"x.py", `unk_token="[UNK]", mask_token="[MASK]", sep_token="[SEP]"`},
		{"tokenizer_config.json", `"eos_token": "<|reserved_special_token_128001|>",`},
		{"x.py", `names = ["password", "remember_me_for_2_weeks", "token", "attention_mask_0123"]`},
		{"x.py", `if "-----BEGIN RSA PRIVATE` + ` KEY-----" in text:` + "\n    raise ValueError"},
		{"x.py", `conn = "postgresql://user:password@localhost/db"`},
		{"x.py", `conn = "postgresql://postgres:postgres@localhost/db"`},
		{"x.py", `conn = f"postgresql://{user}:{password}@{host}/db"`},
		{"x.sh", `git clone https://oauth2:$TOKEN@git.test/x`},
		{"x.sh", `export API_TOKEN=$(cat /run/secrets/token)`},
		{"x.yaml", "password: ${DB_PASSWORD}"},
		{"x.yaml", "password: /run/secrets/db_password_1"},
		{"x.yaml", "secretName: train-secret-0123456789abcdef"},
		{"x.yaml", "secret: my-kubernetes-secret-v1"},
		{"x.yaml", "token: ${{ secrets.GITHUB_TOKEN }}"},
		{"x.md", "see https://blog.test/@ann/a-long-story-0123456789abcdef0123"},
		{"x.md", "reach me: git@git.test:ann/repo.git or ssh://git@git.test:2222/ann/repo"},
		{"x.ipynb", `<div class=\"sk-top-container sk-estimator-doc-link-0123456789\"><input class=\"sk-toggleable__control sk-hidden--visually\" id=\"sk-estimator-id-1\">`},
		{"x.ipynb", `  "id": "0a1b2c3d-4e5f-6789-abcd-ef0123456789", "model_id": "` + hex40[:32] + `"`},
		{"x.py", `r = requests.get("https://ann:` + "t0psEcr3t" + `@example.com/x")`},
		{"x.json", `"clientRequestToken": "0a1b2c3d-4e5f-6789-abcd-ef0123456789"`},
		{"x.json", `"key": "-----BEGIN DSA PRIVATE` + ` KEY-----<the key>-----END DSA PRIVATE KEY-----"` + "\n" + hex64},
		{"x.py", `tokenizer_key = "bert-base-uncased-2018-10-18"; primary_key = "customer_id_0123456789ab"`},
	}
	for _, tt := range tests {
		if got := FindSecrets(tt.name, []byte(tt.content)); len(got) != 0 {
			t.Errorf("%s: %s\n got %v, want none", tt.name, tt.content, got)
		}
	}
}

// imageNotebook is a notebook with images of n bytes in all, from a fixed seed.
func imageNotebook(n int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	var b strings.Builder
	for b.Len() < n {
		png := make([]byte, 60_000)
		random.Read(png)
		fmt.Fprintf(&b, "     \"image/png\": \"%s\\n\",\n", base64.StdEncoding.EncodeToString(png))
	}
	return []byte(b.String())
}

func TestFindSecretsImages(t *testing.T) {
	if got := FindSecrets("x.ipynb", imageNotebook(4<<20)); len(got) != 0 {
		t.Errorf("in random images: %v", got)
	}
	lines := append(imageNotebook(100_000), []byte(`"token = '`+"ghp_"+base36+`'"`)...)
	if got := FindSecrets("x.ipynb", lines); len(got) != 1 {
		t.Errorf("after images: got %v, want one finding", got)
	}
}

func TestFindingHidesSecret(t *testing.T) {
	f := FindSecrets("capture/changes.patch", []byte("diff --git a/t.py b/t.py\n+token = '"+"ghp_"+base36+"'"))
	want := "capture/changes.patch:2 (t.py): GitHub token"
	if len(f) != 1 || f[0].String() != want {
		t.Fatalf("got %v, want %s", f, want)
	}
	if s := fmt.Sprintf("%#v", f); strings.Contains(s, base36[:8]) {
		t.Errorf("the finding holds the secret: %s", s)
	}
}

func TestRedactRequirement(t *testing.T) {
	tests := []struct{ in, want string }{
		{"numpy==1.26.4", "numpy==1.26.4"},
		{"numpy==1.26.4 --hash=sha256:" + hex64, "numpy==1.26.4 --hash=sha256:" + hex64},
		{"--index-url https://ann:s3cret@pypi.test/simple", "--index-url https://pypi.test/simple"},
		{"--extra-index-url=https://s3cret@pypi.test/simple/  # ours", "--extra-index-url=https://pypi.test/simple/  # ours"},
		{"pkg @ https://s3cret@files.test/pkg.whl?token=s3cret&v=1#sha256=ab ; python_version<'3.13'", "pkg @ https://files.test/pkg.whl?v=1#sha256=ab ; python_version<'3.13'"},
		{"pkg @ git+https://oauth2:s3cret@git.test/x/pkg@v1.2#egg=pkg", "pkg @ git+https://git.test/x/pkg@v1.2#egg=pkg"},
		{"pkg @ git+ssh://git@git.test/x/pkg@v1.2", "pkg @ git+ssh://git@git.test/x/pkg@v1.2"},
		{"pkg @ git+ssh://git:s3cret@git.test/x/pkg", "pkg @ git+ssh://git.test/x/pkg"},
		{"-i https://${USER}:${PASS}@pypi.test/simple", "-i https://pypi.test/simple"},
		{"--proxy ann:s3cret@proxy.test:3128", "--proxy proxy.test:3128"},
		{"--find-links https://a.test/x,https://ann:s3cret@b.test/y", "--find-links https://a.test/x,https://b.test/y"},
		{"x https://a.test/?next=https://ann:s3cret@b.test/&token=s3cret", "x https://a.test/?next=https://b.test/"},
		{"https://ann:p/s3cret@pypi.test/simple", "https://pypi.test/simple"},
		{"https://ann:p#s3cret@pypi.test/simple", "https://pypi.test/simple"},
		{"https://ann:p@s3cret@pypi.test/simple", "https://pypi.test/simple"},
		{"https://pypi.test:8443/a@b/simple", "https://pypi.test:8443/a@b/simple"},
		{`source = { registry = "https://ann:s3cret@pypi.test/simple" }`, `source = { registry = "https://pypi.test/simple" }`},
		{`{"url": "https://s3cret@pypi.test/simple", "verify_ssl": true}`, `{"url": "https://pypi.test/simple", "verify_ssl": true}`},
		{"https://ann:s3cret@" + strings.Repeat("a", 3000), "https://(removed)"},
	}
	for _, tt := range tests {
		got := RedactRequirement(tt.in)
		if got != tt.want {
			t.Errorf("RedactRequirement(%q)\n got %q\nwant %q", tt.in, got, tt.want)
		}
		if again := RedactRequirement(got); again != got {
			t.Errorf("a second time, %q becomes %q", got, again)
		}
	}
}

func TestSafeURI(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://git.test/x/y.git", "https://git.test/x/y.git"},
		{"https://ann:s3cret@git.test/x/y.git", "https://git.test/x/y.git"},
		{"https://gitlab-ci-token:s3cret@git.test/x/y.git\n", "https://git.test/x/y.git"},
		{"https://s3cret@git.test/x/y.git", "https://git.test/x/y.git"},
		{"https://ann:s3'c\"r et@git.test/x", "https://git.test/x"},
		{"ssh://git@git.test:2222/x", "ssh://git@git.test:2222/x"},
		{"ssh://ann:s3cret@git.test/x", "ssh://git.test/x"},
		{"git@git.test:x/y.git", "git@git.test:x/y.git"},
		{"s3cret@git.test:x/y.git", "git.test:x/y.git"},
		{"ann:s3cret@git.test:x/y.git", "git.test:x/y.git"},
		{"https:/ann:s3cret@git.test/x", "https:/git.test/x"},
		{"codecommit::eu-west-1://s3cret@repo", "codecommit::eu-west-1://repo"},
		{"/srv/git/x.git", "/srv/git/x.git"},
		{"../a@b/x", "../a@b/x"},
		{`C:\src\x`, `C:\src\x`},
		{"https://git.test/x?private_token=s3cret", "https://git.test/x"},
		{"https://git.test/" + "ghp_" + base36 + "/x", ""},
		{"https://git.test/\x00", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := safeURI(tt.in); string(got) != tt.want {
			t.Errorf("safeURI(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	tests := []struct{ in, want string }{
		{" main\n", "main"},
		{"a\x00b\xff", "a b"},
		{"see https://ann:s3cret@git.test/x now", "see https://git.test/x now"},
		{"ghp_" + base36, ""},
		{strings.Repeat("é", 2000), strings.Repeat("é", maxText)},
	}
	for _, tt := range tests {
		if got := text(tt.in); got != tt.want {
			t.Errorf("text(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzRedactRequirement(f *testing.F) {
	f.Add("--index-url ", "ann", "pa/ss")
	f.Add("pkg @ git+", "x://y", "@:@")
	f.Fuzz(func(t *testing.T, before, user, password string) {
		const secret = "t0psEcr3tZQ"
		if strings.ContainsAny(user+password, urlEnds+"\r\n\x00") || strings.ContainsAny(user, "/?#[") || !slices.Contains([]string{"--index-url ", "pkg @ git+", "-f ", ""}, before) {
			t.Skip()
		}
		line := before + "https://" + user + ":" + secret + password + "@pypi.test/simple"
		if got := RedactRequirement(line); strings.Contains(got, secret) {
			t.Errorf("RedactRequirement(%q) = %q", line, got)
		}
	})
}

func FuzzFindSecrets(f *testing.F) {
	f.Add("x.patch", []byte("diff --git a/x b/x\n+token = 'abc'\n"))
	f.Add("x.ipynb", []byte(`"a = \"b\"\n"`))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		lines := strings.Count(string(content), "\n") + 1
		for _, finding := range FindSecrets(name, content) {
			if finding.Line < 1 || finding.Line > lines || finding.File != name || finding.Kind == "" {
				t.Errorf("%+v in %d lines", finding, lines)
			}
		}
	})
}

func BenchmarkFindSecrets(b *testing.B) {
	content := imageNotebook(500_000)
	for range 10_000 {
		content = append(content, "    \"model.fit(x_train, y_train, key=other_tokens['password'])\\n\",\n"...)
	}
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		FindSecrets("x.ipynb", content)
	}
}
