package capture

import (
	"encoding/base64"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// Finding is a place that looks like a secret. It never holds the secret itself.
type Finding struct {
	// File is the name of the evidence.
	File string
	// Path is, in a patch, the changed file that the line belongs to.
	Path string
	// Line is the number of the line in File, from 1.
	Line int
	// Kind says what it looks like: "AWS access key".
	Kind string
}

// String is the finding for a person: "capture/changes.patch:17 (train.py): AWS access key".
func (f Finding) String() string {
	where := ""
	if f.Path != "" {
		where = " (" + f.Path + ")"
	}
	return fmt.Sprintf("%s:%d%s: %s", f.File, f.Line, where, f.Kind)
}

// FindSecrets returns the places in content that look like a secret: at most one of a
// kind and line, in the order of the lines. Keys of known services are found by their
// form, passwords and tokens of any service by the name that they are assigned to and
// by how random they look. Digests, commit ids, placeholders and images are none.
//
// The name tells how to read the content: in a *.patch or *.diff, added, removed and
// context lines all count, without their marker; in source code, a value without quotes
// is an expression and no secret.
func FindSecrets(name string, content []byte) []Finding {
	patch := strings.HasSuffix(name, ".patch") || strings.HasSuffix(name, ".diff")
	lines := strings.Split(string(content), "\n")
	changed := ""
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if patch && strings.HasPrefix(line, diffHeader) {
			continue
		}
		if patch && line != "" && strings.IndexByte("+- ", line[0]) >= 0 {
			line = line[1:]
		}
		lines[i] = escapes.Replace(cutRuns(line))
	}
	var found []Finding
	for i, line := range lines {
		if patch && strings.HasPrefix(line, diffHeader) {
			changed = changedFile(line)
			continue
		}
		file := name
		if patch {
			file = changed
		}
		for _, kind := range secretKinds(line, lines[i+1:min(len(lines), i+6)], isCode(file)) {
			found = append(found, Finding{File: name, Path: changed, Line: i + 1, Kind: kind})
		}
	}
	return found
}

// escapes makes the text of a string literal, as in the JSON of a notebook, look like
// the text that it stands for.
var escapes = strings.NewReplacer(`\\n`, " ", `\n`, " ", `\r`, " ", `\t`, " ", `\\"`, `"`, `\"`, `"`, `\'`, `'`, `\/`, `/`)

// isCode says whether an assignment in the file needs quotes around a text.
func isCode(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".py", ".ipynb", ".r", ".rmd", ".qmd", ".jl", ".go", ".js", ".ts", ".java", ".scala", ".rs", ".c", ".cc", ".cpp", ".h":
		return true
	}
	return false
}

// cutRuns shortens long runs of base64, such as images in notebooks: chance puts the
// beginning of some key into every one that is long enough.
func cutRuns(line string) string {
	const longest, kept = 512, 64
	if len(line) <= longest {
		return line
	}
	var b strings.Builder
	start := 0 // of the present run
	flush := func(end int) {
		if end-start > longest {
			b.WriteString(line[start : start+kept])
		} else {
			b.WriteString(line[start:end])
		}
	}
	for i := range len(line) {
		if !base64Byte(line[i]) {
			flush(i)
			b.WriteByte(line[i])
			start = i + 1
		}
	}
	flush(len(line))
	return b.String()
}

func base64Byte(c byte) bool { return isAlnum(c) || c == '+' || c == '/' || c == '=' }

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// keyRule finds the keys of a service by their form. Its first group is the key.
type keyRule struct {
	kind string
	re   *regexp.Regexp
	ok   func(key string) bool // says whether what was found is a key; nil for yes
}

