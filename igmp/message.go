package igmp

import (
	"encoding/binary"
	"time"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
)

// Protocol is IGMP's number in the IPv4 header (IANA "Protocol Numbers").
const Protocol = 2

// Well-known destinations.
var (
	AllSystems = ipv4.Addr{224, 0, 0, 1}  // all systems of the link: general queries (RFC 1112 section 4); never reported
	AllRouters = ipv4.Addr{224, 0, 0, 2}  // all routers of the link: version 2 leaves (RFC 2236 section 3)
	AllReports = ipv4.Addr{224, 0, 0, 22} // all IGMPv3-capable routers: version 3 reports (RFC 3376 section 4.2.14)
)

// A Type is a message's type (RFC 3376 section 4).
type Type uint8

// The types.
const (
	Query    Type = 0x11 // membership query, of all versions
	ReportV1 Type = 0x12 // version 1 membership report (RFC 1112)
	ReportV2 Type = 0x16 // version 2 membership report (RFC 2236)
	Leave    Type = 0x17 // version 2 leave group (RFC 2236)
	ReportV3 Type = 0x22 // version 3 membership report (RFC 3376)
)

// A RecordType says what a group record of a version 3 report means (RFC 3376
// section 4.2.12).
type RecordType uint8

// The record types.
const (
	IsInclude       RecordType = 1 // MODE_IS_INCLUDE: these sources are wanted, and no others
	IsExclude       RecordType = 2 // MODE_IS_EXCLUDE: all sources are wanted but these
	ToInclude       RecordType = 3 // CHANGE_TO_INCLUDE_MODE: the mode has become INCLUDE, of these sources
	ToExclude       RecordType = 4 // CHANGE_TO_EXCLUDE_MODE: the mode has become EXCLUDE, of these sources
	AllowNewSources RecordType = 5 // ALLOW_NEW_SOURCES: these sources are wanted from now on
	BlockOldSources RecordType = 6 // BLOCK_OLD_SOURCES: these sources are not wanted any more

	numRecordTypes = 7
)

// String returns the short name that RFC 3376 section 5.1 uses.
func (t RecordType) String() string {
	if t == 0 || t >= numRecordTypes {
		return "unknown"
	}
	return [numRecordTypes]string{"", "IS_IN", "IS_EX", "TO_IN", "TO_EX", "ALLOW", "BLOCK"}[t]
}

// Lengths in bytes.
const (
	minLen     = 8  // of any message; of a query of versions 1 and 2
	queryV3Len = 12 // of a version 3 query without sources (RFC 3376 section 4.1)
	reportLen  = 8  // of a version 3 report without records (RFC 3376 section 4.2)
	recordLen  = 8  // of a group record without sources
)

// A Message is a view of an IGMP message: what follows the IPv4 header and its
// options. Make one with [Parse]; after that its getters never panic, each on
// messages of the types that its comment names.
type Message []byte

// Parse returns a view of the IGMP message b. It checks the length that the type
// needs, the checksum, which covers all of b (RFC 3376 section 4.1.2), the type, and
// that the sources of a query and the records of a version 3 report lie within b.
// What follows them is allowed (sections 4.1.10 and 4.2.11). What the addresses say is
// not checked here. The view is nil if the Cause is not [CauseNone].
func Parse(b []byte) (Message, Cause) {
	if len(b) < minLen {
		return nil, CauseTooShort
	}
	if checksum.Sum(b, 0) != 0xffff {
		return nil, CauseChecksum
	}
	m := Message(b[:len(b):len(b)])
	switch m.Type() {
	case ReportV1, ReportV2, Leave:
	case Query:
		if c := m.checkQuery(); c != CauseNone {
			return nil, c
		}
	case ReportV3:
		if !m.recordsFit() {
			return nil, CauseTooShort
		}
	default:
		return nil, CauseType
	}
	return m, CauseNone
}

// checkQuery looks at a query's length, which tells its version (RFC 3376 section
// 7.1): a length between those of version 2 and of version 3 is ignored.
func (m Message) checkQuery() Cause {
	switch {
	case len(m) == minLen:
		return CauseNone
	case len(m) < queryV3Len:
		return CauseQueryLength
	case len(m) < queryV3Len+4*m.NumSources():
		return CauseTooShort
	}
	return CauseNone
}

