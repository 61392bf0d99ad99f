package server

import (
	"io"
	"net"
	"testing"
)

// TestConnectionLimit: a connection beyond the limit waits until one is closed, and a
// connection is a TCP connection still, so that files go out by sendfile.
func TestConnectionLimit(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(raw.(*net.TCPListener), 1)
	defer l.Close()
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	if _, ok := first.(io.ReaderFrom); !ok {
		t.Error("the connection hides ReadFrom: files would pass through the process")
	}
	select {
	case <-accepted:
		t.Fatal("the second connection did not wait")
	default:
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if second := <-accepted; second == nil {
		t.Fatal("the second connection was never accepted")
	}
}
