package stack

import (
	"strings"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/igmp"
)

// A counter is the place of one counter in a stack's statistics. The names are
// nstat(8)'s where Linux has the counter (RFC 1213, RFC 4293, RFC 4113); ours
// start with "Outband" and each names one cause of a drop, or one event.
type counter int

const (
	ipInReceives counter = iota
	ipInHdrErrors
	ipInAddrErrors
	ipInTruncatedPkts
	ipInUnknownProtos
	ipInDiscards
	ipInDelivers
	ipInOctets
	ipInBcastPkts
	ipInMcastPkts
	ipInCsumErrors
	ipOutRequests
	ipOutDiscards
	ipOutNoRoutes
	ipReasmTimeout
	ipReasmReqds
	ipReasmOKs
	ipReasmFails
	ipReasmOverlaps
	reasmDuplicates
	reasmEvicted
	reasmRestarted
	ipFragOKs
	ipFragFails
	ipFragCreates
	icmpInMsgs
	icmpInErrors
	icmpInCsumErrors
	icmpInDestUnreachs
	icmpInTimeExcds
	icmpInParmProbs
	icmpInRedirects
	icmpInEchos
	icmpInEchoReps
	icmpInTimestamps
	icmpInOther
	icmpInDelivers
	icmpRcvbufErrors
	icmpOutMsgs
	icmpOutRateLimited
	icmpOutDestUnreachs
	icmpOutTimeExcds
	icmpOutParmProbs
	icmpOutEchos
	icmpOutEchoReps
	icmpOutTimestampReps
	igmpInMsgs
	igmpOutMsgs
	udpInDatagrams
	udpNoPorts
	udpInErrors
	udpOutDatagrams
	udpRcvbufErrors
	udpSndbufErrors
	udpInCsumErrors
	udpIgnoredMulti
	rawInDatagrams
	rawRcvbufErrors
	packetInFrames
	packetRcvbufErrors
	otherSndbufErrors
	dropShortFrame
	dropTruncatedFrame
	dropVLAN
	dropOtherHost
	dropEtherType
	dropNoMember
	dropMartianSource
	dropMartianDestination
	dropOwnSource
	dropOptions
	dropForward
	dropFragment
	dropICMPUnvalidated
	dropNeighbourQueue
	dropNeighbourFailed
	dropLinkError
	dropGSO
	txTimeScheduled
	dropTxTimeInvalid
	dropTxTimeMissed
	dropTxTimeFull
	arpIn
	arpOut
	arpConflicts
	eventsLost
	errorsLost
	receiveMemoryFull
	dropTxTimeClosed
	dropFilter
	numCounters
)

