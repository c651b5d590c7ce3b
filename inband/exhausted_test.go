package inband

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// descriptors returns how many the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// TestNoDescriptorLeft has all that opens descriptors run out of them at each that it
// opens: it says so, and gives back those that it had got.
func TestNoDescriptorLeft(t *testing.T) {
	lb := newGuestLab(t)
	close := func(k keeper, err error) error {
		if err == nil {
			k.Close()
		}
		return err
	}
	for name, open := range map[string]func() error{
		"NewGuest": func() error {
			g, err := NewGuest(GuestOptions{NoClaim: true})
			if err == nil {
				g.Close()
			}
			return err
		},
		"newTCXClaim": func() error { k, err := newTCXClaim(); return close(k, err) },
		"newNFTClaim": func() error { k, err := newNFTClaim(); return close(k, err) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := lb.host.Do(open); err != nil {
				t.Skip("this kernel has it not:", err)
			}
			before, failed := descriptors(t), 0
			for limit := uint64(3); ; limit++ {
				err := lb.host.Do(func() error { return limited(limit, open) })
				if n := descriptors(t); n != before {
					t.Fatalf("with %d descriptors allowed: %d more are open (%v)", limit, n-before, err)
				}
				if err == nil {
					break
				}
				if failed++; !errors.Is(err, unix.EMFILE) {
					t.Fatalf("with %d descriptors allowed: %v", limit, err)
				}
			}
			if failed == 0 {
				t.Error("it never failed")
			}
		})
	}
}

// limited runs f while numbers of descriptors are below a limit.
func limited(limit uint64, f func() error) error {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
}

// without runs f on a thread without some capabilities, which ends with it.
func without(t *testing.T, ns *netlab.Namespace, f func(), caps ...uint) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		failed <- func() error {
			if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
				return err
			}
			h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var d [2]unix.CapUserData
			if err := unix.Capget(&h, &d[0]); err != nil {
				return err
			}
			for _, c := range caps {
				d[c/32].Effective &^= 1 << (c % 32)
			}
			if err := unix.Capset(&h, &d[0]); err != nil {
				return err
			}
			f()
			return nil
		}()
	}()
	must(t, <-failed)
}

// A claim is by a TCX program where bpf(2) is permitted, else by nf_tables where that is,
// else there is none, and both reasons are told.
func TestKeeperByCapabilities(t *testing.T) {
	lb := newGuestLab(t)
	best := "tcx"
	if err := lb.host.Do(func() error {
		c, err := newTCXClaim()
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		best = "nft" // the kernel is older than 6.6, or bpf(2) is not permitted anyway
	}
	for _, tt := range []struct {
		kind string
		caps []uint
	}{
		{best, nil},
		{"nft", []uint{unix.CAP_BPF, unix.CAP_SYS_ADMIN}},
		{"", []uint{unix.CAP_BPF, unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}},
	} {
		without(t, lb.host, func() {
			k, err := newKeeper()
			if tt.kind == "" {
				if err == nil || k != nil || !errors.Is(err, unix.EPERM) {
					t.Errorf("without any capability: %v, %v", k, err)
				}
				return
			}
			if err != nil {
				t.Errorf("%s: %v", tt.kind, err)
				return
			}
			defer k.Close()
			if k.Kind() != tt.kind {
				t.Errorf("is %s, want %s", k.Kind(), tt.kind)
			}
		}, tt.caps...)
	}
}
