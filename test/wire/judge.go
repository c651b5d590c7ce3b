package wire

import (
	"fmt"
	"slices"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/test/oracle"
)

// A Play is one performance of a script on one host.
type Play struct {
	*oracle.Run
	Host Host
	Nth  int    // no other performance on the host has the same
	sent []Sent // before the last Step
}

// Step waits until the host has done with everything, and writes down what it sent.
func (p *Play) Step() {
	p.Host.Settle()
	p.sent = p.Host.Sent()
	for _, l := range Describe(p.sent) {
		p.Logf("%s", l)
	}
}

// Latest returns the IP datagram that the host sent latest before the last Step,
// nil if it sent none.
func (p *Play) Latest() (device int, datagram []byte) {
	for _, s := range slices.Backward(p.sent) {
		if ether.Header(s.Frame).Type() == ether.TypeIPv4 {
			return s.Device, s.Frame[14:]
		}
	}
	return 0, nil
}

// A Judge compares two hosts.
type Judge struct {
	Linux, Ours Host
	Calls       int // lines that were compared
	// Uncounted leaves out the counters, where a host has two stacks that count apart.
	Uncounted bool
	nth       int
}

// compared are the counters that both hosts keep.
var compared = []string{
	"IpInHdrErrors", "IpInAddrErrors", "IpInUnknownProtos", "IpInDelivers", "IpOutRequests",
	"IpReasmReqds", "IpReasmOKs", "IpReasmFails", "IpReasmTimeout", "IpExtReasmOverlaps", "IpFragOKs", "IpFragFails", "IpFragCreates",
	"IpExtInMcastPkts", "IpExtInBcastPkts",
	"IcmpInMsgs", "IcmpInErrors", "IcmpInCsumErrors", "IcmpInDestUnreachs", "IcmpInTimeExcds", "IcmpInParmProbs",
	"IcmpInRedirects", "IcmpInEchos", "IcmpInEchoReps", "IcmpInTimestamps",
	"IcmpOutMsgs", "IcmpOutDestUnreachs", "IcmpOutTimeExcds", "IcmpOutParmProbs", icmpOutReps,
	"UdpInDatagrams", "UdpNoPorts", "UdpInErrors", "UdpOutDatagrams", "UdpInCsumErrors", "UdpIgnoredMulti",
}

// icmpOutReps is the sum of two counters: Linux 6.18 counts timestamp replies as echo
// replies.
const icmpOutReps = "IcmpOutEchoReps and IcmpOutTimestampReps"

// Count returns a host's counters, with those summed that hosts count apart.
func Count(h Host) map[string]uint64 {
	c := h.Counters()
	c[icmpOutReps] = c["IcmpOutEchoReps"] + c["IcmpOutTimestampReps"]
	return c
}

// Counted writes down by how much the counters that both hosts keep differ between
// two calls of Count.
func Counted(before, after map[string]uint64) (lines []string) {
	for _, c := range compared {
		if after[c] != before[c] {
			lines = append(lines, fmt.Sprintf("  %s +%d", c, after[c]-before[c]))
		}
	}
	return lines
}

// play performs a script on a host, and returns what it wrote, counters at the end.
func play(h Host, nth int, script func(*Play)) []string {
	lines, counted := perform(h, nth, script)
	return append(lines, counted...)
}

// perform is play with the counters apart.
func perform(h Host, nth int, script func(*Play)) (lines, counted []string) {
	p := &Play{Host: h, Nth: nth}
	p.Run = oracle.NewRun(h, top, p.Step)
	h.Settle()
	h.Sent()
	before := Count(h)
	script(p)
	p.Step()
	after := Count(h)
	p.End()
	h.Settle()
	h.Sent()
	return p.Lines(), Counted(before, after)
}

// Compare performs a script on both hosts, and returns how they differ, "" if they
// do not.
func (j *Judge) Compare(script func(*Play)) string {
	var diff string
	for range 2 { // a machine under load may have been slow at what is expected at once
		j.nth++
		linux, linuxCounted := perform(j.Linux, j.nth, script)
		ours, oursCounted := perform(j.Ours, j.nth, script)
		if !j.Uncounted {
			linux, ours = append(linux, linuxCounted...), append(ours, oursCounted...)
		}
		j.Calls += len(linux)
		if diff = oracle.Diff(linux, ours); diff == "" {
			return ""
		}
	}
	return diff
}