// recordsFit reports whether all records of a version 3 report lie within it.
func (m Message) recordsFit() bool {
	rest := m[reportLen:]
	for range m.NumRecords() {
		n := Record(rest).size()
		if n > len(rest) {
			return false
		}
		rest = rest[n:]
	}
	return true
}

// Type returns the message's type.
func (m Message) Type() Type { return Type(m[0]) }

// Group returns the group address: of a query, the group asked for, 0.0.0.0 in a
// general query; of a report or leave of versions 1 and 2, the group (RFC 3376 section
// 4.1.3, RFC 2236 section 2.4). It means nothing in a version 3 report.
func (m Message) Group() ipv4.Addr { return ipv4.Addr(m[4:8]) }

// QueryVersion returns the version of a query: 1, 2 or 3 (RFC 3376 section 7.1).
func (m Message) QueryVersion() int {
	switch {
	case len(m) > minLen:
		return 3
	case m[1] == 0:
		return 1
	}
	return 2
}

// MaxResponse returns the longest time that a query leaves for the response: 10 s
// for a version 1 query (RFC 2236 section 4), otherwise in tenths of a second, which
// version 3 writes as a floating-point number from 12.8 s on (RFC 3376 section 4.1.1).
func (m Message) MaxResponse() time.Duration {
	switch m.QueryVersion() {
	case 1:
		return 10 * time.Second
	case 2:
		return time.Duration(m[1]) * (time.Second / 10)
	}
	return time.Duration(decode(m[1])) * (time.Second / 10)
}

// Suppress returns a version 3 query's S flag, which is for other routers (RFC 3376
// section 4.1.5).
func (m Message) Suppress() bool { return len(m) >= queryV3Len && m[8]&8 != 0 }

// Robustness returns the querier's robustness variable of a version 3 query, 0 if it
// is above 7 (RFC 3376 section 4.1.6), or if the query is of an older version.
func (m Message) Robustness() int {
	if len(m) < queryV3Len {
		return 0
	}
	return int(m[8] & 7)
}

// QueryInterval returns the time between the querier's general queries, which a
// version 3 query tells (RFC 3376 section 4.1.7); 0 if it does not.
func (m Message) QueryInterval() time.Duration {
	if len(m) < queryV3Len {
		return 0
	}
	return time.Duration(decode(m[9])) * time.Second
}

// NumSources returns how many sources a query lists (RFC 3376 section 4.1.8).
func (m Message) NumSources() int {
	if len(m) < queryV3Len {
		return 0
	}
	return int(binary.BigEndian.Uint16(m[10:]))
}

// Source returns the source i of a query, which is less than NumSources.
func (m Message) Source(i int) ipv4.Addr { return ipv4.Addr(m[queryV3Len+4*i:]) }

// NumRecords returns how many group records a version 3 report has (RFC 3376
// section 4.2.3); 0 for other types.
func (m Message) NumRecords() int {
	if m.Type() != ReportV3 {
		return 0
	}
	return int(binary.BigEndian.Uint16(m[6:]))
}

// FirstRecord returns the view of a version 3 report from its first record on.
// NumRecords says how many follow each other.
func (m Message) FirstRecord() Record { return Record(m[reportLen:]) }

// A Record is a view of a group record and of what follows it (RFC 3376 section 4.2).
type Record []byte

// size returns the record's length in bytes, sources and auxiliary data included;
// more than there are if even the length is not there.
func (r Record) size() int {
	if len(r) < recordLen {
		return recordLen
	}
	return recordLen + 4*r.NumSources() + 4*int(r[1])
}

// Type returns what the record means.
func (r Record) Type() RecordType { return RecordType(r[0]) }

// NumSources returns how many sources the record lists.
func (r Record) NumSources() int { return int(binary.BigEndian.Uint16(r[2:])) }

// Group returns the group that the record is about.
func (r Record) Group() ipv4.Addr { return ipv4.Addr(r[4:8]) }

// Source returns the source i, which is less than NumSources.
func (r Record) Source(i int) ipv4.Addr { return ipv4.Addr(r[recordLen+4*i:]) }

// Next returns the view from the next record on.
func (r Record) Next() Record { return r[r.size():] }

// decode returns the value of a code of which the upper half of the range is a
// floating-point number (RFC 3376 sections 4.1.1 and 4.1.7).
func decode(code byte) int {
	if code < 0x80 {
		return int(code)
	}
	return (int(code&0x0f) | 0x10) << (code>>4&7 + 3)
}