// counterNames are the names under which the counters are shown.
var counterNames = [numCounters]string{
	ipInReceives:           "IpInReceives",
	ipInHdrErrors:          "IpInHdrErrors",
	ipInAddrErrors:         "IpInAddrErrors",
	ipInTruncatedPkts:      "IpExtInTruncatedPkts",
	ipInUnknownProtos:      "IpInUnknownProtos",
	ipInDiscards:           "IpInDiscards",
	ipInDelivers:           "IpInDelivers",
	ipInOctets:             "IpExtInOctets",
	ipInBcastPkts:          "IpExtInBcastPkts",
	ipInMcastPkts:          "IpExtInMcastPkts",
	ipInCsumErrors:         "IpExtInCsumErrors",
	ipOutRequests:          "IpOutRequests",
	ipOutDiscards:          "IpOutDiscards",
	ipOutNoRoutes:          "IpOutNoRoutes",
	ipReasmTimeout:         "IpReasmTimeout",
	ipReasmReqds:           "IpReasmReqds",
	ipReasmOKs:             "IpReasmOKs",
	ipReasmFails:           "IpReasmFails",
	ipReasmOverlaps:        "IpExtReasmOverlaps",
	reasmDuplicates:        "OutbandReasmDuplicates",
	reasmEvicted:           "OutbandReasmEvicted",
	reasmRestarted:         "OutbandReasmRestarted",
	ipFragOKs:              "IpFragOKs",
	ipFragFails:            "IpFragFails",
	ipFragCreates:          "IpFragCreates",
	icmpInMsgs:             "IcmpInMsgs",
	icmpInErrors:           "IcmpInErrors",
	icmpInCsumErrors:       "IcmpInCsumErrors",
	icmpInDestUnreachs:     "IcmpInDestUnreachs",
	icmpInTimeExcds:        "IcmpInTimeExcds",
	icmpInParmProbs:        "IcmpInParmProbs",
	icmpInRedirects:        "IcmpInRedirects",
	icmpInEchos:            "IcmpInEchos",
	icmpInEchoReps:         "IcmpInEchoReps",
	icmpInTimestamps:       "IcmpInTimestamps",
	icmpInOther:            "OutbandIcmpInOther",
	icmpInDelivers:         "OutbandPingInDatagrams",
	icmpRcvbufErrors:       "OutbandPingRcvbufErrors",
	icmpOutMsgs:            "IcmpOutMsgs",
	icmpOutRateLimited:     "IcmpOutRateLimitHost",
	icmpOutDestUnreachs:    "IcmpOutDestUnreachs",
	icmpOutTimeExcds:       "IcmpOutTimeExcds",
	icmpOutParmProbs:       "IcmpOutParmProbs",
	icmpOutEchos:           "IcmpOutEchos",
	icmpOutEchoReps:        "IcmpOutEchoReps",
	igmpInMsgs:             "OutbandIgmpInMsgs",
	igmpOutMsgs:            "OutbandIgmpOutMsgs",
	icmpOutTimestampReps:   "IcmpOutTimestampReps",
	udpInDatagrams:         "UdpInDatagrams",
	udpNoPorts:             "UdpNoPorts",
	udpInErrors:            "UdpInErrors",
	udpOutDatagrams:        "UdpOutDatagrams",
	udpRcvbufErrors:        "UdpRcvbufErrors",
	udpSndbufErrors:        "UdpSndbufErrors",
	udpInCsumErrors:        "UdpInCsumErrors",
	udpIgnoredMulti:        "UdpIgnoredMulti",
	rawInDatagrams:         "OutbandRawInDatagrams",
	rawRcvbufErrors:        "OutbandRawRcvbufErrors",
	packetInFrames:         "OutbandPacketInFrames",
	packetRcvbufErrors:     "OutbandPacketRcvbufErrors",
	otherSndbufErrors:      "OutbandSndbufErrors",
	dropShortFrame:         "OutbandDropShortFrame",
	dropTruncatedFrame:     "OutbandDropTruncatedFrame",
	dropVLAN:               "OutbandDropVLAN",
	dropOtherHost:          "OutbandDropOtherHost",
	dropEtherType:          "OutbandDropEtherType",
	dropNoMember:           "OutbandDropNoMember",
	dropMartianSource:      "OutbandDropMartianSource",
	dropMartianDestination: "OutbandDropMartianDestination",
	dropOwnSource:          "OutbandDropOwnSource",
	dropOptions:            "OutbandDropOptions",
	dropForward:            "OutbandDropNotOurAddress",
	dropFragment:           "OutbandDropFragment",
	dropICMPUnvalidated:    "OutbandDropICMPUnvalidated",
	dropNeighbourQueue:     "OutbandDropNeighbourQueueFull",
	dropNeighbourFailed:    "OutbandDropNeighbourFailed",
	dropLinkError:          "OutbandDropLinkError",
	dropGSO:                "OutbandDropGSO",
	txTimeScheduled:        "OutbandTxTimeScheduled",
	dropTxTimeInvalid:      "OutbandDropTxTimeInvalid",
	dropTxTimeMissed:       "OutbandDropTxTimeMissed",
	dropTxTimeFull:         "OutbandDropTxTimeQueueFull",
	arpIn:                  "OutbandArpIn",
	arpOut:                 "OutbandArpOut",
	arpConflicts:           "OutbandArpConflicts",
	eventsLost:             "OutbandEventsLost",
	errorsLost:             "OutbandErrorQueueFull",
	receiveMemoryFull:      "OutbandReceiveMemoryFull",
	dropTxTimeClosed:       "OutbandDropTxTimeClosed",
	dropFilter:             "OutbandDropFilter",
}

