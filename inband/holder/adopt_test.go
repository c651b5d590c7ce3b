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
	tcp := -1
	must(t, l.near.Do(func() (err error) {
		if tcp, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(tcp, &unix.SockaddrInet4{Port: 7000})
	}))
	defer unix.Close(tcp)
	for name, r := range map[string]Request{
		"another protocol": {Port: 7000, Adopts: true, Adopt: tcp},
		"another port":     {Port: 7001, Adopts: true, Adopt: d.FD()},
		"another address":  {Port: 7000, Local: nearIP, Adopts: true, Adopt: d.FD()},
		"no socket":        {Port: 7000, Adopts: true, Adopt: first.FD()},
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