// keyRules in the order in which they are tried. A form without a telling separator
// must not begin or end inside a longer word, so that base64 doesn't match by chance.
var keyRules = []keyRule{
	{"AWS access key", regexp.MustCompile(`(?:^|[^A-Za-z0-9+/])((?:AKIA|ASIA)[A-Z2-7]{16})(?:[^A-Za-z0-9+]|$)`), notExample},
	{"AWS secret key", regexp.MustCompile(`(?i)(?:aws|secret)[a-z0-9_. -]{0,30}key["'\]]*\s*[:=,]\s*["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)`), awsSecret},
	{"GitHub token", regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{36,255})\b`), varied},
	{"GitHub token", regexp.MustCompile(`\b(github_pat_[A-Za-z0-9_]{60,255})\b`), varied},
	{"GitLab token", regexp.MustCompile(`\b(gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|imt|agent)-[A-Za-z0-9_.-]{20,})`), varied},
	{"Slack token", regexp.MustCompile(`\b(xox[abeoprs]-[A-Za-z0-9-]{12,})`), varied},
	{"Slack token", regexp.MustCompile(`\b(xapp-\d-[A-Za-z0-9-]{20,})`), varied},
	{"Slack webhook", regexp.MustCompile(`(hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{30,})`), varied},
	{"Google API key", regexp.MustCompile(`(?:^|[^A-Za-z0-9+/_-])(AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9+/_-]|$)`), varied},
	{"Google OAuth secret", regexp.MustCompile(`\b(GOCSPX-[A-Za-z0-9_-]{24,})`), varied},
	{"Google access token", regexp.MustCompile(`\b(ya29\.[A-Za-z0-9_-]{30,})`), varied},
	{"Hugging Face token", regexp.MustCompile(`\b(hf_[A-Za-z0-9]{34,})\b`), varied},
	{"Hugging Face token", regexp.MustCompile(`\b(api_org_[A-Za-z0-9]{34,})\b`), varied},
	{"OpenAI or Anthropic key", regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])(sk-(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{20,})`), varied},
	{"OpenAI key", regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])(sk-[A-Za-z0-9]{32,})\b`), varied},
	{"Azure account key", regexp.MustCompile(`(?i)((?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2})`), varied},
	{"Azure client secret", regexp.MustCompile(`(?:^|[^A-Za-z0-9_.~-])([A-Za-z0-9_.~-]{3}\dQ~[A-Za-z0-9_.~-]{31,34})(?:[^A-Za-z0-9_.~-]|$)`), varied},
	{"signed URL", regexp.MustCompile(`(?i)[?&]((?:sig=[A-Za-z0-9%/+]{40,}|X-(?:Amz|Goog)-Signature=[0-9a-f]{64,}))`), varied},
	{"Databricks token", regexp.MustCompile(`\b(dapi[0-9a-f]{32})(?:-\d)?\b`), varied},
	{"PyPI token", regexp.MustCompile(`\b(pypi-AgEI[A-Za-z0-9_-]{50,})`), nil},
	{"npm token", regexp.MustCompile(`\b(npm_[A-Za-z0-9]{36})\b`), varied},
	{"Stripe key", regexp.MustCompile(`\b([rs]k_live_[A-Za-z0-9]{20,})`), varied},
	{"JSON web token", regexp.MustCompile(`(?:^|[^A-Za-z0-9_.-])(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})`), jsonWebToken},
}

var (
	keyBlock  = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(.*)`)
	keyBody   = regexp.MustCompile(`[A-Za-z0-9+/=]{40,}`)
	googleKey = regexp.MustCompile(`"private_key"\s*:\s*"-----BEGIN`)
)

