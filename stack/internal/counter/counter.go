// Package counter names what a stack counts.
package counter

// A Kind is the place of a number in a stack's statistics. The names are
// nstat(8)'s where Linux has the counter (RFC 1213, RFC 4293, RFC 4113); ours
// start with "Outband" and each names one cause of a drop, or one event.
type Kind int

const (
	IPInReceives Kind = iota
	IPInHdrErrors
	IPInAddrErrors
	IPInTruncatedPkts
	IPInUnknownProtos
	IPInDiscards
	IPInDelivers
	IPInOctets
	IPInBcastPkts
	IPInMcastPkts
	IPInCsumErrors
	IPOutRequests
	IPOutDiscards
	IPOutNoRoutes
	IPReasmTimeout
	IPReasmReqds
	IPReasmOKs
	IPReasmFails
	IPReasmOverlaps
	ReasmDuplicates
	ReasmEvicted
	ReasmRestarted
	IPFragOKs
	IPFragFails
	IPFragCreates
	ICMPInMsgs
	ICMPInErrors
	ICMPInCsumErrors
	ICMPInDestUnreachs
	ICMPInTimeExcds
	ICMPInParmProbs
	ICMPInRedirects
	ICMPInEchos
	ICMPInEchoReps
	ICMPInTimestamps
	ICMPInOther
	ICMPInDelivers
	ICMPRcvbufErrors
	ICMPOutMsgs
	ICMPOutRateLimited
	ICMPOutDestUnreachs
	ICMPOutTimeExcds
	ICMPOutParmProbs
	ICMPOutEchos
	ICMPOutEchoReps
	ICMPOutTimestampReps
	IGMPInMsgs
	IGMPOutMsgs
	UDPInDatagrams
	UDPNoPorts
	UDPInErrors
	UDPOutDatagrams
	UDPRcvbufErrors
	UDPSndbufErrors
	UDPInCsumErrors
	UDPIgnoredMulti
	RawInDatagrams
	RawRcvbufErrors
	PacketInFrames
	PacketRcvbufErrors
	OtherSndbufErrors
	DropShortFrame
	DropTruncatedFrame
	DropVLAN
	DropOtherHost
	DropEtherType
	DropNoMember
	DropMartianSource
	DropMartianDestination
	DropOwnSource
	DropOptions
	DropForward
	DropFragment
	DropICMPUnvalidated
	DropNeighbourQueue
	DropNeighbourFailed
	DropLinkError
	DropGSO
	TxTimeScheduled
	DropTxTimeInvalid
	DropTxTimeMissed
	DropTxTimeFull
	ARPIn
	ARPOut
	ARPConflicts
	EchoIgnored
	TimestampIgnored
	PortIgnored
	ProtocolIgnored
	BrokenIgnored
	GroupsIgnored
	SentInBand
	EventsLost
	ErrorsLost
	ReceiveMemoryFull
	DropTxTimeClosed
	DropFilter
	DropFault
	Faults
	Num
)

