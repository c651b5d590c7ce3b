package holder

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A socket that another Hold has, of another process maybe, is adopted: the port goes on being
// held when the first has gone, and what the kernel has for it comes once.
func TestAdopt(t *testing.T) {
	l := newLab(t)
	first, second := newHolders(t, l.near), newHolders(t, l.near)
	d := hold(t, first, Request{Port: 7000})
	for name, r := range map[string]Request{
		"another port":    {Port: 7001, Adopts: true, Adopt: d.FD()},
		"another address": {Port: 7000, Local: nearIP, Adopts: true, Adopt: d.FD()},
		"no UDP socket":   {Port: 7000, Adopts: true, Adopt: first.FD()},
	} {
		if _, e := second.Hold(r); e != unix.EINVAL && e != unix.ENOTSOCK {
			t.Errorf("%s: %v", name, e)
		}
	}
	a, e := second.Hold(Request{Port: 7000, Adopts: true, Adopt: d.FD()})
	if e != 0 {
		t.Fatal(e)
	}
	if a.Port() != 7000 || a.FD() == d.FD() {
		t.Errorf("port %d, descriptor %d of %d", a.Port(), a.FD(), d.FD())
	}
	d.Close()
	if _, e := first.Hold(Request{Port: 7000}); e != unix.EADDRINUSE {
		t.Errorf("the port of a hold that is left: %v", e)
	}
	send(t, l.near, 7000, nearIP)
	if got := receive(t, second, 1)[0]; got.Port != 7000 || got.Holder != a.ID() {
		t.Errorf("%v", got)
	}
	a.Close()
	hold(t, first, Request{Port: 7000})
}
