package outband

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/cpu"
	"github.com/outband/outband/test/lab"
)

// without has f run by a thread that has but these of its capabilities in effect.
func without(t *testing.T, dropped []int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all, some [2]unix.CapUserData
	check(t, unix.Capget(&header, &all[0]))
	some = all
	for _, c := range dropped {
		some[c/32].Effective &^= 1 << (c % 32)
	}
	check(t, unix.Capset(&header, &some[0]))
	defer func() { check(t, unix.Capset(&header, &all[0])) }()
	f()
}

// An error of Open has the line that mends it.
func TestOpenErrorMends(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.All})
	own := WithAddress(netip.MustParsePrefix("10.9.0.77/24"))
	for _, c := range []struct {
		name    string
		dropped []int
		device  string
		options []Option
		errno   error
		mend    string // how it begins and ends, with dots between; "" : there is none
	}{
		{"no ring", []int{unix.CAP_NET_RAW}, "near0", nil, unix.EPERM, "go build -o ./outband.test && sudo setcap cap_net_raw+ep ./outband.test"},
		{"no ring for an own address", []int{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}, "near0", []Option{own}, unix.EPERM,
			"go build -o ./outband.test && sudo setcap cap_net_raw,cap_net_admin+ep ./outband.test"},
		{"no tcx", []int{unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_SYS_ADMIN}, "near0", []Option{WithRequire(claim.TCX)}, unix.EPERM,
			"go build -o ./outband.test && sudo setcap cap_net_admin,cap_bpf+ep ./outband.test"},
		{"no device", nil, "none0", nil, unix.ENODEV, "Open one of: lo, near0"},
		{"the kernel's address", nil, "near0", []Option{WithAddress(l.Near().Prefix())}, unix.EADDRINUSE,
			"another address in WithAddress, or none, to share those that the kernel has"},
		{"options", nil, "near0", []Option{own, WithRequire(claim.TCX)}, unix.EINVAL, ""},
		{"an address of IPv6", nil, "near0", []Option{WithAddress(netip.MustParsePrefix("2001:db8::1/64"))}, unix.EAFNOSUPPORT, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			var h *Host
			l.Near().In(t, func() error {
				without(t, c.dropped, func() { h, err = Open(context.Background(), c.device, c.options...) })
				return nil
			})
			var o *OpenError
			if h != nil || !errors.As(err, &o) || !errors.Is(err, c.errno) {
				t.Fatalf("%v, %v; want %v", h, err, c.errno)
			}
			if o.Device != c.device || o.Mend != c.mend || !strings.HasPrefix(err.Error(), "open "+c.device+": ") || !strings.HasSuffix(err.Error(), o.Mend) {
				t.Errorf("%q, of which mends %q; want %q", err, o.Mend, c.mend)
			}
		})
	}
}

// A program that was installed is named by its path.
func TestSetcap(t *testing.T) {
	t.Setenv("TMPDIR", "/elsewhere")
	if got := setcap([]int{unix.CAP_NET_RAW}); !strings.HasPrefix(got, "sudo setcap cap_net_raw+ep /") || !strings.HasSuffix(got, "/outband.test") {
		t.Errorf("%q", got)
	}
	if got := setcap(nil); got != "" {
		t.Errorf("%q for nothing that is missing", got)
	}
}

// WithCPU ties the caller to a CPU, unless Open fails.
func TestWithCPU(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.All})
	before, err := cpu.All()
	check(t, err)
	last := before[len(before)-1]
	for _, c := range []struct {
		name   string
		device string
		cpu    int
		want   []int
		errno  error
	}{
		{"one", "near0", last, []int{last}, nil},
		{"any", "near0", -1, before, nil},
		{"no device", "none0", last, before, unix.ENODEV},
		{"no such CPU", "near0", 1000, before, unix.EINVAL},
	} {
		var after []int
		var err error
		done := make(chan struct{})
		go func() { // which ends with its thread
			defer close(done)
			runtime.LockOSThread()
			l.Near().In(t, func() error {
				var h *Host
				if h, err = Open(context.Background(), c.device, WithCPU(c.cpu)); err == nil {
					defer h.Close()
				}
				after, _ = cpu.All()
				return nil
			})
		}()
		<-done
		if !errors.Is(err, c.errno) || len(after) != len(c.want) || after[0] != c.want[0] {
			t.Errorf("%s: %v, CPUs %v; want %v, %v", c.name, err, after, c.errno, c.want)
		}
	}
}
