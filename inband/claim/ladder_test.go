package claim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	cilium "github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/internal/nftables"
)

// hides reports whether the kernel is kept off a datagram.
func (lb *lab) hides(f frame) bool {
	lb.t.Helper()
	before := lb.counter("Ip InReceives")
	lb.inject(lb.bytes(f))
	return lb.counter("Ip InReceives") == before
}

// tables returns the names of the host's nf_tables tables.
func (lb *lab) tables() (names []string) {
	lb.t.Helper()
	must(lb.t, lb.host.Do(func() error {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP)
		req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_NETDEV})
		answers, err := req.Execute(unix.NETLINK_NETFILTER, 0)
		for _, a := range answers {
			attrs, err := nl.ParseRouteAttr(a[nl.SizeofNfgenmsg:])
			if err != nil {
				return err
			}
			for _, attr := range attrs {
				if attr.Attr.Type&^unix.NLA_F_NESTED == unix.NFTA_TABLE_NAME {
					names = append(names, string(bytes.TrimRight(attr.Value, "\x00")))
				}
			}
		}
		return err
	}))
	return names
}

// programs returns how many programs are at the ingress of eth0.
func (lb *lab) programs() (n int) {
	lb.t.Helper()
	must(lb.t, lb.host.Do(func() error {
		r, err := link.QueryPrograms(link.QueryOptions{Target: lb.index, Attach: cilium.AttachTCXIngress})
		if err == nil {
			n = len(r.Programs)
		}
		return err
	}))
	return n
}

// fill attaches programs of others to eth0.
func (lb *lab) fill(n int) {
	lb.t.Helper()
	for range n {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, tcxNext), asm.Return()}})
		if err != nil {
			lb.t.Skip("no eBPF: ", err)
		}
		lb.t.Cleanup(func() { p.Close() })
		must(lb.t, lb.host.Do(func() error {
			l, err := ebpf.AttachTCX(lb.index, p)
			if err == nil {
				lb.t.Cleanup(func() { l.Close() })
			}
			return err
		}))
	}
}

// TestFullDevice has a 63rd, 64th and 65th process at a device: TCX holds 63 programs.
func TestFullDevice(t *testing.T) {
	lb := newLab(t)
	lb.fill(62)
	var all []*Claims
	for i, want := range []Rung{TCX, NFT, NFT} {
		c := lb.open(Options{})
		claim := Claim{Port: uint16(1000 + i)}
		add(t, c, claim)
		must(t, c.Attach(lb.index, "eth0"))
		add(t, c, Claim{Port: uint16(2000 + i)})
		if got := c.RungOf(lb.index); got != want || c.Rung() != TCX || c.Why() != nil {
			t.Errorf("process %d: %s, %s, %v; want %s", 63+i, got, c.Rung(), c.Why(), want)
		}
		if why := c.WhyOf(lb.index); errors.Is(why, unix.ERANGE) != (want == NFT) || c.WhyOf(lb.index+1) != nil {
			t.Errorf("process %d: %s because of %v", 63+i, want, why)
		}
		all = append(all, c)
	}
	for i, c := range all {
		before, after := frame{to: hostAddr, dport: uint16(1000 + i)}, frame{to: hostAddr, dport: uint16(2000 + i)}
		if !lb.hides(before) || !lb.hides(after) {
			t.Errorf("process %d: the kernel has claimed datagrams", 63+i)
		}
		c.Close()
		if lb.hides(before) || lb.hides(after) {
			t.Errorf("process %d: datagrams are hidden after Close", 63+i)
		}
	}
	c := lb.open(Options{})
	must(t, c.Attach(lb.index, "eth0"))
	if got := c.RungOf(lb.index); got != TCX {
		t.Errorf("there is room again: %s", got)
	}
}

// TestRequired has less than what is required be an error, at each step.
func TestRequired(t *testing.T) {
	lb := newLab(t)
	lb.fill(63)
	c := lb.open(Options{Require: TCX})
	if err := c.Attach(lb.index, "eth0"); !errors.Is(err, unix.ERANGE) || c.RungOf(lb.index) != Any {
		t.Errorf("TCX is full, and required: %v, %s", err, c.RungOf(lb.index))
	}
	for _, o := range []Options{{Require: NFT}, {Force: NFT}} {
		c = lb.open(o)
		must(t, c.Attach(lb.index, "eth0"))
		if got := c.RungOf(lb.index); got != NFT {
			t.Errorf("%+v: %s", o, got)
		}
		c.mu.Lock()
		c.loseNFTLocked(unix.EPERM) // as when the process has dropped CAP_NET_ADMIN
		c.mu.Unlock()
		if _, err := c.Add(Claim{Port: 1000}); !errors.Is(err, unix.EPERM) {
			t.Errorf("%+v: nf_tables is lost: %v", o, err)
		}
		if c.table.flags(1000) != 0 {
			t.Errorf("%+v: a claim that failed holds", o)
		}
	}
	c = lb.open(Options{Force: Holder})
	must(t, c.Attach(lb.index, "eth0"))
	if c.Rung() != Holder || c.RungOf(lb.index) != Holder || c.Why() == nil {
		t.Errorf("%s, %s, %v", c.Rung(), c.RungOf(lb.index), c.Why())
	}
}

