package icmp

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestMayBroadcast(t *testing.T) {
	may := map[uint8]bool{Echo: true, Timestamp: true, AddressMaskRequest: true, AddressMaskReply: true, ExtendedEcho: true}
	for typ := range 256 {
		if got := MayBroadcast(uint8(typ)); got != may[uint8(typ)] {
			t.Errorf("type %d: %t", typ, got)
		}
	}
}

func TestReported(t *testing.T) {
	for _, tt := range []struct {
		typ, code uint8
		want      bool
	}{
		{DestinationUnreachable, 0, true}, {DestinationUnreachable, 15, true}, {DestinationUnreachable, 16, false},
		{DestinationUnreachable, 255, false}, {TimeExceeded, 0, true}, {TimeExceeded, CodeReassembly, false},
		{TimeExceeded, 2, true}, {ParameterProblem, 99, true}, {SourceQuench, 0, true},
	} {
		if got := Reported(tt.typ, tt.code); got != tt.want {
			t.Errorf("type %d, code %d: %t", tt.typ, tt.code, got)
		}
	}
}

func TestPingErrno(t *testing.T) {
	for _, typ := range []uint8{SourceQuench, Redirect} {
		if e, hard, ok := PingErrno(typ, 0); e != unix.EREMOTEIO || hard || !ok {
			t.Errorf("type %d: %v, hard %t, %t", typ, e, hard, ok)
		}
		if _, _, ok := Errno(typ, 0); ok {
			t.Errorf("type %d: told to others than ping sockets", typ)
		}
	}
	if e, hard, ok := PingErrno(DestinationUnreachable, CodePort); e != unix.ECONNREFUSED || !hard || !ok {
		t.Errorf("port unreachable: %v, hard %t, %t", e, hard, ok)
	}
}

func TestQuotesHeader(t *testing.T) {
	ip := udpPacket(28)
	with := func(first byte) []byte { b := udpPacket(28); b[0] = first; return b }
	for _, tt := range []struct {
		name string
		ip   []byte
		want bool
	}{
		{"nothing", nil, false}, {"19 bytes", ip[:19], false}, {"a header alone", ip[:20], true},
		{"a header that is too short", with(0x44), false}, {"a header that is cut", with(0x46), true},
	} {
		if got := QuotesHeader(AppendError(nil, DestinationUnreachable, CodePort, 0, tt.ip)); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestInfo(t *testing.T) {
	for _, tt := range []struct {
		typ, code uint8
		rest      uint32
		want      uint32
	}{
		{DestinationUnreachable, CodeFragmentation, 1400, 1400}, {DestinationUnreachable, CodePort, 1400, 0},
		{ParameterProblem, 0, PointerRest(9), 9}, {Redirect, 1, 0x0a090001, 0x0a090001}, {TimeExceeded, 0, 7, 0},
	} {
		m := Message(AppendError(nil, tt.typ, tt.code, tt.rest, udpPacket(28)))
		if got := m.Info(); got != tt.want {
			t.Errorf("type %d, code %d: %d", tt.typ, tt.code, got)
		}
		if got, want := m.IsFragmentationNeeded(), tt.typ == DestinationUnreachable && tt.code == CodeFragmentation; got != want {
			t.Errorf("type %d, code %d: fragmentation needed %t", tt.typ, tt.code, got)
		}
	}
}
