package conformance

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// Processes of their own, for what can only be measured of a whole process: its
// memory, its CPU time, its system calls.

// roleVariable names, in the environment of a process that a test started, what
// it is to do there.
const roleVariable = "OUTBAND_CONFORMANCE_ROLE"

// A role is what a child does with a stack on the near device.
type role func(s *stack.Stack, peer netip.AddrPort) (any, error)

var roles = map[string]role{"idle": idle, "send": sendMany, "spin": spinMany}

// runChild plays a role in the process's network namespace, and prints what came
// of it as JSON.
func runChild(name string) (code int) {
	result, err := play(roles[name])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return 1
	}
	return 0
}

func play(r role) (any, error) {
	l, err := tpacket.Open("near0", tpacket.Options{})
	if err != nil {
		return nil, err
	}
	s, err := stack.New(stack.Config{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	ifc, err := s.AddLink(l, stack.InterfaceConfig{})
	if err != nil {
		return nil, err
	}
	if err := ifc.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		return nil, err
	}
	return r(s, netip.MustParseAddrPort("10.9.0.2:7"))
}

// child returns a command that plays a role at the near end of a lab; with a
// wrapper's words in front if there are any.
func child(role string, wrapper ...string) *exec.Cmd {
	words := append(wrapper, os.Args[0])
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// idleResult is what an idle process cost.
type idleResult struct {
	ResidentKiB int           // afterwards
	Alone       time.Duration // CPU time in a second in which nobody receives
	Waiting     time.Duration // and in one in which a reader waits
}

func idle(s *stack.Stack, _ netip.AddrPort) (any, error) {
	var r idleResult
	time.Sleep(100 * time.Millisecond) // the announcement, the housekeeper's place
	r.Alone = cpuTime(func() { time.Sleep(time.Second) })
	k, err := s.NewUDPSocket()
	if err != nil {
		return nil, err
	}
	if err := k.Bind(netip.MustParseAddrPort("0.0.0.0:7")); err != nil {
		return nil, err
	}
	r.Waiting = cpuTime(func() { k.Recv(make([]byte, 1), 0, s.Deadline(time.Second)) })
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	r.ResidentKiB, err = strconv.Atoi(strings.Fields(rest)[0])
	return r, err
}

// cpuTime returns the CPU time that the process takes while f runs.
func cpuTime(f func()) time.Duration {
	used := func() time.Duration {
		var r unix.Rusage
		unix.Getrusage(unix.RUSAGE_SELF, &r)
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := used()
	f()
	return used() - before
}

// An idle stack costs no CPU, and with a default ring little memory.
func TestIdle(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	var out []byte
	l.Near().In(t, func() (err error) {
		out, err = child("idle").Output()
		return err
	})
	var r idleResult
	check(t, json.Unmarshal(out, &r))
	t.Logf("%d KiB resident, CPU %v alone, %v with a reader", r.ResidentKiB, r.Alone, r.Waiting)
	const limit = 20 * time.Millisecond
	if r.Alone > limit || r.Waiting > limit {
		t.Errorf("CPU time in a second of idleness: %v alone, %v with a reader, want at most %v", r.Alone, r.Waiting, limit)
	}
	if r.ResidentKiB > 40<<10 && !raceEnabled {
		t.Errorf("%d KiB are resident, want at most 40 MiB", r.ResidentKiB)
	}
}

// Calls that a trace shows at the beginning and the end of what is counted.
const (
	markBegin = 0x7ffffff1 // getpgid of a process that there cannot be
	markEnd   = 0x7ffffff2
)

// traced is how many datagrams a traced process sends or receives.
const traced = 500

func sendMany(s *stack.Stack, peer netip.AddrPort) (any, error) {
	k, err := connected(s, peer, stack.SpinNever)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 64)
	unix.Getpgid(markBegin)
	for range traced {
		if err := k.Send(b, 0, stack.NoDeadline); err != nil {
			return nil, err
		}
	}
	unix.Getpgid(markEnd)
	return traced, nil
}

func spinMany(s *stack.Stack, peer netip.AddrPort) (any, error) {
	k, err := connected(s, peer, stack.SpinAlways)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 64)
	unix.Getpgid(markBegin)
	for range traced {
		if _, _, err := k.Recv(b, 0, s.Deadline(lab.Patience)); err != nil {
			return nil, err
		}
	}
	unix.Getpgid(markEnd)
	return traced, nil
}

// connected returns a socket that has exchanged a datagram with the peer.
func connected(s *stack.Stack, peer netip.AddrPort, spin time.Duration) (*stack.UDPSocket, error) {
	k, err := s.NewUDPSocket()
	if err != nil {
		return nil, err
	}
	k.Spinner().Set(spin)
	k.SetReceiveBuffer(4 << 20)
	if err := k.Connect(peer); err != nil {
		return nil, err
	}
	if err := k.Send([]byte("begin"), 0, stack.NoDeadline); err != nil {
		return nil, err
	}
	_, _, err = k.Recv(make([]byte, 64), 0, s.Deadline(lab.Patience))
	return k, err
}

// trace plays a role under strace(1), and returns how often each system call was
// made between the marks, by all threads.
func trace(t *testing.T, l *lab.Lab, role string) (calls map[string]int) {
	t.Helper()
	lab.NeedProgram(t, "strace")
	file := t.TempDir() + "/trace"
	l.Near().In(t, func() error {
		_, err := child(role, "strace", "-f", "-qq", "-e", "signal=none", "-o", file).Output()
		return err
	})
	data, err := os.ReadFile(file)
	check(t, err)
	for line := range strings.Lines(string(data)) {
		_, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		call = strings.TrimSpace(call)
		name, args, ok := strings.Cut(call, "(")
		switch {
		case name == "getpgid" && strings.HasPrefix(args, strconv.Itoa(markBegin)):
			calls = make(map[string]int)
		case name == "getpgid" && strings.HasPrefix(args, strconv.Itoa(markEnd)):
			return calls
		case ok && calls != nil && !strings.HasPrefix(call, "<..."):
			calls[name]++
		}
	}
	t.Fatalf("no marks in the trace of %q: %.2000s", role, data)
	return nil
}

// onTheWay are the calls that a datagram's way may take: sending, receiving,
// sleeping and waking. What Go's runtime does for itself is not among them.
var onTheWay = []string{"sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "read", "write",
	"readv", "writev", "poll", "ppoll", "select", "ioctl", "getsockopt", "setsockopt"}

func wayCalls(calls map[string]int) (n int) {
	for _, name := range onTheWay {
		n += calls[name]
	}
	return n
}

// To send a datagram takes one system call.
func TestSendSyscalls(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	u := l.Far().UDP(t, 7)
	done := make(chan struct{})
	go func() { // answers once
		defer close(done)
		b := make([]byte, 64)
		if n, from, err := u.RecvFrom(b, 0); err != nil || u.SendTo(b[:n], from) != nil {
			t.Error("the child has not begun:", err)
		}
	}()
	defer func() { <-done }()
	calls := trace(t, l, "send")
	t.Logf("to send %d datagrams: %v", traced, calls)
	// The link asks the kernel about its device now and then, by netlink(7).
	if calls["sendto"] < traced || wayCalls(calls) > traced+traced/10 {
		t.Errorf("%d datagrams took %d sendto, and %d calls in all", traced, calls["sendto"], wayCalls(calls))
	}
}

// To receive one while spinning takes none.
func TestSpinSyscalls(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	u := l.Far().UDP(t, 7)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64)
		_, to, err := u.RecvFrom(b, 0)
		if err != nil {
			t.Error("the child has not begun:", err)
			return
		}
		for {
			select {
			case <-quit:
				return
			default:
				u.SendTo(b, to)
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	calls := trace(t, l, "spin")
	close(quit)
	<-done
	t.Logf("to receive %d datagrams: %v", traced, calls)
	if n := wayCalls(calls); n > traced/20 {
		t.Errorf("%d datagrams took %d system calls", traced, n)
	}
}
