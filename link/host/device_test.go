package host

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A Device tells what it is, and when that changes, and lets nothing pass.
func TestDevice(t *testing.T) {
	i := link.Info{Name: "tun0", Index: 7, MTU: 1400, State: link.Up}
	d := NewDevice(i)
	told := 0
	d.SetNotify(nil, func() { told++ })
	d.SetInfo(i)
	if told != 0 || !link.InBand(d) || d.Info() != i || d.FD() >= 0 {
		t.Errorf("told %d times, in-band %t, %+v, descriptor %d", told, link.InBand(d), d.Info(), d.FD())
	}
	i.MTU = 1300
	if d.SetInfo(i); told != 1 || d.Info().MTU != 1300 {
		t.Errorf("told %d times, %+v", told, d.Info())
	}
	frame := make([]byte, 60)
	if n, err := d.SendBatch([]link.TxFrame{{Data: frame}}); n != 0 || err != unix.EOPNOTSUPP || d.Send(frame) != unix.EOPNOTSUPP {
		t.Errorf("sent %d, %v", n, err)
	}
	if n := d.Receive(make([]link.Frame, 1)); n != 0 {
		t.Errorf("received %d", n)
	}
	d.Close()
	if d.Close(); told != 2 || d.Info().State != link.Gone || d.Send(frame) != unix.ENETDOWN {
		t.Errorf("after Close: told %d times, %+v, %v", told, d.Info(), d.Send(frame))
	}
}
