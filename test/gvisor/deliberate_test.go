package gvisor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outband/outband/ipv4"
)

// differences are where the two stacks may differ, and why. Everything else is
// an error.
var differences = []struct {
	why   string
	match func(s step, ours, theirs outcome) bool
}{
	{"netstack answers an echo to a broadcast address; Linux and we do not (icmp_echo_ignore_broadcasts)",
		func(s step, ours, theirs outcome) bool {
			return s.kind == "echo to all" && ours.nothing() && len(theirs.received) == 0
		}},
	{"netstack takes a datagram from its own address; Linux and we drop the martian (RFC 1122, 3.2.1.3)",
		func(s step, ours, theirs outcome) bool {
			return ours.nothing() && s.packets(func(h ipv4.Header) bool { return h.Src() == near })
		}},
	{"netstack answers an ARP request whose sender has a group's MAC; we do not (RFC 1812, 3.3.2)",
		func(s step, ours, theirs outcome) bool {
			return s.kind == "ARP, a bit wrong" && ours.nothing() && s.frames[0][22]&1 != 0
		}},
	{"netstack quotes a reassembled datagram with the first fragment's header checksum; ours is right",
		func(s step, ours, theirs outcome) bool {
			return strings.Contains(s.kind, "fragments") && slices.Equal(ours.received, theirs.received) &&
				slices.Equal(withoutQuotedChecksum(ours.sent), withoutQuotedChecksum(theirs.sent))
		}},
}

// deliberate returns why two outcomes may differ, or "".
func (s step) deliberate(ours, theirs outcome) string {
	for _, d := range differences {
		if d.match(s, ours, theirs) {
			return d.why
		}
	}
	return ""
}

// noteCut notes the identifications of fragments that are not the last, and not a
// multiple of 8 bytes long: netstack drops them, Linux and we keep what is, so that
// only we say when its time is over.
func (s step) noteCut(ids map[string]bool) {
	for _, b := range s.frames {
		if h, body, c := ipv4.Parse(b[14:]); c == ipv4.CauseNone && h.MoreFragments() && len(body)%8 != 0 {
			ids[fmt.Sprintf("%04x", h.ID())] = true
		}
	}
}

// quotedID returns the identification, in hexadecimal, of the datagram that an ICMP
// error of replies is about.
func quotedID(m string) string {
	_, quote, _ := strings.Cut(m, " data ")
	if len(quote) < 12 {
		return ""
	}
	return quote[8:12]
}

// nothing reports whether a step had no effect.
func (o outcome) nothing() bool { return len(o.received)+len(o.sent) == 0 }

// packets reports whether every frame of the step is an IP packet for which f
// returns true.
func (s step) packets(f func(h ipv4.Header) bool) bool {
	for _, b := range s.frames {
		h, _, ok := ipv4.ParseQuoted(b[14:])
		if !ok || !f(h) {
			return false
		}
	}
	return true
}

// withoutQuotedChecksum blots out the checksum of the IP headers that ICMP
// messages quote.
func withoutQuotedChecksum(sent []string) (out []string) {
	for _, s := range sent {
		if at := strings.Index(s, "data 45"); at >= 0 && len(s) > at+29 {
			s = s[:at+25] + "...." + s[at+29:]
		}
		out = append(out, s)
	}
	return out
}
