package inband

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// reserved is the address of these tests.
var reserved = [4]byte{10, 9, 0, 2}

// A hostProcess is another process on the host.
type hostProcess struct {
	pid  int
	in   io.Writer
	out  *bufio.Reader
	said string // last
	end  func()
}

// read waits for the next line that it says.
func (p *hostProcess) read(t *testing.T) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	must(t, err)
	p.said = strings.TrimSpace(line)
}

// neighbour starts a task of this binary's on the host as a user of his own, who has the
// given capabilities, and waits until it says what it has come to. It ends with the test.
func (lb *guestLab) neighbour(task string, capabilities ...uintptr) *hostProcess {
	lb.t.Helper()
	const nobody = 65534
	cmd := self(task)
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: capabilities}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(lb.t, err)
	out, err := cmd.StdoutPipe()
	must(lb.t, err)
	must(lb.t, lb.host.Do(cmd.Start))
	p := &hostProcess{pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out), end: sync.OnceFunc(func() { in.Close(); cmd.Wait() })}
	lb.t.Cleanup(p.end)
	p.read(lb.t)
	return p
}

// squat does what a user without privileges can to look like a stack that has an address:
// a name that stands for it, and a packet socket.
func squat() int {
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var st unix.Stat_t
	unix.Stat("/proc/self/ns/net", &st)
	name := fmt.Sprintf("@outband/%d/%d/%s", st.Ino, device.Index, netip.AddrFrom4(reserved))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	packet, packetErr := openHolder()
	if packetErr == nil {
		packetErr = markHolder(packet, device.Index, reserved)
	}
	fmt.Println("name:", err, "packet socket:", packetErr)
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// reserveInChild reserves the address until its standard input ends.
func reserveInChild() int {
	g, err := NewGuest(GuestOptions{NoClaim: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer g.Close()
	device, err := net.InterfaceByName("eth0")
	if err == nil {
		g.Attach(device.Index, "eth0")
		err = g.Reserve(reserved)
	}
	fmt.Println("reserved:", err)
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// TestSquatter has a user without privileges who would like to keep addresses from
// stacks.
func TestSquatter(t *testing.T) {
	lb := newGuestLab(t)
	if p := lb.neighbour("squat"); p.said != "name: <nil> packet socket: operation not permitted" {
		t.Fatal(p.said)
	}
	must(t, lb.guest(GuestOptions{}).Reserve(reserved))
}

// TestReserveAmongProcesses has a stack of another user's, who may open packet sockets.
func TestReserveAmongProcesses(t *testing.T) {
	lb := newGuestLab(t)
	p := lb.neighbour("reserve", unix.CAP_NET_RAW)
	if p.said != "reserved: <nil>" {
		t.Fatal(p.said)
	}
	g := lb.guest(GuestOptions{})
	if err := g.Reserve(reserved); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), fmt.Sprintf("process %d has 10.9.0.2 on eth0", p.pid)) {
		t.Errorf("another process' address: %v", err)
	}
	must(t, g.Reserve([4]byte{10, 9, 0, 3}))
	p.end()
	must(t, g.Reserve(reserved))
	if p = lb.neighbour("reserve", unix.CAP_NET_RAW); !strings.Contains(p.said, "address already in use") {
		t.Errorf("the second process: %s", p.said)
	}
}

// TestReserveAtOnce has several want one address at the same moment: one of them at most
// gets it.
func TestReserveAtOnce(t *testing.T) {
	lb := newGuestLab(t)
	var guests []*Guest
	for range 8 {
		guests = append(guests, lb.guest(GuestOptions{NoClaim: true}))
	}
	for range 20 {
		var got atomic.Int32
		var all sync.WaitGroup
		begin := make(chan struct{})
		for _, g := range guests {
			all.Go(func() {
				<-begin
				if g.Reserve(reserved) == nil {
					got.Add(1)
				}
			})
		}
		close(begin)
		all.Wait()
		if got.Load() > 1 {
			t.Fatalf("%d got it", got.Load())
		}
		for _, g := range guests {
			g.Release(reserved)
		}
		must(t, guests[0].Reserve(reserved)) // it is free again
		guests[0].Release(reserved)
	}
}

// reserveLate reserves addresses after it has given up all privileges, as programs do once
// their link is open, and releases them when a line comes.
func reserveLate() int {
	runtime.LockOSThread() // which has the privileges
	g, err := NewGuest(GuestOptions{NoClaim: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer g.Close()
	header, none := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	device, err := net.InterfaceByName("eth0")
	if err == nil {
		g.Attach(device.Index, "eth0")
		err = unix.Capset(&header, &none[0])
	}
	for _, a := range lateAddresses() {
		err = errors.Join(err, g.Reserve(a))
	}
	fmt.Println("late:", err)
	lines := bufio.NewReader(os.Stdin)
	lines.ReadString('\n')
	for _, a := range lateAddresses() {
		g.Release(a)
	}
	fmt.Println("released")
	io.Copy(io.Discard, lines)
	return 0
}

func lateAddresses() (all [][4]byte) {
	for i := range spareHolders {
		all = append(all, [4]byte{10, 9, 0, byte(10 + i)})
	}
	return all
}

// TestReserveWithoutPrivileges has a program that gives up its privileges once its link is
// open.
func TestReserveWithoutPrivileges(t *testing.T) {
	lb := newGuestLab(t)
	p := lb.neighbour("late", unix.CAP_NET_RAW)
	if p.said != "late: <nil>" {
		t.Fatal(p.said)
	}
	g := lb.guest(GuestOptions{NoClaim: true})
	for _, a := range lateAddresses() {
		if err := g.Reserve(a); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%v: %v", a, err)
		}
	}
	fmt.Fprintln(p.in)
	if p.read(t); p.said != "released" {
		t.Fatal(p.said)
	}
	for _, a := range lateAddresses() {
		must(t, g.Reserve(a))
	}
}

// TestReserveElsewhere has sockets about that are no reservations: of another device, or
// without the mark.
func TestReserveElsewhere(t *testing.T) {
	lb := newGuestLab(t)
	must(t, lb.host.AddVeth(netlab.Veth{Name: "eth1", PeerName: "peer1", Peer: lb.peer}))
	other, err := lb.host.Device("eth1")
	must(t, err)
	first := lb.guest(GuestOptions{NoClaim: true})
	first.Attach(other.Index, "eth1")
	must(t, first.Reserve(reserved))
	eth0, err := lb.host.Device("eth0")
	must(t, err)
	var fd int
	must(t, lb.host.Do(func() (err error) { fd, err = openHolder(); return err }))
	defer unix.Close(fd)
	must(t, markHolder(fd, eth0.Index, reserved))
	must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_RAW_HARDWARE))
	must(t, lb.guest(GuestOptions{NoClaim: true}).Reserve(reserved))
}

// TestReserveOnNewDevice has the device replaced by another of its name: what is reserved
// is so there.
func TestReserveOnNewDevice(t *testing.T) {
	lb := newGuestLab(t)
	g := lb.guest(GuestOptions{NoClaim: true})
	must(t, g.Reserve(reserved))
	must(t, lb.host.DeleteDevice("eth0"))
	must(t, lb.host.AddVeth(netlab.Veth{Name: "eth0", PeerName: "peer0", Peer: lb.peer}))
	d, err := lb.host.Device("eth0")
	must(t, err)
	g.Attach(d.Index, "eth0")
	must(t, g.Taken(reserved))
	if err := lb.guest(GuestOptions{NoClaim: true}).Reserve(reserved); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("on the new device: %v", err)
	}
}

// TestSpareHolders gives back more sockets than are kept.
func TestSpareHolders(t *testing.T) {
	lb := newGuestLab(t)
	g := lb.guest(GuestOptions{NoClaim: true})
	h := &g.holders
	var all []int
	for range 2 {
		fd := h.get()
		if fd < 0 {
			t.Fatal("no socket")
		}
		all = append(all, fd)
	}
	if len(h.spare) != spareHolders {
		t.Fatalf("%d spare ones at first", len(h.spare))
	}
	last := h.spare[spareHolders-1]
	h.spare = h.spare[:spareHolders-1]
	unix.Close(last)
	for _, fd := range all {
		h.put(fd)
	}
	if len(h.spare) != spareHolders || h.spare[spareHolders-1] != all[0] {
		t.Errorf("%d spare ones, want %d", len(h.spare), spareHolders)
	}
	if err := unix.Fstat(all[1], new(unix.Stat_t)); err != unix.EBADF {
		t.Errorf("one too many is not closed: %v", err)
	}
}
