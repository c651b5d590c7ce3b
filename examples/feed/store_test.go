package main

import (
	"strings"
	"testing"

	"github.com/outband/outband/examples/feed/mold"
)

func TestStoreAnswers(t *testing.T) {
	session := mold.NewSession("DAY")
	s := newStore(session, 100)
	for n := range uint64(150) {
		s.add(n+1, []byte(strings.Repeat("x", 20+int(n))))
	}
	tests := []struct {
		name     string
		session  mold.Session
		sequence uint64
		count    int
		want     int // messages
	}{
		{"one", session, 60, 1, 1},
		{"the oldest", session, 51, 3, 3},
		{"the newest", session, 149, 9, 2},
		{"as many as fit in a packet", session, 101, 40, 11},
		{"none", session, 60, 0, 0},
		{"too old", session, 50, 1, -1},
		{"not sent yet", session, 151, 1, -1},
		{"another session", mold.NewSession("NIGHT"), 60, 1, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packet := s.answer(mold.AppendRequest(nil, tt.session, tt.sequence, tt.count))
			if packet == nil {
				if tt.want >= 0 {
					t.Error("no answer")
				}
				return
			}
			p, err := mold.Parse(packet)
			if err != nil || p.Count != tt.want || p.Sequence != tt.sequence || len(packet) > maxPacket {
				t.Fatalf("%+v, %v", p, err)
			}
			for {
				n, m, ok := p.Message()
				if !ok {
					break
				}
				if len(m) != 19+int(n) {
					t.Errorf("message %d has %d bytes", n, len(m))
				}
			}
		})
	}
	if s.answer([]byte("no request")) != nil {
		t.Error("an answer to what is no request")
	}
}
