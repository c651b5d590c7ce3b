package ipv4

// A Cause is why a datagram, a fragment or an option was not accepted. It is
// small and dense, so that an array of NumCauses counters holds them all.
type Cause uint8

// The causes.
const (
	// Causes of headers, counted by Linux as InHdrErrors, InCsumErrors (bad
	// checksum) and InTruncatedPkts (truncated).
	CauseNone            Cause = iota // nothing is wrong
	CauseTooShort                     // fewer bytes than a header has
	CauseBadVersion                   // the version is not 4
	CauseBadHeaderLength              // the header length is under 20 bytes
	CauseBadChecksum                  // the header checksum is wrong
	CauseTruncated                    // the total length is more than arrived
	CauseBadTotalLength               // the total length is less than the header's

	// Causes of addresses (martians), counted by Linux as in_martian_src and
	// in_martian_dst in /proc/net/stat/rt_cache.
	CauseSourceLoopback      // source 127/8, not from a loopback link
	CauseSourceMulticast     // source 224/4
	CauseSourceBroadcast     // source 255.255.255.255 or a directed broadcast
	CauseSourceZero          // source 0.0.0.0 where it is not allowed
	CauseSourceOwn           // source is one of our own addresses
	CauseDestinationLoopback // destination 127/8, not from a loopback link
	CauseDestinationZero     // destination 0.0.0.0

	// Causes of options. They are answered with an ICMP parameter problem
	// (RFC 1122, section 3.2.2.5).
	CauseOptionTruncated  // no room for the length, or past the header's end
	CauseOptionBadLength  // too short for its kind
	CauseOptionBadPointer // the pointer points outside of the option's data
	CauseOptionRepeated   // may stand in a header once only
	CauseOptionOverflow   // the timestamp's overflow counter is full

	// Causes of fragments. But for a duplicate the whole datagram is dropped, which
	// counts as ReasmFails.
	CauseFragmentEmpty        // no payload
	CauseFragmentTooLong      // the last that was missing of more than 65535 bytes
	CauseFragmentDuplicate    // all of it is here already
	CauseFragmentOverlap      // overlaps others
	CauseFragmentInconsistent // contradicts the datagram's end
	CauseFragmentECN          // ECN bits that no one path could make
	CauseFragmentNoMemory     // alone more than the memory threshold

	// Causes of datagrams that cannot be sent.
	CauseTooLong     // more than 65535 bytes with its header
	CauseMTUTooSmall // no room for 8 bytes of payload in a fragment
	CauseBadFields   // options over 40 bytes, or an offset no multiple of 8

	// NumCauses is the number of causes, CauseNone included.
	NumCauses = iota
)

var causeNames = [NumCauses]string{
	CauseNone:                 "none",
	CauseTooShort:             "too short",
	CauseBadVersion:           "bad version",
	CauseBadHeaderLength:      "bad header length",
	CauseBadChecksum:          "bad checksum",
	CauseTruncated:            "truncated",
	CauseBadTotalLength:       "bad total length",
	CauseSourceLoopback:       "loopback source",
	CauseSourceMulticast:      "multicast source",
	CauseSourceBroadcast:      "broadcast source",
	CauseSourceZero:           "zero source",
	CauseSourceOwn:            "own source",
	CauseDestinationLoopback:  "loopback destination",
	CauseDestinationZero:      "zero destination",
	CauseOptionTruncated:      "option truncated",
	CauseOptionBadLength:      "option bad length",
	CauseOptionBadPointer:     "option bad pointer",
	CauseOptionRepeated:       "option repeated",
	CauseOptionOverflow:       "option overflow",
	CauseFragmentEmpty:        "fragment empty",
	CauseFragmentTooLong:      "fragment too long",
	CauseFragmentDuplicate:    "fragment duplicate",
	CauseFragmentOverlap:      "fragment overlap",
	CauseFragmentInconsistent: "fragment inconsistent",
	CauseFragmentECN:          "fragment ecn",
	CauseFragmentNoMemory:     "fragment no memory",
	CauseTooLong:              "too long",
	CauseMTUTooSmall:          "mtu too small",
	CauseBadFields:            "bad fields",
}

// String returns the cause in a few plain words.
func (c Cause) String() string {
	if int(c) < NumCauses {
		return causeNames[c]
	}
	return "unknown"
}
