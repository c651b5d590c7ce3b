package shared

import (
	"bufio"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func init() { children["dropped"] = dropped }

// needed are the capabilities that it takes to open a stack, by what keeps the kernel off its
// datagrams.
var needed = map[claim.Rung][]int{
	claim.TCX:    {unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_BPF},
	claim.NFT:    {unix.CAP_NET_RAW, unix.CAP_NET_ADMIN},
	claim.Holder: {unix.CAP_NET_RAW},
}

// keepCapabilities has all threads keep but these capabilities.
func keepCapabilities(keep ...int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	var bits uint64
	for _, c := range keep {
		bits |= 1 << c
		data[c/32].Permitted |= 1 << (c % 32)
		data[c/32].Effective |= 1 << (c % 32)
	}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if e != 0 {
		return fmt.Errorf("capset on all threads: %w", e)
	}
	for _, f := range must(filepath.Glob("/proc/self/task/*/status")) {
		if b, err := os.ReadFile(f); err == nil && !strings.Contains(string(b), fmt.Sprintf("CapEff:\t%016x", bits)) {
			return fmt.Errorf("%s has other capabilities", f)
		}
	}
	return nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// group is one that children join.
var group = netip.MustParseAddr("233.252.0.7")

// dropped opens a stack with no more capabilities than it takes, so that it gets the rung that
// these give, drops all, and does then what it is told to.
func dropped() error {
	c := childConfig()
	c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	want := c.Only
	c.Only = claim.Any
	if err := keepCapabilities(needed[want]...); err != nil {
		return err
	}
	h, err := Open(c)
	if err != nil {
		return err
	}
	if got := h.claims.Rung(); got != want {
		return fmt.Errorf("is %s: %w", got, h.claims.Why())
	}
	if err := keepCapabilities(); err != nil {
		return err
	}
	d := droppedChild{h, h.Stack()}
	fmt.Println("dropped")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		task, argument, _ := strings.Cut(in.Text(), " ")
		fmt.Println(d.do(task, argument))
	}
	return h.Close()
}

type droppedChild struct {
	h  *Host
	st *stack.Stack
}

// do does a task, and returns what came of it.
func (d *droppedChild) do(task, argument string) (result string) {
	defer func() {
		if p := recover(); p != nil {
			result = fmt.Sprintf("%s: %v", task, p)
		}
	}()
	switch task {
	case "serve":
		k := must(d.st.NewUDPSocket())
		ok(k.Bind(netip.MustParseAddrPort(argument)))
		go d.serve(k)
	case "call":
		k := must(d.st.NewUDPSocket())
		defer k.Close()
		ok(k.Connect(netip.MustParseAddrPort(argument)))
		ok(k.Send([]byte("calling"), 0, d.st.Deadline(soon)))
		b := make([]byte, 64)
		n, _, err := k.Recv(b, 0, d.st.Deadline(soon))
		ok(err)
		return string(b[:n])
	case "join":
		k := must(d.st.NewUDPSocket())
		ok(k.Bind(netip.MustParseAddrPort(argument)))
		ok(k.Multicast().JoinGroup(stack.GroupRequest{Group: group.As4(), Interface: d.st.InterfaceByName("near0").Index()}))
		go d.serve(k)
	case "status":
		for _, s := range d.h.Status().Devices {
			if s.Name == "near0" {
				return fmt.Sprintf("near0 has a ring: %t, a rung: %t, brings in-band: %t", s.Ring, s.Rung != "", s.HolderIn > 0)
			}
		}
		return "near0 is not there"
	case "by":
		i := d.st.InterfaceByName("near0")
		if i == nil {
			return "none"
		}
		if r := d.h.claims.RungOf(i.Index()); r != claim.Any {
			return r.String()
		}
		return "none"
	}
	return "ok"
}

// serve answers on a socket.
func (d *droppedChild) serve(k *stack.UDPSocket) {
	b := make([]byte, 64)
	for {
		n, info, err := k.Recv(b, 0, stack.NoDeadline)
		if err == unix.EBADF {
			return
		}
		if err == nil {
			k.SendTo(b[:n], 0, stack.NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort))
		}
	}
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}

// withoutC returns this test binary as one without C, since where there is C the runtime does
// not know all threads (syscall.AllThreadsSyscall).
func withoutC(t *testing.T) string {
	t.Helper()
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); e == 0 {
		return ""
	}
	out := filepath.Join(t.TempDir(), "shared.test")
	cmd := exec.Command("go", "test", "-c", "-o", out, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("a test binary without C cannot be built: %v\n%s", err, text)
	}
	return out
}

// A process that has dropped all capabilities on all threads, once its stack is open, goes on
// with everything: it binds, connects, sends, receives, joins groups, and lives through a link
// that flaps and a device that is made anew. On tcx nothing that it asks of the kernel is refused,
// but a ring for the new device.
func TestAllCapabilitiesDropped(t *testing.T) {
	lab.Need(t)
	program := withoutC(t)
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			lab.CheckLeaks(t)
			w := &droppedTest{t: t, Lab: lab.New(t, lab.Config{Kernel: lab.All})}
			check(t, w.Far().AddLinkRoute("far0", netip.MustParsePrefix("233.252.0.0/24")))
			w.c = startChild(t, w.Near().Namespace, "dropped", program, nil, only(r))
			w.run()
		})
	}
	t.Run("traced", func(t *testing.T) {
		lab.NeedProgram(t, "strace")
		trace := filepath.Join(t.TempDir(), "trace")
		w := &droppedTest{t: t, Lab: lab.New(t, lab.Config{Kernel: lab.All})}
		check(t, w.Far().AddLinkRoute("far0", netip.MustParsePrefix("233.252.0.0/24")))
		w.c = startChild(t, w.Near().Namespace, "dropped", program, []string{"strace", "-f", "-qq", "-e", "signal=none", "-o", trace}, only(claim.TCX))
		w.run()
		noEPERM(t, trace)
	})
}

