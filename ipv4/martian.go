package ipv4

// CheckSource reports why src cannot be the source of a datagram from the wire,
// as far as the address alone tells (RFC 1122, section 3.2.1.3; RFC 1812,
// section 5.3.7; Linux' martian source): a multicast group, the limited
// broadcast, and 127/8 unless loopbackLink says that it came over a loopback.
// 0.0.0.0 passes, because to some destinations it may be sent: [CheckMartian]
// knows which. That a source is ours, or a directed broadcast, a route table
// knows: [RouteTable.CheckSource].
func CheckSource(src Addr, loopbackLink bool) Cause {
	if src[0] < 224 && src[0] != 127 {
		return CauseNone
	}
	switch {
	case src.IsMulticast():
		return CauseSourceMulticast
	case src.IsLimitedBroadcast():
		return CauseSourceBroadcast
	case src.IsLoopback() && !loopbackLink:
		return CauseSourceLoopback
	}
	return CauseNone
}

// CheckMartian is [CheckSource] for source and destination together, as Linux'
// ip_route_input_slow and ip_mc_validate_source look at them. 0.0.0.0 as
// source may go to the limited broadcast, where a host asks for its address (RFC
// 2131, section 4.1), to a group of the link, and to any group in an IGMP message:
// reports of hosts that have no address yet (RFC 3376, section 4.2.13), and queries
// of switches, which ask about a group by a message to it (RFC 4541, section 2.1.1).
func CheckMartian(src, dst Addr, protocol uint8, loopbackLink bool) Cause {
	if c := CheckSource(src, loopbackLink); c != CauseNone {
		return c
	}
	switch {
	case src.IsUnspecified():
		if !zeroSourceAllowed(dst, protocol) {
			return CauseSourceZero
		}
	case dst.IsUnspecified():
		return CauseDestinationZero
	case dst.IsLoopback() && !loopbackLink:
		return CauseDestinationLoopback
	}
	return CauseNone
}

// zeroSourceAllowed reports whether a host without an address may send to dst.
// To 0.0.0.0 was what 4.2BSD broadcast to.
func zeroSourceAllowed(dst Addr, protocol uint8) bool {
	return dst.IsLimitedBroadcast() || dst.IsUnspecified() ||
		dst.IsLocalMulticast() || dst.IsMulticast() && protocol == ProtocolIGMP
}