// TestLostTable has nf_tables refuse a change: nothing stays claimed there, and the
// claims go on by the holder.
func TestLostTable(t *testing.T) {
	lb := newLab(t)
	c := lb.open(Options{})
	lb.fill(63)
	must(t, c.Attach(lb.index, "eth0"))
	e := add(t, c, Claim{Port: 1000})
	add(t, c, Claim{Port: 1001})
	if !lb.hides(frame{to: hostAddr, dport: 1001}) || len(lb.tables()) != 1 {
		t.Fatal("not claimed")
	}
	must(t, c.nft.socket.Send(func(b *nftables.Batch) { b.Remove(c.nft.name, "wild", []byte{1000 >> 8, 1000 & 0xff}) }))
	e.Close()
	if c.RungOf(lb.index) != Holder || c.Why() == nil || !errors.Is(c.WhyOf(lb.index), unix.ENOENT) || len(lb.tables()) != 0 ||
		lb.hides(frame{to: hostAddr, dport: 1001}) {
		t.Errorf("%s, %v, %v, tables %v", c.RungOf(lb.index), c.Why(), c.WhyOf(lb.index), lb.tables())
	}
	add(t, c, Claim{Port: 1000})
	must(t, c.Attach(lb.index, "eth0"))
	if c.RungOf(lb.index) != Holder {
		t.Error(c.RungOf(lb.index))
	}
}

// TestDevices has a device deleted and made again, and renamed.
func TestDevices(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		add(t, c, Claim{Port: 1000})
		f := frame{to: hostAddr, dport: 1000}
		hides := func(what string) {
			t.Helper()
			if got := lb.hides(f); got != (o.Force != Holder) {
				t.Errorf("%s: hidden: %t", what, got)
			}
		}
		hides("at first")
		must(t, c.Attach(lb.index, "eth0"))
		hides("attached again")
		must(t, lb.host.Do(func() error { return rename("eth0", "eth1") }))
		must(t, c.Attach(lb.index, "eth1"))
		hides("renamed")
		must(t, lb.host.DeleteDevice("eth1"))
		if err := c.Attach(lb.index, "eth1"); !errors.Is(err, unix.ENODEV) {
			t.Errorf("a device that is gone: %v", err)
		}
		if o.Force != TCX { // which goes by the index
			if err := c.Attach(lb.index, "lo"); !errors.Is(err, unix.ENODEV) {
				t.Errorf("another device's name: %v", err)
			}
		}
		gone := lb.index
		lb.cable()
		must(t, c.Attach(lb.index, "eth0"))
		hides("made again")
		if c.RungOf(gone) != Any && gone != lb.index {
			t.Errorf("the device that is gone: %s", c.RungOf(gone))
		}
		c.Detach(gone)
		c.Detach(lb.index)
		if lb.hides(f) || c.RungOf(lb.index) != Any {
			t.Error("detached, and still there")
		}
		must(t, c.Attach(lb.index, "eth0"))
		hides("attached once more")
	})
}

// rename renames a device of the thread's namespace.
func rename(from, to string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var request [40]byte // struct ifreq
	copy(request[:], from)
	copy(request[16:], to)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFNAME, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}

// TestKilled has a process killed: nothing of it stays.
func TestKilled(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		cmd := self("claim")
		cmd.Env = append(cmd.Env, "FORCE="+strconv.Itoa(int(o.Force)), "INDEX="+strconv.Itoa(lb.index))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, lb.host.Do(cmd.Start))
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			cmd.Wait()
			t.Skip("the child has no such rung")
		}
		var ids []int
		for _, word := range strings.Fields(line) {
			id, err := strconv.Atoi(word)
			must(t, err)
			ids = append(ids, id)
		}
		f := frame{to: hostAddr, dport: 1000}
		if lb.hides(f) != (o.Force != Holder) {
			t.Error("the child does not claim")
		}
		must(t, cmd.Process.Kill())
		io.Copy(io.Discard, out)
		cmd.Wait()
		eventually(t, "the kernel has the port back", func() bool { return !lb.hides(f) })
		eventually(t, "no tables", func() bool { return len(lb.tables()) == 0 })
		for _, id := range ids {
			eventually(t, "no program", func() bool {
				p, err := cilium.NewProgramFromID(cilium.ProgramID(id))
				if err == nil {
					p.Close()
				}
				return errors.Is(err, os.ErrNotExist)
			})
		}
		if o.Force == TCX && lb.programs() != 0 {
			t.Error("a program is attached still")
		}
	})
}

