package follow

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// TestNeighbours has the administrator, by netlink and by ioctl, and the kernel itself
// change neighbours.
func TestNeighbours(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	r := recordEvents(t, k)
	up0, up1 := l.index("up0"), l.index("up1")
	mac := [6]byte{2, 0, 0, 0, 0, 0x77}
	entry := func(addr string, mac [6]byte, state State) Neighbour {
		return Neighbour{Device: up0, Addr: ip4(addr), MAC: mac, State: state}
	}
	learn := func() { l.resolve(t, "10.0.0.2"); l.resolve(t, "10.1.0.2") }
	steps := []struct {
		name string
		do   func()
		want *told // nil: nothing is told
	}{
		{"permanent", func() { l.ip("neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev up0") },
			&told{entry("10.0.0.77", mac, unix.NUD_PERMANENT), false}},
		{"noarp", func() { l.ip("neigh add 10.0.0.78 lladdr 02:00:00:00:00:77 dev up0 nud noarp") },
			&told{entry("10.0.0.78", mac, unix.NUD_NOARP), false}},
		{"permanent no more", func() { l.ip("neigh replace 10.0.0.78 lladdr 02:00:00:00:00:77 dev up0 nud reachable") },
			&told{entry("10.0.0.78", mac, unix.NUD_REACHABLE), false}},
		{"permanent deleted", func() { l.ip("neigh del 10.0.0.77 dev up0") },
			&told{entry("10.0.0.77", [6]byte{}, unix.NUD_FAILED), true}},
		{"learnt", learn, nil},
		{"learnt, deleted", func() { l.ip("neigh del 10.0.0.2 dev up0") },
			&told{entry("10.0.0.2", [6]byte{}, unix.NUD_FAILED), true}},
		{"learnt again", learn, nil},
		{"by ioctl", func() { l.arpIoctl(t, unix.SIOCDARP, "10.0.0.2", "up0") },
			&told{entry("10.0.0.2", [6]byte{}, unix.NUD_FAILED), true}},
		{"nobody there", func() { l.resolve(t, "10.0.0.99") }, nil},
		{"flushed by link down", func() { learn(); l.ip("link set up1 down") }, nil},
	}
	must(t, l.SetSysctl("net/ipv4/neigh/up0/retrans_time_ms", "20"))
	for i, s := range steps {
		r.mu.Lock()
		r.neighbours = nil
		r.mu.Unlock()
		s.do()
		// A neighbour that is told of whatever happens: all before it has been told.
		l.ip(fmt.Sprintf("neigh replace 10.0.0.200 lladdr 02:00:00:00:01:%02x dev up0", i))
		r.wait(t, s.name, func() bool {
			n := len(r.neighbours)
			return n > 0 && r.neighbours[n-1].Addr == ip4("10.0.0.200")
		})
		l.check(t, s.name, r, up1, s.want)
	}
}

// check compares what was told, the last left out. Whatever is gone with the link up1 may
// be told as gone.
func (l *lab) check(t *testing.T, name string, r *record, up1 int32, want *told) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []told
	for _, n := range r.neighbours[:len(r.neighbours)-1] {
		if n.Device == up1 && n.gone {
			continue
		}
		if n.gone {
			n.MAC, n.State = [6]byte{}, unix.NUD_FAILED // RTM_DELNEIGH says what was before
		}
		if len(got) == 0 || got[len(got)-1] != n {
			got = append(got, n)
		}
	}
	if want == nil && len(got) != 0 || want != nil && (len(got) != 1 || got[0] != *want) {
		t.Errorf("%s: told %+v, want %+v", name, got, want)
	}
}

// resolve has the kernel look for a neighbour, and waits until it has, or has given up.
func (l *lab) resolve(t *testing.T, addr string) {
	t.Helper()
	var u *inband.UDP
	must(t, l.Do(func() (err error) { u, err = inband.OpenUDP(netip.MustParseAddrPort("0.0.0.0:0")); return err }))
	defer u.Close()
	must(t, u.SendTo([]byte("x"), netip.MustParseAddrPort(addr+":9")))
	eventually(t, "neighbour "+addr, func() bool {
		for _, device := range []string{"up0", "up1"} {
			all, _ := l.Neighbours(device)
			for _, n := range all {
				if n.Addr.String() == addr && n.State != "INCOMPLETE" {
					return true
				}
			}
		}
		return false
	})
}