// noEPERM fails the test if a call was refused after all capabilities were dropped.
func noEPERM(t *testing.T, trace string) {
	t.Helper()
	b, err := os.ReadFile(trace)
	check(t, err)
	all := string(b)
	at := strings.LastIndex(all, "capset(")
	if at < 0 {
		t.Fatal("the trace has no capset")
	}
	begun := map[string]string{} // by thread
	for line := range strings.Lines(all[at:]) {
		thread, _, _ := strings.Cut(line, " ")
		if strings.Contains(line, "<unfinished") {
			begun[thread] = line
		} else if strings.Contains(line, "resumed>") {
			line = begun[thread] + line
		}
		switch {
		case strings.Contains(line, "socket(AF_PACKET"): // a ring for the new device
		case strings.Contains(line, "epoll_ctl"): // no file can be polled
		case strings.Contains(line, "rt_sigreturn"): // what an interrupted call had returned
		case strings.Contains(line, "EPERM"), strings.Contains(line, "EACCES"):
			t.Error(strings.TrimSpace(line))
		}
	}
}

type droppedTest struct {
	t *testing.T
	*lab.Lab
	c      *child
	client *inband.UDP
}

func (w *droppedTest) tell(task, want string) {
	w.t.Helper()
	w.c.say(task)
	w.c.want(want)
}

// answers waits until the child answers what is sent to an address.
func (w *droppedTest) answers(what string, to netip.AddrPort) {
	w.t.Helper()
	b := make([]byte, 64)
	for end := time.Now().Add(soon); ; {
		check(w.t, w.client.SendTo([]byte(what), to))
		if n, _, err := w.client.RecvFrom(b, 0); err == nil && string(b[:n]) == what {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s: no answer", what)
		}
	}
}

// gone waits until the child knows that its device is gone.
func (w *droppedTest) gone() {
	w.t.Helper()
	w.comesToSay("by", "none")
}

// comesToSay waits until the child says something of a task.
func (w *droppedTest) comesToSay(task, want string) {
	w.t.Helper()
	for end := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		w.c.say(task)
		said := w.c.hear()
		if said == want {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("of %s the child says %q, not %q", task, said, want)
		}
	}
}

func (w *droppedTest) run() {
	t, near, far := w.t, w.Near(), w.Far()
	w.c.want("dropped")
	w.client = far.UDP(t, 0)
	check(t, w.client.SetReadTimeout(50*time.Millisecond))
	served := addrPort(near, 2000)
	w.tell("serve 0.0.0.0:2000", "ok")
	w.answers("bound", served)

	called := far.UDP(t, 5000)
	w.c.say("call 10.9.0.2:5000")
	got, from := recvInBand(t, called)
	if got != "calling" || from.Addr() != near.Addr {
		t.Errorf("%q from %s", got, from)
	}
	check(t, called.SendTo([]byte("called"), from))
	w.c.want("called")

	w.tell("join 0.0.0.0:2001", "ok")
	w.answers("joined", netip.AddrPortFrom(group, 2001))

	check(t, near.SetDown("near0"))
	check(t, near.SetUp("near0"))
	w.answers("flapped", served)
	w.answers("flapped group", netip.AddrPortFrom(group, 2001))

	check(t, near.DeleteDevice("near0"))
	w.gone()
	check(t, near.AddVeth(netlab.Veth{Name: near.Name, PeerName: far.Name, Peer: far.Namespace, MTU: 1500}))
	for _, e := range []*lab.Endpoint{near, far} {
		check(t, e.AddAddress(e.Name, netip.PrefixFrom(e.Addr, lab.Bits)))
		check(t, e.SetUp(e.Name))
	}
	check(t, far.AddLinkRoute("far0", netip.MustParsePrefix("233.252.0.0/24")))
	w.answers("made anew", served)
	w.tell("serve 10.9.0.1:2002", "ok")
	w.answers("bound after that", addrPort(near, 2002))
	// Without CAP_NET_RAW there is no new ring for the new device: what comes by it comes by
	// the sockets that hold the ports.
	w.tell("by", "none")
	w.comesToSay("status", "near0 has a ring: false, a rung: false, brings in-band: true")
	for range 3 { // each of which has it try again
		check(t, near.SetDown("near0"))
		check(t, near.SetUp("near0"))
	}
	w.answers("flapped again", served)
	if err := w.c.end(); err != nil {
		t.Errorf("the child ends with %v", err)
	}
	if n := strings.Count(w.c.errs.String(), "a device has no ring"); n != 1 {
		t.Errorf("it is said %d times that there is no ring:\n%s", n, w.c.errs.String())
	}
}
