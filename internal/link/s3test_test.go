package link

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// gateway is a real S3 server.
type gateway struct {
	endpoint    string // http://host:port
	id, secret  string
	client      *minio.Client
	environment environ
}

// mustGateway returns a real S3 server: the one that PEDIGREE_TEST_S3 names, as
// http://KEY:SECRET@host:port, or else versitygw, from the PATH or from GOBIN, started
// for this test on a folder. Where there is neither the test is skipped; in CI it fails.
func mustGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{}
	if s := os.Getenv("PEDIGREE_TEST_S3"); s != "" {
		u, err := url.Parse(s)
		if err != nil || u.User == nil {
			t.Fatal("PEDIGREE_TEST_S3 must be http://KEY:SECRET@host:port")
		}
		g.id = u.User.Username()
		g.secret, _ = u.User.Password()
		g.endpoint = u.Scheme + "://" + u.Host
	} else {
		program := findGateway()
		if program == "" {
			const missing = "no S3 server: set PEDIGREE_TEST_S3, or go install github.com/versity/versitygw/cmd/versitygw@v1.8.0"
			if os.Getenv("CI") != "" {
				t.Fatal(missing)
			}
			t.Skip(missing)
		}
		startGateway(t, g, program)
	}
	u, err := url.Parse(g.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g.client, err = minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(g.id, g.secret, ""), Secure: u.Scheme == "https", Region: "us-east-1",
		BucketLookup: minio.BucketLookupPath, TrailingHeaders: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.environment = environ{"AWS_ENDPOINT_URL_S3": g.endpoint, "AWS_ACCESS_KEY_ID": g.id, "AWS_SECRET_ACCESS_KEY": g.secret}
	return g
}

func findGateway() string {
	if p, err := exec.LookPath("versitygw"); err == nil {
		return p
	}
	if dir := os.Getenv("GOBIN"); dir != "" {
		name := "versitygw"
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		if p := filepath.Join(dir, name); exec.Command(p, "--version").Run() == nil {
			return p
		}
	}
	return ""
}

// startGateway starts versitygw on a free port and ends it with the test. Somebody else
// may take the port in between; then it is tried again.
func startGateway(t *testing.T, g *gateway, program string) {
	t.Helper()
	g.id, g.secret = "test", "testtest"
	var output []byte
	for range 3 {
		port, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := port.Addr().String()
		_ = port.Close()
		cmd := exec.Command(program, "--port", address, "posix", "--sidecar", t.TempDir(), t.TempDir())
		cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+g.id, "ROOT_SECRET_KEY="+g.secret)
		log, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
			_ = log.Close()
		})
		g.endpoint = "http://" + address
		if answers(g.endpoint, ended) {
			return
		}
		output, _ = os.ReadFile(log.Name())
	}
	t.Fatalf("%s does not answer: %s", program, output)
}

// answers waits until the server answers, with whatever.
func answers(endpoint string, ended <-chan struct{}) bool {
	for range 200 {
		if resp, err := http.Get(endpoint); err == nil {
			_ = resp.Body.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}
