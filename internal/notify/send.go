package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// message is one request that is ready to be sent.
type message struct {
	url    string
	header http.Header
	body   []byte
}

// sender makes requests to receivers.
type sender struct {
	receivers pedigree.Receivers
	timeout   time.Duration
	now       func() time.Time
	agent     string
}

// send makes one request and says what became of it. Everything about the receiver is new
// each time: its name is looked up again, and the address that is dialled is checked, so
// that a name that came to stand for something else leads nowhere.
func (s *sender) send(ctx context.Context, m message) pedigree.Attempt {
	begin := s.now()
	a := s.try(ctx, m)
	a.At, a.Duration = begin, float64(s.now().Sub(begin).Microseconds())/1000
	return a
}

func (s *sender) try(ctx context.Context, m message) (a pedigree.Attempt) {
	u, err := s.receivers.CheckURL(m.url)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(m.body))
	if err != nil {
		a.Error = err.Error()
		return a
	}
	req.Header = m.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.agent)
	client := s.client(u)
	resp, err := client.Do(req)
	if err != nil {
		a.Error = s.explain(err)
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, pedigree.MaxAnswer))
	a.Status, a.Answer = resp.StatusCode, strings.ReplaceAll(strings.ToValidUTF8(string(answer), "�"), "\x00", "�")
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		a.Error = fmt.Sprintf("the receiver answered %s; redirects are not followed", resp.Status)
	default:
		a.Error = "the receiver answered " + resp.Status
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds < 1<<20 {
		a.RetryAfter = time.Duration(seconds) * time.Second
	}
	return a
}

// client is one for a single request: no connection is kept, no redirect followed, and no
// proxy used, behind which nobody could say what is dialled.
func (s *sender) client(u *url.URL) *http.Client {
	dialer := &net.Dialer{
		Timeout: s.timeout,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return s.receivers.CheckAddr(u, at.Addr())
		},
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			DisableKeepAlives:      true,
			TLSHandshakeTimeout:    s.timeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// explain says why no answer came, in a sentence without the URL, which stands beside it.
func (s *sender) explain(err error) string {
	var own *pedigree.Error
	if errors.As(err, &own) {
		return own.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("the receiver did not answer within %s", s.timeout)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	text := err.Error()
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "")
	}
	return strings.ToValidUTF8(text, "�")
}

// unreachable says that an attempt failed since the receiver could not be reached, or said
// that it is not there for anybody now.
func unreachable(a *pedigree.Attempt) bool {
	return a.Error != "" && (a.Status == 0 || a.Status == http.StatusTooManyRequests || a.Status >= 502)
}
