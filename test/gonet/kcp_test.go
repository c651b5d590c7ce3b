package gonet

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// runKCP sends a stream there and back.
func runKCP(t *testing.T, w *world, client, server *host) {
	l, err := kcp.ServeConn(nil, 0, 0, server.listen(t, 4000))
	check(t, err)
	defer l.Close()
	go func() {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		defer s.Close()
		hurry(s)
		io.Copy(s, s)
	}()
	s, err := kcp.NewConn2(server.port(4000), nil, 0, 0, client.listen(t, 0))
	check(t, err)
	defer s.Close()
	hurry(s)
	check(t, s.SetDeadline(time.Now().Add(patience)))
	data := payload[:size/10]
	back := make([]byte, len(data))
	w.rounds(t, func(int) {
		go s.Write(data)
		_, err = io.ReadFull(s, back)
		check(t, err)
		if !bytes.Equal(back, data) {
			t.Error("what came back is not what was sent")
		}
	})
}

// hurry sets a session up for speed.
func hurry(s *kcp.UDPSession) {
	s.SetNoDelay(1, 10, 2, 1)
	s.SetWindowSize(256, 256)
}
