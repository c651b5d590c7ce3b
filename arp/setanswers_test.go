package arp

import (
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

// elsewhereIP is an address of another interface of the host.
var elsewhereIP = ipv4.Addr{10, 1, 0, 1}

type weakHost struct{}

func (weakHost) Local(ip ipv4.Addr) bool        { return ip == elsewhereIP }
func (weakHost) Source(ipv4.Addr) (a ipv4.Addr) { return a }

// SetAnswers says what is answered for: requests and probes alike.
func TestSetAnswers(t *testing.T) {
	for _, tc := range []struct {
		answers        Answers
		own, elsewhere Cause
	}{
		{AnswerAll, CauseNone, CauseNone},
		{AnswerOwn, CauseNone, CauseIgnored},
		{AnswerNone, CauseIgnored, CauseIgnored},
	} {
		s := newSim(t, func(c *Config) { c.Probe = false })
		s.SetHost(weakHost{})
		s.SetAnswers(tc.answers)
		s.AddAddress(s.now, newIP)
		if n := len(s.run(time.Minute)); n > 0 == (tc.answers == AnswerNone) {
			t.Errorf("%d: %d announcements", tc.answers, n)
		}
		for target, want := range map[ipv4.Addr]Cause{newIP: tc.own, elsewhereIP: tc.elsewhere} {
			for _, sender := range []ipv4.Addr{peerIP, {}} {
				c := s.Input(s.now, packet(OpRequest, peerMAC, sender, [6]byte{}, target), peerMAC)
				if n := len(s.run(time.Second)); c != want || n != map[bool]int{true: 1, false: 0}[want == CauseNone] {
					t.Errorf("%d: from %v for %v: %v and %d packets, want %v", tc.answers, sender, target, c, n, want)
				}
			}
		}
	}
}
