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
	files := make([]string, len(lines)) // which file each line is of
	changed := ""
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case patch && strings.HasPrefix(line, diffHeader):
			changed, line = changedFile(line), ""
		case patch && line != "" && strings.IndexByte("+- ", line[0]) >= 0:
			line = line[1:]
		}
		files[i] = changed
		lines[i] = escapes.Replace(cutRuns(line))
	}
	var found []Finding
	for i, line := range lines {
		code := isCode(name) || patch && isCode(files[i])
		for _, kind := range secretKinds(line, lines[i+1:min(len(lines), i+6)], code) {
			found = append(found, Finding{File: name, Path: files[i], Line: i + 1, Kind: kind})
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
	kind  string
	hints string // texts in lower case, one of which is in every line that can match
	re    *regexp.Regexp
	ok    func(key string) bool // says whether what was found is a key
}

// keyRules in the order in which they are tried. A form without a telling separator
// must not begin or end inside a longer word, so that base64 doesn't match by chance.
var keyRules = []keyRule{
	{"AWS access key", "akia asia", regexp.MustCompile(`(?:^|[^A-Za-z0-9+/])((?:AKIA|ASIA)[A-Z2-7]{16})(?:[^A-Za-z0-9+]|$)`), notExample},
	{"AWS secret key", "key", regexp.MustCompile(`(?i)(?:aws|secret)[a-z0-9_. -]{0,30}key["'\]]*\s*[:=,]\s*["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)`), awsSecret},
	{"GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{36,255})\b`), varied},
	{"GitHub token", "github_pat_", regexp.MustCompile(`\b(github_pat_[A-Za-z0-9_]{60,255})\b`), varied},
	{"GitLab token", "gl", regexp.MustCompile(`\b(gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|imt|agent)-[A-Za-z0-9_.-]{20,})`), varied},
	{"Slack token", "xox", regexp.MustCompile(`\b(xox[abeoprs]-[A-Za-z0-9-]{12,})`), varied},
	{"Slack token", "xapp-", regexp.MustCompile(`\b(xapp-\d-[A-Za-z0-9-]{20,})`), varied},
	{"Slack webhook", "hooks.slack.com", regexp.MustCompile(`(hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{30,})`), varied},
	{"Google API key", "aiza", regexp.MustCompile(`(?:^|[^A-Za-z0-9+/_-])(AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9+/_-]|$)`), varied},
	{"Google OAuth secret", "gocspx-", regexp.MustCompile(`\b(GOCSPX-[A-Za-z0-9_-]{24,})`), varied},
	{"Google access token", "ya29.", regexp.MustCompile(`\b(ya29\.[A-Za-z0-9_-]{30,})`), varied},
	{"Pedigree token", "pdg_", regexp.MustCompile(`\b(pdg_[a-z2-7]{52})\b`), varied},
	{"Hugging Face token", "hf_", regexp.MustCompile(`\b(hf_[A-Za-z0-9]{34,})\b`), varied},
	{"Hugging Face token", "api_org_", regexp.MustCompile(`\b(api_org_[A-Za-z0-9]{34,})\b`), varied},
	{"OpenAI or Anthropic key", "sk-", regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])(sk-(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{20,})`), varied},
	{"OpenAI key", "sk-", regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])(sk-[A-Za-z0-9]{32,})\b`), varied},
	{"Azure account key", "accountkey= sharedaccesskey=", regexp.MustCompile(`(?i)(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,}={0,2})`), varied},
	{"Azure client secret", "q~", regexp.MustCompile(`(?:^|[^A-Za-z0-9_.~-])([A-Za-z0-9_.~-]{3}\dQ~[A-Za-z0-9_.~-]{31,34})(?:[^A-Za-z0-9_.~-]|$)`), varied},
	{"signed URL", "sig= -signature=", regexp.MustCompile(`(?i)[?&](?:sig|X-(?:Amz|Goog)-Signature)=([A-Za-z0-9%/+]{40,})`), varied},
	{"Databricks token", "dapi", regexp.MustCompile(`\b(dapi[0-9a-f]{32})(?:-\d)?\b`), varied},
	{"PyPI token", "pypi-agei", regexp.MustCompile(`\b(pypi-AgEI[A-Za-z0-9_-]{50,})`), varied},
	{"npm token", "npm_", regexp.MustCompile(`\b(npm_[A-Za-z0-9]{36})\b`), varied},
	{"Stripe key", "k_live_", regexp.MustCompile(`\b([rs]k_live_[A-Za-z0-9]{20,})`), varied},
	{"JSON web token", "eyj", regexp.MustCompile(`(?:^|[^A-Za-z0-9_.-])(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})`), jsonWebToken},
	{"authorization header", "bearer basic token", regexp.MustCompile(`(?i)\b(?:Bearer|Basic|Token)\s+([A-Za-z0-9_.~+/=-]{20,})`), looksRandom},
	{"connection string with a password", "password= pwd=", regexp.MustCompile(`(?i)[?&;]\s*(?:password|pwd)=([^&\s"';]{6,})`), passwordLike},
}