// counters are the receive side's: plain numbers, guarded by the receive lock.
type counters [numCounters]uint64

// A Counter is one line of the statistics.
type Counter struct {
	Name  string
	Value uint64
}

// Stats is a snapshot of a stack's counters, in a fixed order, each with the
// name that nstat(8) gives it or, for a cause that Linux does not count, one
// that starts with "Outband", or with "Link" if the links count it.
type Stats struct {
	Counters []Counter
}

// Get returns the counter of that name, 0 if there is none.
func (s Stats) Get(name string) uint64 {
	for _, c := range s.Counters {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

// Stats returns the counters as they are now. It waits for the leader to let
// the receive lock go, about a microsecond, and costs the datagrams nothing.
func (s *Stack) Stats() Stats {
	s.lockReceive()
	sum := s.rx.counters
	s.addReassembly(&sum)
	igmps := s.igmpCounters()
	s.unlockReceive()
	s.addTransmitCounters(&sum)
	sum[eventsLost] = s.subscriptions.lost.Load()
	sum[errorsLost] = s.errorsLost.Load()
	sum[receiveMemoryFull] = s.receiveMemory.refused.Load()
	s.schedule.mu.Lock()
	sum[dropTxTimeClosed] = s.schedule.purged
	s.schedule.mu.Unlock()
	out := make([]Counter, numCounters, int(numCounters)+int(arp.NumCauses))
	for i := range out {
		out[i] = Counter{counterNames[i], sum[i]}
	}
	out = append(append(out, s.arpCounters()...), igmps...)
	return Stats{append(out, s.linkCounters()...)}
}

// addReassembly adds what the reassembler counts itself.
func (s *Stack) addReassembly(sum *counters) {
	r := s.reasm.Stats()
	sum[ipReasmReqds] = r.ReasmReqds
	sum[ipReasmOKs] = r.ReasmOKs
	sum[ipReasmFails] = r.ReasmFails
	sum[ipReasmTimeout] = r.ReasmTimeout
	sum[ipReasmOverlaps] = r.ReasmOverlaps
	sum[reasmDuplicates] = r.Duplicates
	sum[reasmEvicted] = r.Evicted
	sum[reasmRestarted] = r.Restarted
}

// arpCounters returns how many ARP packets and requests ended in each cause, of
// all neighbour tables together: "OutbandArpUnsolicited" and so on.
func (s *Stack) arpCounters() []Counter {
	var sum [arp.NumCauses]uint64
	for _, i := range s.net.Load().interfaces {
		i.neighMu.Lock()
		st := i.neigh.Stats()
		i.neighMu.Unlock()
		for c, n := range st.Causes {
			sum[c] += n
		}
	}
	out := make([]Counter, 0, arp.NumCauses)
	for c := arp.CauseNone + 1; c < arp.NumCauses; c++ {
		out = append(out, Counter{"OutbandArp" + camel(c.String()), sum[c]})
	}
	return out
}

// igmpCounters returns how many IGMP messages ended in each cause, on all interfaces
// together: "OutbandIgmpChecksum" and so on. The receive lock is held.
func (s *Stack) igmpCounters() []Counter {
	var sum [igmp.NumCauses]uint64
	for _, i := range s.net.Load().interfaces {
		st := i.groups.host.Stats()
		for c, n := range st.Causes {
			sum[c] += n
		}
	}
	out := make([]Counter, 0, igmp.NumCauses)
	for c := igmp.CauseNone + 1; c < igmp.NumCauses; c++ {
		out = append(out, Counter{"OutbandIgmp" + camel(c.String()), sum[c]})
	}
	return out
}

// camel joins words as counters' names do: "table full" becomes "TableFull".
func camel(words string) string {
	var b strings.Builder
	for w := range strings.FieldsSeq(words) {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}
