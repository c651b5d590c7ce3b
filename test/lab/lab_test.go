package lab

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Main(m) }

func TestKernelEnds(t *testing.T) {
	tests := []struct {
		name   string
		kernel Kernel
	}{{"none", None}, {"near", Near}, {"far", Far}, {"all", All}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(t, Config{Kernel: tt.kernel})
			for i, e := range l.Ends {
				got, err := e.Addresses(e.Name)
				check(t, err)
				want := tt.kernel&End(i) != 0
				if (len(got) == 1) != want || e.Kernel != want {
					t.Errorf("%s: addresses %v, want one: %t", e.Name, got, want)
				}
				if want && got[0] != e.Prefix() {
					t.Errorf("%s: address %s, want %s", e.Name, got[0], e.Prefix())
				}
			}
		})
	}
}

func TestDevices(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		names  string
	}{
		{"two", Config{}, "near0 far0"},
		{"two large", Config{MTU: 9000}, "near0 far0"},
		{"two by a bridge", Config{Bridge: true}, "near0 far0"},
		{"four", Config{Ends: 4, MTU: 1400}, "near0 far0 end2 end3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(t, tt.config)
			var names []string
			for _, e := range l.Ends {
				names = append(names, e.Name)
				d, err := e.Device(e.Name)
				check(t, err)
				if want := max(tt.config.MTU, 1400); d.MTU != want && d.MTU != 1500 || !d.Running || d.HardwareAddr != e.MAC {
					t.Errorf("%s: %+v", e.Name, d)
				}
			}
			if got := strings.Join(names, " "); got != tt.names {
				t.Errorf("ends %s, want %s", got, tt.names)
			}
			if (l.Hub != nil) != (tt.config.Bridge || tt.config.Ends > 2) {
				t.Errorf("hub is %v", l.Hub)
			}
		})
	}
}

func TestDown(t *testing.T) {
	l := New(t, Config{Down: true})
	if d, err := l.Near().Device("near0"); err != nil || d.Up {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestExchange(t *testing.T) {
	for name, c := range map[string]Config{"veth": {Kernel: All}, "bridge": {Kernel: All, Ends: 3}} {
		t.Run(name, func(t *testing.T) {
			l := New(t, c)
			server := l.Far().BoundUDP(t, l.Far().AddrPort(7))
			client := l.Near().UDP(t, 0)
			check(t, client.SendTo([]byte("hello"), l.Far().AddrPort(7)))
			buf := make([]byte, 64)
			n, from, err := server.RecvFrom(buf, 0)
			check(t, err)
			if string(buf[:n]) != "hello" || from.Addr() != l.Near().Addr {
				t.Errorf("%q from %s", buf[:n], from)
			}
		})
	}
}

func TestPacket(t *testing.T) {
	l := New(t, Config{})
	near, far := l.Near().Packet(t), l.Far().Packet(t)
	frame := append(append(append([]byte{}, l.Far().MAC[:]...), l.Near().MAC[:]...), 0x88, 0xb5, 'h', 'i')
	near.Send(t, frame)
	got := far.Want(t, EtherType(0x88b5))
	if string(got) != string(frame) {
		t.Errorf("got % x", got)
	}
	if f := near.Next(t, 0, EtherType(0x88b5)); f != nil {
		t.Errorf("the sender sees its own frame % x", f)
	}
}

func TestWireIsSilent(t *testing.T) {
	l := New(t, Config{})
	p := l.Near().Packet(t)
	if f := p.Next(t, 50*time.Millisecond, nil); f != nil {
		t.Errorf("a frame that nobody sent: % x", f)
	}
}

func TestAllGoesAway(t *testing.T) {
	CheckLeaks(t)
	var path string
	t.Run("lab", func(t *testing.T) {
		l := New(t, Config{Kernel: All, Bridge: true})
		l.Near().UDP(t, 1)
		l.Near().UDP(t, 2)
		l.Far().Packet(t)
		l.Near().In(t, func() (err error) {
			path, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		})
	})
	if path == "" {
		t.Skip("no lab here")
	}
	tasks, err := os.ReadDir("/proc/self/task")
	check(t, err)
	for _, task := range tasks {
		if ns, _ := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); ns == path {
			t.Errorf("thread %s stayed in the lab", task.Name())
		}
	}
}

// A fake stands in for a test that is meant to fail.
type fake struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (f *fake) Helper()          {}
func (f *fake) Failed() bool     { return false }
func (f *fake) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }
func (f *fake) Error(args ...any) {
	f.errors = append(f.errors, strings.TrimSpace(args[0].(string)))
}

func (f *fake) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}

func TestCheckLeaks(t *testing.T) {
	t.Run("nothing", func(t *testing.T) {
		f := &fake{TB: t}
		CheckLeaks(f)
		f.end()
		if len(f.errors) != 0 {
			t.Error(f.errors)
		}
	})
	t.Run("file", func(t *testing.T) {
		f := &fake{TB: t}
		CheckLeaks(f)
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		check(t, err)
		f.end()
		unix.Close(fd)
		if len(f.errors) != 1 || f.errors[0] != "leaked file descriptor:" {
			t.Error(f.errors)
		}
	})
	t.Run("goroutine", func(t *testing.T) {
		f := &fake{TB: t}
		CheckLeaks(f)
		stop := make(chan struct{})
		go func() { <-stop }()
		f.end()
		close(stop)
		if len(f.errors) != 1 || f.errors[0] != "leaked goroutines:" {
			t.Error(f.errors)
		}
	})
}

func TestReport(t *testing.T) {
	if report(nil, nil) != 0 || report(errors.New("one"), nil) != 1 || report(nil, []string{"3: pipe"}) != 1 {
		t.Error("the exit code does not follow the leaks")
	}
}

// TestNeedWithoutPrivileges runs TestDown without capabilities: it skips, and with CI
// set it fails.
func TestNeedWithoutPrivileges(t *testing.T) {
	Need(t)
	for _, tt := range []struct{ ci, want string }{{"", "SKIP"}, {"true", "FAIL"}} {
		cmd := exec.Command("/proc/self/exe", "-test.run=TestDown", "-test.v")
		cmd.Dir = "/"
		cmd.Env = []string{"CI=" + tt.ci}
		// Root without capabilities: it may still run the test's binary.
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), "--- "+tt.want) {
			t.Errorf("CI=%q: %s", tt.ci, out)
		}
	}
}