var (
	keyBlock  = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(.*)`)
	keyBody   = regexp.MustCompile(`[A-Za-z0-9+/=]{40,}`)
	googleKey = regexp.MustCompile(`"private_key"\s*:\s*"-----BEGIN`)
)

// secretKinds names what a line looks to hold; after is the lines that follow it.
func secretKinds(line string, after []string, code bool) []string {
	var kinds []string
	lower := strings.ToLower(line)
	add := func(kind string) {
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if m := keyBlock.FindStringSubmatch(line); m != nil {
		// The header alone is how programs look for one.
		if keyBody.MatchString(m[1]) || !strings.Contains(m[1], "-----END") && slices.ContainsFunc(after, keyBody.MatchString) {
			if googleKey.MatchString(line) {
				add("Google service account key")
			} else {
				add("private key")
			}
		}
	}
	for _, r := range keyRules {
		if !containsAny(lower, r.hints) {
			continue
		}
		for _, m := range r.re.FindAllStringSubmatch(line, -1) {
			if r.ok(m[1]) {
				add(r.kind)
				break
			}
		}
	}
	if len(kinds) == 0 && strings.Contains(line, "://") {
		for _, m := range userInfo.FindAllStringSubmatch(line, -1) {
			if kind := urlSecret(m[1], m[2], m[3], m[4]); kind != "" {
				add(kind)
			}
		}
	}
	if len(kinds) == 0 && containsAny(lower, "pass pwd secret token key login(") && assigned(line, code) {
		add("password or token")
	}
	return kinds
}

// containsAny says whether one of the words, which spaces separate, is in s.
func containsAny(s, words string) bool {
	for w := range strings.SplitSeq(words, " ") {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
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

// userInfo finds scheme, user, password and host of URLs that have a user.
var userInfo = regexp.MustCompile("(?i)\\b([a-z][a-z0-9+.-]{1,20})://([^\\s:/@\"'<>`]*)(?::([^\\s/@\"'<>`]+))?@([^\\s/\"'<>`]+)")

// urlSecret says what the user info of a URL is: a password, a token in the place of
// the user, or "" for neither.
func urlSecret(scheme, user, password, host string) string {
	switch {
	case exampleHost.MatchString(host):
		return ""
	case password == "" && looksRandom(user):
		return "URL with a token"
	case password == "" || len(password) < 4 || password == user || placeholder(password) || usualPassword[strings.ToLower(password)]:
		return ""
	}
	scheme, _, _ = strings.Cut(strings.ToLower(scheme), "+")
	if slices.Contains([]string{"postgres", "postgresql", "mysql", "mariadb", "mongodb", "redis", "rediss", "mssql", "oracle", "snowflake", "clickhouse", "amqp", "amqps"}, scheme) {
		return "database URL with a password"
	}
	return "URL with a password"
}

// exampleHost is a host that is reserved for documentation.
var exampleHost = regexp.MustCompile(`(?i)(^|\.)example(\.(com|net|org))?(:\d+)?$`)

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
		`(?:\s*:\s*[a-z][a-z |\[\]]{0,20})?\s*(=>|:=|<-|==|[:=,])\s*[rbuf]{0,2}["']([^"'\s]{8,400})["']`)
	// bareValue finds name=value and name: value where they fill the line.
	bareValue = regexp.MustCompile(`(?i)^[\s"']*(?:-\s+)?(?:(!?\s*export|set|%env|%set_env|ENV|ARG)\s+)?["']?([a-z0-9_.-]{0,40}?(` + passwordNames + `|` + tokenNames + `))["']?` +
		`\s*[:=]\s*([^\s"'#;,]{8,400})["',\s]*(?:\s#.*)?$`)
	// loginKey finds wandb.login(key="…") and the like.
	loginKey = regexp.MustCompile(`(?i)\blogin\([^)]*?["']([a-z0-9_-]{32,})["']`)
)

// assigned says whether the line gives a password or a token to a name for one.
func assigned(line string, code bool) bool {
	for _, m := range quotedValue.FindAllStringSubmatch(line, -1) {
		// After a comma, the word may be one of a list: only what is surely random counts.
		if secretValue(m[2], m[4]) && (m[3] != "," || looksRandom(m[4]) || mixed.MatchString(m[4])) {
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
		// A UUID may be a key; as a "token" it rather numbers a request.
		return looksRandom(value) && !(strings.EqualFold(name, "token") && uuid.MatchString(value))
	}
	return passwordLike(value)
}

// passwordLike says whether v is hard enough to guess to be a password.
func passwordLike(v string) bool {
	kinds := classes(v)
	return !placeholder(v) && entropy(v) >= 2.5 && (kinds >= 3 || kinds == 2 && len(v) >= 12 && strings.ContainsAny(v, "0123456789"))
}

// mixed is a digit between capitals, as in no ordinary word.
var mixed = regexp.MustCompile(`[A-Z].*[0-9].*[a-z]|[a-z].*[0-9].*[A-Z]`)

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
	return bareUserInfo.ReplaceAllString(redactURLs(line), "$1")
}

// redactURLs takes the credentials out of every URL in a text.
func redactURLs(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	var b strings.Builder
	for s != "" {
		end := strings.IndexAny(s, urlEnds)
		if end < 0 {
			end = len(s)
		}
		b.WriteString(redactWord(s[:end]))
		if end < len(s) {
			b.WriteByte(s[end])
			end++
		}
		s = s[end:]
	}
	return b.String()
}

// redactWord redacts the URLs in a text without an end of one: mostly a single URL.
// From the right: what one holds inside its query is clean before it is looked at.
func redactWord(s string) string {
	starts := schemeStart.FindAllStringIndex(s, -1)
	if len(starts) > 0 && len(s) > 16*pedigree.MaxURI {
		return s[:starts[0][1]] + "(removed)"
	}
	for i := len(starts) - 1; i >= 0; i-- {
		begin := starts[i][0]
		s = s[:begin] + redactURL(s[begin:])
	}
	return s
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
	u, err := pedigree.ParseSafeURI(brokenUserInfo.ReplaceAllString(s, "$1"))
	if err != nil {
		scheme, _, _ := strings.Cut(s, "://")
		return kind + scheme + "://(removed)"
	}
	return kind + string(u)
}

// brokenUserInfo is user info that holds a "/", "?" or "#" which should have been
// escaped: what looks like a port is no number, and an "@" follows.
var brokenUserInfo = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#@\[]*:[^/?#@]*[^/?#@0-9][^/?#@]*[/?#].*@`)

// safeURI makes a SafeURI of what an environment or a configuration gave: a URL, or
// the short form of ssh, "git@host:path", of which only the account "git" is kept. It
// gives "" for what is none or still looks like a secret.
func safeURI(s string) pedigree.SafeURI {
	s = strings.TrimSpace(s)
	if _, err := pedigree.ParseSafeURI(s); err != nil {
		return ""
	}
	if strings.Contains(s, "://") {
		s = redactURLs(redactURL(s)) // first as a whole: it may hold quotes or spaces
	} else if !strings.HasPrefix(s, "git@") {
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
