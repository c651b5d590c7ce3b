package shared

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func init() { children["serve"] = serveInChild }

// serveInChild answers on port 7 until it is killed.
func serveInChild() error {
	h, err := Open(childConfig())
	if err != nil {
		return err
	}
	k, err := h.Stack().NewUDPSocket()
	if err != nil {
		return err
	}
	if err := k.Bind(netip.MustParseAddrPort("0.0.0.0:7")); err != nil {
		return err
	}
	fmt.Println("serving")
	b := make([]byte, 65536)
	for {
		n, info, err := k.Recv(b, 0, stack.NoDeadline)
		if err != nil {
			return err
		}
		k.SendTo(b[:n], 0, stack.NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort))
	}
}

// traces returns what the kernel of the near end shows of those who use its network.
func (w *killed) traces() string {
	t, near := w.t, w.near
	out := runIn(t, near.Namespace, "ss", "-uan") + runIn(t, near.Namespace, "ss", "-0an") +
		runIn(t, near.Namespace, "ss", "-wan") + runIn(t, near.Namespace, "tc", "qdisc", "show") +
		runIn(t, near.Namespace, "nft", "list", "ruleset") + runIn(t, near.Namespace, "ip", "maddr") + runIn(t, near.Namespace, "ip", "-d", "link")
	return out
}

// awaitCarrier waits until the near end's device has its carrier, which traces shows.
func (w *killed) awaitCarrier() {
	for end := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		d, err := w.near.Device(w.near.Name)
		check(w.t, err)
		if d.Running {
			return
		}
		if time.Now().After(end) {
			w.t.Fatal("no carrier")
		}
	}
}

// bpfObjects returns the numbers of the programs, maps and links that a process has open, as
// its descriptors tell (proc_pid_fdinfo(5)).
func bpfObjects(t *testing.T, pid int) map[string][]int {
	t.Helper()
	ids := map[string][]int{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	check(t, err)
	for _, f := range files {
		b, _ := os.ReadFile(f) // one may be closed by now
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			switch name {
			case "prog_id", "map_id", "link_id":
				id, err := strconv.Atoi(strings.TrimSpace(value))
				check(t, err)
				ids[name] = append(ids[name], id)
			}
		}
	}
	return ids
}

// left returns which of those there are still.
func left(ids map[string][]int) (names []string) {
	for kind, all := range ids {
		for _, id := range all {
			var err error
			switch kind {
			case "prog_id":
				var p *ebpf.Program
				if p, err = ebpf.NewProgramFromID(ebpf.ProgramID(id)); err == nil {
					p.Close()
				}
			case "map_id":
				var m *ebpf.Map
				if m, err = ebpf.NewMapFromID(ebpf.MapID(id)); err == nil {
					m.Close()
				}
			case "link_id":
				var l link.Link
				if l, err = link.NewFromID(link.ID(id)); err == nil {
					l.Close()
				}
			}
			if !errors.Is(err, os.ErrNotExist) {
				names = append(names, fmt.Sprintf("%s %d: %v", kind, id, err))
			}
		}
	}
	return names
}

// killed is a near end where children are killed, and a client at the far end that sends
// without end.
type killed struct {
	t      *testing.T
	near   *lab.Endpoint
	client *inband.UDP
}

// load has the client send, one datagram for each that is answered and one a millisecond,
// until stop is called. It counts what is answered.
func (w *killed) load() (answered *atomic.Int64, stop func()) {
	check(w.t, w.client.SetReadTimeout(time.Millisecond))
	answered = new(atomic.Int64)
	var end atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64)
		for !end.Load() {
			w.client.SendTo(b, addrPort(w.near, 7)) // ECONNREFUSED cannot be: it is not connected
			if _, _, err := w.client.RecvFrom(b, 0); err == nil {
				answered.Add(1)
			}
		}
	}()
	return answered, func() { end.Store(true); <-done }
}

// kill kills a child under load, and returns how long it takes until the port can be bound,
// and receives.
func (w *killed) kill(rungEnv string) time.Duration {
	t := w.t
	c := startChild(t, w.near.Namespace, "serve", "", nil, rungEnv)
	c.want("serving")
	answered, stop := w.load()
	defer stop()
	for end := time.Now().Add(soon); answered.Load() < 1000; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d answers", answered.Load())
		}
	}
	ids := bpfObjects(t, c.cmd.Process.Pid)
	if rungEnv != only(rungs[2]) && len(ids) == 0 {
		t.Log("the child has no programs")
	}
	began := time.Now()
	check(t, c.cmd.Process.Signal(unix.SIGKILL))
	u := w.bound(began)
	defer u.Close()
	check(t, u.SetReadTimeout(soon))
	if _, _, err := u.RecvFrom(make([]byte, 64), 0); err != nil {
		t.Fatalf("the port is bound in-band, and receives nothing: %v", err)
	}
	took := time.Since(began)
	c.kill()
	for end := time.Now().Add(soon); ; time.Sleep(time.Millisecond) { // the kernel frees some of it later
		names := left(ids)
		if len(names) == 0 {
			return took
		}
		if time.Now().After(end) {
			t.Fatalf("left in the kernel: %v", names)
		}
	}
}

// bound binds the port that a killed child has had, as soon as that is possible.
func (w *killed) bound(began time.Time) (u *inband.UDP) {
	for {
		err := w.near.Do(func() (err error) {
			u, err = inband.OpenUDP(netip.MustParseAddrPort("0.0.0.0:7"))
			return err
		})
		if err == nil {
			return u
		}
		if err != unix.EADDRINUSE || time.Since(began) > soon {
			w.t.Fatalf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// A process that is killed under load leaves nothing: within 50 ms the port can be bound,
// and receives in-band; programs, maps, chains and sockets are as before.
func TestKilledUnderLoad(t *testing.T) {
	lab.NeedProgram(t, "nft")
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			lab.CheckLeaks(t)
			l := lab.New(t, lab.Config{Kernel: lab.All})
			w := &killed{t, l.Near(), l.Far().UDP(t, 0)}
			w.awaitCarrier()
			before := w.traces()
			// A busy machine may be late; one that is late each time is not busy.
			var took []time.Duration
			for range 5 {
				took = append(took, w.kill(only(r)))
				if took[len(took)-1] <= 50*time.Millisecond {
					break
				}
			}
			t.Logf("in-band again after %v", took)
			if took[len(took)-1] > 50*time.Millisecond {
				t.Error("that is more than 50 ms")
			}
			for end := time.Now().Add(soon); w.traces() != before; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("before:\n%s\nafter:\n%s", before, w.traces())
				}
			}
		})
	}
}
