package tpacket

import (
	"bufio"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// groups returns the multicast addresses that the device lets in, and how often
// each was asked for, as `ip maddr` shows them.
func (h *host) groups() map[link.MAC]int {
	h.t.Helper()
	groups := map[link.MAC]int{}
	h.in(func() error {
		f, err := os.Open("/proc/thread-self/net/dev_mcast")
		if err != nil {
			return err
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			var index, users, global int
			var dev string
			var mac []byte
			if _, err := fmt.Sscanf(s.Text(), "%d %s %d %d %x", &index, &dev, &users, &global, &mac); err != nil {
				return err
			}
			if dev == h.dev {
				groups[link.MAC(mac)] = users
			}
		}
		return nil
	})
	return groups
}

func TestGroups(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{})
	group, other := link.MAC{1, 0, 0x5e, 1, 2, 3}, link.MAC{1, 0, 0x5e, 4, 5, 6}
	expect := func(what string, want int) {
		t.Helper()
		if n := lb.near.groups()[group]; n != want {
			t.Errorf("%s: %d users, want %d", what, n, want)
		}
	}
	expect("before", 0)
	check(t, l.JoinGroup(group))
	check(t, l.JoinGroup(group))
	check(t, l.JoinGroup(other))
	expect("joined twice", 1)
	check(t, l.LeaveGroup(group))
	expect("left once", 1)
	check(t, l.LeaveGroup(group))
	expect("left twice", 0)
	if err := l.LeaveGroup(group); err != unix.EADDRNOTAVAIL {
		t.Errorf("left three times: %v", err)
	}
	if err := l.JoinGroup(link.MAC{2}); err != unix.EINVAL {
		t.Errorf("unicast: %v", err)
	}
	if lb.near.groups()[other] != 1 {
		t.Error("the other group was left too")
	}
	// Joined and left while there is no device.
	w := watch(t, l)
	check(t, lb.near.nl.LinkDel(lb.near.link()))
	w.state(link.Gone)
	check(t, l.JoinGroup(group))
	check(t, l.LeaveGroup(other))
	lb.join(1500)
	w.state(link.Up)
	expect("made again", 1)
	if lb.near.groups()[other] != 0 {
		t.Error("joined a group that was left")
	}
	for i := range maxGroups {
		err := l.JoinGroup(link.MAC{3, 0, 0, 0, byte(i >> 8), byte(i)})
		if full := i == maxGroups-1; full != (err == unix.ENOBUFS) || !full && err != nil {
			t.Fatalf("group %d: %v", i, err)
		}
	}
	check(t, l.Close())
	expect("closed", 0)
	if err := l.JoinGroup(group); err != unix.ENETDOWN {
		t.Errorf("join after Close: %v", err)
	}
	if err := l.LeaveGroup(group); err != unix.ENETDOWN {
		t.Errorf("leave after Close: %v", err)
	}
}