// arpIoctl does what arp(8) does (arp(7)).
func (l *lab) arpIoctl(t *testing.T, request uintptr, addr, device string) {
	t.Helper()
	var req [68]byte // struct arpreq
	native.PutUint16(req[:], unix.AF_INET)
	a := ip4(addr)
	copy(req[4:], a[:])
	copy(req[52:], device)
	must(t, l.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&req))); errno != 0 {
			return errno
		}
		return nil
	}))
}

// TestAgeing tells the kernel's own ways to lose a neighbour from the administrator's.
func TestAgeing(t *testing.T) {
	begin := time.Now()
	n := Neighbour{Device: 3, Addr: ip4("10.0.0.2"), State: unix.NUD_FAILED}
	stale, other, permanent := n, n, n
	stale.State, other.Addr, permanent.State = unix.NUD_STALE, ip4("10.0.0.3"), unix.NUD_PERMANENT
	type event struct {
		kind       uint16
		port       uint32
		n          Neighbour
		after      time.Duration
		tell, gone bool
	}
	for name, events := range map[string][]event{
		"aged":                   {{unix.RTM_DELNEIGH, 0, stale, 0, false, false}},
		"unanswered, then aged":  {{unix.RTM_NEWNEIGH, 0, n, 0, false, false}, {unix.RTM_DELNEIGH, 0, n, time.Second, false, false}},
		"ioctl":                  {{unix.RTM_NEWNEIGH, 0, n, 0, false, false}, {unix.RTM_DELNEIGH, 0, n, time.Millisecond, true, true}},
		"two":                    {{unix.RTM_NEWNEIGH, 0, n, 0, false, false}, {unix.RTM_DELNEIGH, 0, other, 0, false, false}},
		"changed between":        {{unix.RTM_NEWNEIGH, 0, n, 0, false, false}, {unix.RTM_NEWNEIGH, 0, stale, 0, false, false}, {unix.RTM_DELNEIGH, 0, n, 0, false, false}},
		"administrator":          {{unix.RTM_NEWNEIGH, 9, n, 0, true, true}, {unix.RTM_DELNEIGH, 0, n, time.Second, false, false}},
		"administrator's change": {{unix.RTM_NEWNEIGH, 9, stale, 0, true, false}},
		"kernel's change":        {{unix.RTM_NEWNEIGH, 0, stale, 0, false, false}},
		"permanent by ioctl":     {{unix.RTM_NEWNEIGH, 0, permanent, 0, true, false}},
		"permanent, device down": {{unix.RTM_DELNEIGH, 0, permanent, 0, true, true}},
	} {
		var d deletion
		for i, e := range events {
			tell, gone := d.told(message{kind: e.kind, port: e.port}, e.n, begin.Add(e.after))
			if tell != e.tell || gone != e.gone {
				t.Errorf("%s, event %d: told %t, gone %t", name, i, tell, gone)
			}
		}
	}
}

func TestNeighbourDump(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	l.ip("neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev up0")
	must(t, l.SetSysctl("net/ipv4/neigh/up0/retrans_time_ms", "20"))
	l.resolve(t, "10.1.0.2")
	l.resolve(t, "10.0.0.99")
	all, err := k.Neighbours()
	must(t, err)
	states := map[[4]byte]State{}
	for _, n := range all {
		states[n.Addr] = n.State
		if n.State.Known() != (n.MAC != [6]byte{}) {
			t.Errorf("%+v", n)
		}
	}
	if len(states) != 3 || !states[ip4("10.0.0.77")].Permanent() || !states[ip4("10.1.0.2")].Known() || !states[ip4("10.0.0.99")].Failed() {
		t.Errorf("%v", states)
	}
}