// Names are the names under which the counters are shown.
var Names = [Num]string{
	IPInReceives:           "IpInReceives",
	IPInHdrErrors:          "IpInHdrErrors",
	IPInAddrErrors:         "IpInAddrErrors",
	IPInTruncatedPkts:      "IpExtInTruncatedPkts",
	IPInUnknownProtos:      "IpInUnknownProtos",
	IPInDiscards:           "IpInDiscards",
	IPInDelivers:           "IpInDelivers",
	IPInOctets:             "IpExtInOctets",
	IPInBcastPkts:          "IpExtInBcastPkts",
	IPInMcastPkts:          "IpExtInMcastPkts",
	IPInCsumErrors:         "IpExtInCsumErrors",
	IPOutRequests:          "IpOutRequests",
	IPOutDiscards:          "IpOutDiscards",
	IPOutNoRoutes:          "IpOutNoRoutes",
	IPReasmTimeout:         "IpReasmTimeout",
	IPReasmReqds:           "IpReasmReqds",
	IPReasmOKs:             "IpReasmOKs",
	IPReasmFails:           "IpReasmFails",
	IPReasmOverlaps:        "IpExtReasmOverlaps",
	ReasmDuplicates:        "OutbandReasmDuplicates",
	ReasmEvicted:           "OutbandReasmEvicted",
	ReasmRestarted:         "OutbandReasmRestarted",
	IPFragOKs:              "IpFragOKs",
	IPFragFails:            "IpFragFails",
	IPFragCreates:          "IpFragCreates",
	ICMPInMsgs:             "IcmpInMsgs",
	ICMPInErrors:           "IcmpInErrors",
	ICMPInCsumErrors:       "IcmpInCsumErrors",
	ICMPInDestUnreachs:     "IcmpInDestUnreachs",
	ICMPInTimeExcds:        "IcmpInTimeExcds",
	ICMPInParmProbs:        "IcmpInParmProbs",
	ICMPInRedirects:        "IcmpInRedirects",
	ICMPInEchos:            "IcmpInEchos",
	ICMPInEchoReps:         "IcmpInEchoReps",
	ICMPInTimestamps:       "IcmpInTimestamps",
	ICMPInOther:            "OutbandIcmpInOther",
	ICMPInDelivers:         "OutbandPingInDatagrams",
	ICMPRcvbufErrors:       "OutbandPingRcvbufErrors",
	ICMPOutMsgs:            "IcmpOutMsgs",
	ICMPOutRateLimited:     "IcmpOutRateLimitHost",
	ICMPOutDestUnreachs:    "IcmpOutDestUnreachs",
	ICMPOutTimeExcds:       "IcmpOutTimeExcds",
	ICMPOutParmProbs:       "IcmpOutParmProbs",
	ICMPOutEchos:           "IcmpOutEchos",
	ICMPOutEchoReps:        "IcmpOutEchoReps",
	IGMPInMsgs:             "OutbandIgmpInMsgs",
	IGMPOutMsgs:            "OutbandIgmpOutMsgs",
	ICMPOutTimestampReps:   "IcmpOutTimestampReps",
	UDPInDatagrams:         "UdpInDatagrams",
	UDPNoPorts:             "UdpNoPorts",
	UDPInErrors:            "UdpInErrors",
	UDPOutDatagrams:        "UdpOutDatagrams",
	UDPRcvbufErrors:        "UdpRcvbufErrors",
	UDPSndbufErrors:        "UdpSndbufErrors",
	UDPInCsumErrors:        "UdpInCsumErrors",
	UDPIgnoredMulti:        "UdpIgnoredMulti",
	RawInDatagrams:         "OutbandRawInDatagrams",
	RawRcvbufErrors:        "OutbandRawRcvbufErrors",
	PacketInFrames:         "OutbandPacketInFrames",
	PacketRcvbufErrors:     "OutbandPacketRcvbufErrors",
	OtherSndbufErrors:      "OutbandSndbufErrors",
	DropShortFrame:         "OutbandDropShortFrame",
	DropTruncatedFrame:     "OutbandDropTruncatedFrame",
	DropVLAN:               "OutbandDropVLAN",
	DropOtherHost:          "OutbandDropOtherHost",
	DropEtherType:          "OutbandDropEtherType",
	DropNoMember:           "OutbandDropNoMember",
	DropMartianSource:      "OutbandDropMartianSource",
	DropMartianDestination: "OutbandDropMartianDestination",
	DropOwnSource:          "OutbandDropOwnSource",
	DropOptions:            "OutbandDropOptions",
	DropForward:            "OutbandDropNotOurAddress",
	DropFragment:           "OutbandDropFragment",
	DropICMPUnvalidated:    "OutbandDropICMPUnvalidated",
	DropNeighbourQueue:     "OutbandDropNeighbourQueueFull",
	DropNeighbourFailed:    "OutbandDropNeighbourFailed",
	DropLinkError:          "OutbandDropLinkError",
	DropGSO:                "OutbandDropGSO",
	TxTimeScheduled:        "OutbandTxTimeScheduled",
	DropTxTimeInvalid:      "OutbandDropTxTimeInvalid",
	DropTxTimeMissed:       "OutbandDropTxTimeMissed",
	DropTxTimeFull:         "OutbandDropTxTimeQueueFull",
	ARPIn:                  "OutbandArpIn",
	ARPOut:                 "OutbandArpOut",
	ARPConflicts:           "OutbandArpConflicts",
	EchoIgnored:            "OutbandEchoIgnored",
	TimestampIgnored:       "OutbandTimestampIgnored",
	PortIgnored:            "OutbandPortIgnored",
	ProtocolIgnored:        "OutbandProtocolIgnored",
	BrokenIgnored:          "OutbandBrokenIgnored",
	GroupsIgnored:          "OutbandGroupsIgnored",
	SentInBand:             "OutbandSentInBand",
	EventsLost:             "OutbandEventsLost",
	ErrorsLost:             "OutbandErrorQueueFull",
	ReceiveMemoryFull:      "OutbandReceiveMemoryFull",
	DropTxTimeClosed:       "OutbandDropTxTimeClosed",
	DropFilter:             "OutbandDropFilter",
	DropFault:              "OutbandDropFault",
	Faults:                 "OutbandFaults",
}

// Set are one value of each counter: plain numbers, which whoever owns them
// guards.
type Set [Num]uint64