// secretKinds names what a line looks to hold; after is the lines that follow it.
func secretKinds(line string, after []string, code bool) []string {
	var kinds []string
	add := func(kind string) {
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if m := keyBlock.FindStringSubmatch(line); m != nil {
		// The header alone is how programs look for one.
		if keyBody.MatchString(m[1]) || slices.ContainsFunc(after, keyBody.MatchString) {
			if googleKey.MatchString(line) {
				add("Google service account key")
			} else {
				add("private key")
			}
		}
	}
	for _, r := range keyRules {
		for _, m := range r.re.FindAllStringSubmatch(line, -1) {
			if r.ok == nil || r.ok(m[1]) {
				add(r.kind)
				break
			}
		}
	}
	if strings.Contains(line, "://") {
		for _, m := range userInfo.FindAllStringSubmatch(line, -1) {
			if kind := urlSecret(m[1], m[2], m[3]); kind != "" {
				add(kind)
			}
		}
	}
	if len(kinds) == 0 && assigned(line, code) {
		add("password or token")
	}
	return kinds
}

func notExample(key string) bool { return !strings.HasSuffix(key, "EXAMPLE") && varied(key) }

func awsSecret(key string) bool {
	return !strings.Contains(key, "EXAMPLE") && entropy(key) > 4 && strings.ToLower(key) != key
}

// varied tells a key from a placeholder such as "ghp_xxxxxxxx".
func varied(key string) bool {
	tail := key[min(len(key), 6):]
	return entropy(tail) >= 2.8 && !strings.Contains(strings.ToLower(tail), "xxxx")
}

// jsonWebToken says whether the header is that of a token.
func jsonWebToken(key string) bool {
	header, _, _ := strings.Cut(key, ".")
	b, err := base64.RawURLEncoding.DecodeString(header)
	return err == nil && strings.Contains(string(b), `"alg"`)
}

// userInfo finds scheme, user and password of URLs that have a user.
var userInfo = regexp.MustCompile("(?i)\\b([a-z][a-z0-9+.-]{1,20})://([^\\s:/@\"'<>`]*)(?::([^\\s/@\"'<>`]+))?@[^\\s/\"'<>`]")

// urlSecret says what the user info of a URL is: a password, a token in the place of
// the user, or "" for neither.
func urlSecret(scheme, user, password string) string {
	switch {
	case password == "" && looksRandom(user):
		return "URL with a token"
	case password == "" || len(password) < 3 || password == user || placeholder(password) || usualPassword[strings.ToLower(password)]:
		return ""
	}
	scheme, _, _ = strings.Cut(strings.ToLower(scheme), "+")
	if slices.Contains([]string{"postgres", "postgresql", "mysql", "mariadb", "mongodb", "redis", "rediss", "mssql", "oracle", "snowflake", "clickhouse", "amqp", "amqps"}, scheme) {
		return "database URL with a password"
	}
	return "URL with a password"
}

// usualPassword are the words that stand for a password in examples.
var usualPassword = map[string]bool{
	"pass": true, "password": true, "passwd": true, "pwd": true, "pw": true, "secret": true, "token": true, "x-oauth-basic": true,
	"user": true, "username": true, "root": true, "admin": true, "guest": true, "test": true, "postgres": true, "mysql": true,
}

const (
	passwordNames = `passw(?:or)?d|passphrase|pwd`
	tokenNames    = `secret|token|api[_-]?key|(?:secret|access|private|account|auth|encryption|signing|subscription)[_-]?key`
)

var (
	// quotedValue finds name = "value", "name": "value", env["name"] = "value",
	// name: str = "value" and get("name", "value").
	quotedValue = regexp.MustCompile(`(?i)(?:^|[^a-z0-9_.-])([a-z0-9_.-]{0,40}?(` + passwordNames + `|` + tokenNames + `))["'\]]*` +
		`(?:\s*:\s*[a-z][a-z |\[\]]{0,20})?\s*(?:=>|:=|<-|==|[:=,])\s*[rbuf]{0,2}["']([^"'\s]{8,400})["']`)
	// bareValue finds name=value and name: value where they fill the line.
	bareValue = regexp.MustCompile(`(?i)^[\s"']*(?:-\s+)?(?:(!?\s*export|set|%env|%set_env|ENV|ARG)\s+)?["']?([a-z0-9_.-]{0,40}?(` + passwordNames + `|` + tokenNames + `))["']?` +
		`\s*[:=]\s*([^\s"'#;,]{8,400})["',\s]*(?:\s#.*)?$`)
	// loginKey finds wandb.login(key="…") and the like.
	loginKey = regexp.MustCompile(`(?i)\blogin\([^)]*?["']([a-z0-9_-]{32,})["']`)
)

// assigned says whether the line gives a password or a token to a name for one.
func assigned(line string, code bool) bool {
	lower := strings.ToLower(line)
	if !slices.ContainsFunc([]string{"pass", "pwd", "secret", "token", "key", "login("}, func(w string) bool { return strings.Contains(lower, w) }) {
		return false
	}
	for _, m := range quotedValue.FindAllStringSubmatch(line, -1) {
		if secretValue(m[2], m[3]) {
			return true
		}
	}
	if m := bareValue.FindStringSubmatch(line); m != nil && (!code || m[1] != "") && !strings.ContainsAny(m[4][:1], "/~.$(<[{") && secretValue(m[3], m[4]) {
		return true
	}
	m := loginKey.FindStringSubmatch(line)
	return m != nil && looksRandom(m[1])
}

// secretValue says whether a value is one, for a name of its kind. A person makes up
// passwords, machines make tokens: the latter must look random.
func secretValue(name, value string) bool {
	if placeholder(value) || usualPassword[strings.ToLower(value)] {
		return false
	}
	if !isPasswordName.MatchString(name) {
		return looksRandom(value)
	}
	kinds := classes(value)
	return (kinds >= 3 || kinds == 2 && len(value) >= 12 && strings.ContainsAny(value, "0123456789")) && entropy(value) >= 2.8
}

var isPasswordName = regexp.MustCompile(`(?i)^(?:` + passwordNames + `)$`)

// placeholders are values that stand for another: variables, templates, examples.
var placeholders = regexp.MustCompile(`(?i)\$[a-z({]|\{[^}]*\}|<[^>]+>|%\(?[a-z_]+[%)]|\*\*\*|\.\.\.|…|x{4}|example|sample|dummy|placeholder|change.?me|your|redacted|insert|replace|todo|fake|mock|environ|getenv`)

// digests name an algorithm before the value.
var digests = regexp.MustCompile(`(?i)^(?:sha\d+|md5|blake\w+|arn|urn)[:-]`)

func placeholder(v string) bool { return placeholders.MatchString(v) || digests.MatchString(v) }

var (
	word = regexp.MustCompile(`[A-Za-z0-9]+`)
	uuid = regexp.MustCompile(`(?i)^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// looksRandom says whether a machine made v: it has a long run of letters and digits
// mixed, as no name has.
func looksRandom(v string) bool {
	if uuid.MatchString(v) {
		return true
	}
	if len(v) < 16 || placeholder(v) {
		return false
	}
	for _, w := range word.FindAllString(v, -1) {
		digits := 0
		for i := range len(w) {
			if w[i] >= '0' && w[i] <= '9' {
				digits++
			}
		}
		if len(w) >= 16 && digits >= 2 && digits < len(w) && entropy(w) >= 3 {
			return true
		}
	}
	return false
}

// classes counts the kinds of characters in v: lower, upper, digit, other.
func classes(v string) int {
	var seen [4]int
	for _, r := range v {
		switch {
		case r >= 'a' && r <= 'z':
			seen[0] = 1
		case r >= 'A' && r <= 'Z':
			seen[1] = 1
		case r >= '0' && r <= '9':
			seen[2] = 1
		default:
			seen[3] = 1
		}
	}
	return seen[0] + seen[1] + seen[2] + seen[3]
}

// entropy is Shannon's, in bits a character.
func entropy(s string) float64 {
	if s == "" {
		return 0
	}
	var count [256]float64
	for i := range len(s) {
		count[s[i]]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := n / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

var (
	schemeStart = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://`)
	// bareUserInfo is "user:password@" where no scheme says that it is one, as in
	// pip's --proxy.
	bareUserInfo = regexp.MustCompile(`(^|[\s=])[^\s/@:="']+:[^\s/@"']+@`)
)

// urlEnds are the characters that end a URL inside a text.
const urlEnds = " \t\"'<>`"

// RedactRequirement returns a line of a requirements or lock file without the
// credentials of its URLs: user info, tokens and signatures in queries. The rest of
// the line stays as it is, so that it still names the same package or index.
func RedactRequirement(line string) string {
	starts := schemeStart.FindAllStringIndex(line, -1)
	// From the right: what one URL holds inside its query is clean before it is looked at.
	for i := len(starts) - 1; i >= 0; i-- {
		begin := starts[i][0]
		end := len(line)
		if n := strings.IndexAny(line[begin:], urlEnds); n >= 0 {
			end = begin + n
		}
		line = line[:begin] + redactURL(line[begin:end]) + line[end:]
	}
	return bareUserInfo.ReplaceAllString(line, "$1")
}

// redactURL is ParseSafeURI for a URL inside a text. One that can't be parsed goes.
func redactURL(s string) string {
	kind := ""
	for _, k := range []string{"git+", "hg+", "svn+", "bzr+"} { // pip's: "git+ssh://git@host/…"
		if rest, ok := strings.CutPrefix(s, k); ok {
			kind, s = k, rest
			break
		}
	}
	u, err := pedigree.ParseSafeURI(s)
	if err != nil {
		scheme, _, _ := strings.Cut(s, "://")
		return kind + scheme + "://(removed)"
	}
	return kind + string(u)
}

// safeURI makes a SafeURI of what an environment or a configuration gave: a URL, or
// the short form of ssh, "git@host:path", of which only the account "git" is kept. It
// gives "" for what is none or still looks like a secret.
func safeURI(s string) pedigree.SafeURI {
	s = RedactRequirement(strings.TrimSpace(s))
	if !strings.Contains(s, "://") && !strings.HasPrefix(s, "git@") {
		// The host is before the first "/"; whatever stands before its "@" goes.
		host, rest, slash := strings.Cut(s, "/")
		s = host[strings.LastIndexByte(host, '@')+1:]
		if slash {
			s += "/" + bareUser.ReplaceAllString(rest, "")
		}
	}
	u, err := pedigree.ParseSafeURI(s)
	if err != nil || len(FindSecrets("", []byte(u))) > 0 {
		return ""
	}
	return u
}

// bareUser is user info in a URL with a broken scheme: "https:/user:token@host".
var bareUser = regexp.MustCompile(`[^/@\s]+:[^/@\s]+@`)
