package ancillary

import (
	"encoding/binary"
	"testing"

	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// IP_TTL and IP_TOS of a datagram have the bounds that ip(7) gives them.
func TestBoundsOfTTLAndTOS(t *testing.T) {
	for _, tt := range []struct {
		typ   int
		value int32
		ok    bool
	}{
		{unix.IP_TTL, -1, false}, {unix.IP_TTL, 0, false}, {unix.IP_TTL, 1, true}, {unix.IP_TTL, 255, true}, {unix.IP_TTL, 256, false},
		{unix.IP_TOS, -1, false}, {unix.IP_TOS, 0, true}, {unix.IP_TOS, 255, true}, {unix.IP_TOS, 256, false},
	} {
		var o stack.SendOptions
		c := cmsg.Message{Level: unix.IPPROTO_IP, Type: tt.typ, Data: binary.NativeEndian.AppendUint32(nil, uint32(tt.value))}
		err := parseIPControl(c, &o)
		if (err == nil) != tt.ok || err != nil && err != unix.EINVAL {
			t.Errorf("type %d, value %d: %v", tt.typ, tt.value, err)
		}
		if got := map[int]int{unix.IP_TTL: o.TTL, unix.IP_TOS: o.TOS}[tt.typ]; tt.ok && got != int(tt.value) {
			t.Errorf("type %d, value %d: taken as %d", tt.typ, tt.value, got)
		}
	}
}
