package oracle

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ipv4"
)

// Cmsg returns one control message (cmsg(3)), to be joined with others.
func Cmsg(level, typ int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(typ))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// CmsgInt is Cmsg with a number of 4 bytes.
func CmsgInt(level, typ, v int) []byte { return Cmsg(level, typ, Int(v)) }

// Int returns the 4 bytes of a number, as options and control messages have it.
func Int(v int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

// Control writes control messages down. What two runs cannot have in common,
// time stamps, is written as whether it is plausible.
func Control(r *Run, b []byte) string {
	var out []string
	for len(b) >= unix.CmsgLen(0) {
		n := int(binary.NativeEndian.Uint64(b))
		level, typ := int(int32(binary.NativeEndian.Uint32(b[8:]))), int(int32(binary.NativeEndian.Uint32(b[12:])))
		if n < unix.CmsgLen(0) {
			return "{" + strings.Join(append(out, fmt.Sprintf("bad length %d", n)), ", ") + "}"
		}
		data := b[unix.CmsgLen(0):min(n, len(b))]
		out = append(out, fmt.Sprintf("%s=%s", CmsgName(level, typ), cmsgData(r, level, typ, data)))
		b = b[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(b)):]
	}
	if len(b) > 0 {
		out = append(out, fmt.Sprintf("%d bytes", len(b)))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// timestamps are the control messages with times in them.
var timestamps = map[int]bool{unix.SCM_TIMESTAMP: true, unix.SCM_TIMESTAMPNS: true, unix.SCM_TIMESTAMPING: true,
	unix.SO_TIMESTAMP_NEW: true, unix.SO_TIMESTAMPNS_NEW: true, unix.SO_TIMESTAMPING_NEW: true}

func cmsgData(r *Run, level, typ int, data []byte) string {
	switch {
	case level == unix.SOL_SOCKET && (typ == unix.SCM_TIMESTAMPING || typ == unix.SO_TIMESTAMPING_NEW) && len(data) == 48:
		return plausible(data[:16], 1) + " " + plausible(data[16:32], 1) + " " + plausible(data[32:], 1)
	case level == unix.SOL_SOCKET && (typ == unix.SCM_TIMESTAMPNS || typ == unix.SO_TIMESTAMPNS_NEW) && len(data) == 16:
		return plausible(data, 1)
	case level == unix.SOL_SOCKET && (typ == unix.SCM_TIMESTAMP || typ == unix.SO_TIMESTAMP_NEW) && len(data) == 16:
		return plausible(data, 1000)
	case level == unix.SOL_SOCKET && timestamps[typ]:
		return fmt.Sprintf("%d bytes of a time", len(data))
	case level == unix.SOL_SOCKET && typ == unix.SCM_TXTIME && len(data) == 8 && data[7]|data[6]|data[5]|data[4] != 0:
		return "a time"
	case level == unix.SOL_IP && typ == unix.IP_ORIGDSTADDR && len(data) == 16:
		return fmt.Sprintf("%x:%s", data[4:8], r.port(binary.BigEndian.Uint16(data[2:])))
	case level == unix.SOL_IP && (typ == unix.IP_RECVOPTS || typ == unix.IP_RETOPTS):
		return fmt.Sprintf("%x", withoutTimes(data))
	default:
		return fmt.Sprintf("%x", data)
	}
}

// withoutTimes returns IP options whose timestamps, where there are any, are all
// the same (RFC 791, section 3.1).
func withoutTimes(o ipv4.Options) ipv4.Options {
	o = slices.Clone(o)
	opt := o.Find(ipv4.OptionTimestamp)
	if len(opt) < 4 {
		return o
	}
	entry, at := 8, 4
	if opt[3]&0x0f == ipv4.TimestampOnly {
		entry, at = 4, 0
	}
	for rest := opt[4:]; len(rest) >= entry; rest = rest[entry:] {
		if t := rest[at : at+4]; binary.BigEndian.Uint32(t) != 0 {
			copy(t, "time")
		}
	}
	return o
}

// plausible says whether a time stamp is of the last minute; unit is how many
// nanoseconds its second half counts in.
func plausible(b []byte, unit int64) string {
	sec, sub := int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))
	if sec == 0 && sub == 0 {
		return "zero"
	}
	age := time.Since(time.Unix(sec, sub*unit))
	if age < -time.Second || age > time.Minute {
		return fmt.Sprintf("%v ago", age)
	}
	return "now"
}