func init() {
	children["claim"] = func() int {
		force, _ := strconv.Atoi(os.Getenv("FORCE"))
		index, _ := strconv.Atoi(os.Getenv("INDEX"))
		c, err := Open(Options{Force: Rung(force)})
		if err == nil {
			err = c.Attach(index, "eth0")
		}
		if err == nil {
			err = c.SetLocal([][4]byte{hostAddr}, nil)
		}
		if err == nil {
			_, err = c.Add(Claim{Port: 1000})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		for _, p := range []*ebpf.Program{c.filter, c.tcx} {
			if p != nil {
				their, err := theirs(p)
				if err != nil {
					return 1
				}
				info, err := their.Info()
				if err != nil {
					return 1
				}
				id, _ := info.ID()
				fmt.Print(id, " ")
			}
		}
		fmt.Println()
		select {}
	}
}

// TestWithoutCapabilities has a thread drop all capabilities when the claims are open.
func TestWithoutCapabilities(t *testing.T) {
	lb := newLab(t)
	var ringFD int
	elsewhere := func(f func() error) error { // on a thread that has them
		done := make(chan error)
		go func() { done <- f() }()
		return <-done
	}
	err := lb.host.Do(func() error {
		c, err := Open(Options{Force: TCX})
		if err != nil {
			t.Skip(err)
		}
		defer c.Close()
		if ringFD, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		defer unix.Close(ringFD)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		e, addErr := c.Add(Claim{Port: 1000})
		connected, err := c.Add(Claim{Port: 1001, Local: hostAddr})
		steps := []error{addErr, err, c.SetLocal([][4]byte{hostAddr}, [][4]byte{broadcast}), c.Attach(lb.index, "eth0"), c.AttachFilter(ringFD),
			connected.Replace(Claim{Port: 1001, Local: hostAddr, Peer: peerAddr, PeerPort: 5})}
		_, err = c.Widen(Everything)
		steps = append(steps, err, elsewhere(func() error {
			if !lb.hides(frame{to: hostAddr, dport: 1000}) {
				return errors.New("not claimed")
			}
			err := lb.host.DeleteDevice("eth0")
			lb.cable()
			return err
		}), c.Attach(lb.index, "eth0"))
		if got := c.RungOf(lb.index); got != TCX {
			steps = append(steps, fmt.Errorf("attached by %s", got))
		}
		steps = append(steps, elsewhere(func() error {
			if !lb.hides(frame{to: hostAddr, dport: 1000}) {
				return errors.New("not claimed on the new device")
			}
			return nil
		}))
		e.Close()
		return errors.Join(steps...)
	})
	must(t, err)
}

// TestUnprivileged runs tests again in a user namespace, where nf_tables is what there is.
func TestUnprivileged(t *testing.T) {
	const mark = "OUTBAND_CLAIM_UNPRIVILEGED"
	if os.Getenv(mark) != "" {
		lb := newLab(t)
		c := lb.open(Options{})
		must(t, c.Attach(lb.index, "eth0"))
		if c.Rung() != NFT || c.RungOf(lb.index) != NFT || !errors.Is(c.Why(), unix.EPERM) || c.filter != nil {
			t.Errorf("%s, %s: %v", c.Rung(), c.RungOf(lb.index), c.Why())
		}
		return
	}
	cmd := self("")
	cmd.Args = append(cmd.Args, "-test.v", "-test.run", "^(TestUnprivileged|TestVerdicts|TestFragments|TestKilled|TestDevices)$")
	cmd.Env = append(os.Environ(), mark+"=1", "CI=")
	netlab.EnterUserNamespace(cmd)
	out, err := cmd.CombinedOutput()
	if len(out) == 0 {
		t.Skip("no user namespaces here: ", err)
	}
	for _, name := range []string{"TestUnprivileged", "TestVerdicts/nft", "TestVerdicts/holder", "TestFragments/nft", "TestKilled/nft", "TestDevices/nft"} {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
	if err != nil || t.Failed() {
		t.Errorf("%v\n%s", err, out)
	}
}
