package server

import (
	"net"
	"sync"
)

// limitListener bounds the connections that are open at one time. Its connections are
// TCP connections still, so that the kernel sends files without passing them through the
// process, which a wrapper that only has the methods of [net.Conn] prevents.
type limitListener struct {
	*net.TCPListener
	slots chan struct{}
}

func limit(l *net.TCPListener, n int) *limitListener {
	return &limitListener{TCPListener: l, slots: make(chan struct{}, n)}
}

// Accept waits for a slot and a connection.
func (l *limitListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{TCPConn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// limitedConn gives its slot back when it is closed.
type limitedConn struct {
	*net.TCPConn
	release func()
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
