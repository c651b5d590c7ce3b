package claim

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
)

// childMark in the environment makes this test binary do one task and end.
const childMark = "OUTBAND_CLAIM_TEST"

// children are those tasks.
var children = map[string]func() int{}

func TestMain(m *testing.M) {
	if task := os.Getenv(childMark); task != "" {
		os.Exit(children[task]())
	}
	goleak.VerifyTestMain(m)
}

// self runs this test binary again for a task.
func self(task string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMark+"="+task)
	return cmd
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Addresses of the lab.
var (
	hostAddr  = [4]byte{10, 9, 0, 1}
	otherAddr = [4]byte{10, 9, 0, 7} // the host's too
	broadcast = [4]byte{10, 9, 0, 255}
	peerAddr  = [4]byte{10, 9, 0, 2}
	elsewhere = [4]byte{10, 8, 0, 1} // none of the lab's
	group     = [4]byte{239, 1, 1, 1}
	limited   = [4]byte{255, 255, 255, 255}
)

// A lab is a host with eth0, whose cable ends at peer0 in another namespace.
type lab struct {
	t          testing.TB
	host, peer *netlab.Namespace
	index      int // of eth0
	hostMAC    [6]byte
	peerIndex  int
	sender     int // packet socket of the peer's
}

func newLab(t testing.TB) *lab {
	t.Helper()
	if !inband.HasCapability(netlab.Capabilities...) {
		if os.Getenv("CI") != "" {
			t.Fatal("CI without the capabilities for network namespaces")
		}
		t.Skip("needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: run as root")
	}
	lb := &lab{t: t, sender: -1}
	for _, n := range []**netlab.Namespace{&lb.host, &lb.peer} {
		made, err := netlab.NewNamespace()
		must(t, err)
		t.Cleanup(func() { must(t, made.Close()) })
		*n = made
	}
	must(t, lb.host.SetUp("lo"))
	must(t, lb.peer.SetUp("lo"))
	lb.cable()
	return lb
}

// cable makes the devices.
func (lb *lab) cable() {
	t := lb.t
	t.Helper()
	must(t, lb.host.AddVeth(netlab.Veth{Name: "eth0", PeerName: "peer0", Peer: lb.peer, MTU: 9000}))
	for _, a := range [][4]byte{hostAddr, otherAddr} {
		must(t, lb.host.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4(a), 24)))
	}
	must(t, lb.peer.AddAddress("peer0", netip.PrefixFrom(netip.AddrFrom4(peerAddr), 24)))
	must(t, lb.host.SetUp("eth0"))
	must(t, lb.peer.SetUp("peer0"))
	d, err := lb.host.Device("eth0")
	must(t, err)
	lb.index, lb.hostMAC = d.Index, d.HardwareAddr
	if d, err = lb.peer.Device("peer0"); err != nil {
		t.Fatal(err)
	}
	lb.peerIndex = d.Index
	if lb.sender < 0 {
		must(t, lb.peer.Do(func() (err error) {
			lb.sender, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return err
		}))
		t.Cleanup(func() { unix.Close(lb.sender) })
	}
}

// open makes claims in the host, and says which addresses it has.
func (lb *lab) open(o Options) *Claims {
	lb.t.Helper()
	var c *Claims
	err := lb.host.Do(func() (err error) { c, err = Open(o); return err })
	if errors.Is(err, unix.EPERM) && o.Force != Any {
		lb.t.Skip("not permitted here: ", err)
	}
	must(lb.t, err)
	lb.t.Cleanup(c.Close)
	must(lb.t, c.SetLocal([][4]byte{hostAddr, otherAddr}, [][4]byte{broadcast}))
	return c
}

// attached is open, with the claims on eth0.
func (lb *lab) attached(o Options) *Claims {
	lb.t.Helper()
	c := lb.open(o)
	must(lb.t, c.Attach(lb.index, "eth0"))
	if want := o.Force; want != Any && c.RungOf(lb.index) != want {
		lb.t.Fatalf("is %s: %v", c.RungOf(lb.index), c.Why())
	}
	return c
}

func add(t testing.TB, c *Claims, claim Claim) *Entry {
	t.Helper()
	e, err := c.Add(claim)
	if err != nil {
		t.Fatalf("%+v: %v", claim, err)
	}
	return e
}

// A frame is what crosses the cable: an IPv4 datagram unless raw is given.
type frame struct {
	toMAC     [6]byte // zero: by the destination
	tags      [][2]uint16
	etherType uint16 // 0: IPv4
	from, to  [4]byte
	protocol  byte // 0: UDP
	id        uint16
	fragment  uint16 // field
	options   []byte
	sport     uint16
	dport     uint16
	payload   []byte // behind the UDP header; of other protocols, and later fragments, all
	headerLen byte   // 0: right
}

func (lb *lab) bytes(f frame) []byte {
	mac := f.toMAC
	switch {
	case mac != [6]byte{}:
	case f.to[0]>>4 == 14:
		mac = [6]byte{1, 0, 0x5e, f.to[1] & 127, f.to[2], f.to[3]}
	case f.to == limited || f.to == broadcast:
		mac = [6]byte{255, 255, 255, 255, 255, 255}
	default:
		mac = lb.hostMAC
	}
	b := append(append([]byte{}, mac[:]...), 2, 0, 0, 0, 0, 2)
	for _, tag := range f.tags {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, tag[0]), tag[1])
	}
	if f.etherType != 0 {
		return append(binary.BigEndian.AppendUint16(b, f.etherType), f.payload...)
	}
	return append(append(b, 8, 0), ipv4(f)...)
}

// ipv4 returns the datagram of a frame.
func ipv4(f frame) []byte {
	payload := f.payload
	if f.from == [4]byte{} {
		f.from = peerAddr
	}
	if f.protocol == 0 {
		f.protocol = unix.IPPROTO_UDP
		if f.fragment&fragmentOffset == 0 {
			payload = append(udpHeader(f.sport, f.dport, len(payload)), payload...)
		}
	}
	n := ipLen + len(f.options)
	b := make([]byte, n)
	b[0], b[8], b[9] = byte(0x40|n/4), 64, f.protocol
	if f.headerLen != 0 {
		b[0] = f.headerLen
	}
	binary.BigEndian.PutUint16(b[2:], uint16(n+len(payload)))
	binary.BigEndian.PutUint16(b[4:], f.id)
	binary.BigEndian.PutUint16(b[6:], f.fragment)
	copy(b[12:], f.from[:])
	copy(b[16:], f.to[:])
	copy(b[20:], f.options)
	var sum uint32
	for i := 0; i < n; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

func udpHeader(sport, dport uint16, n int) []byte {
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint16(b, uint16(8+n))
	return append(b, 0, 0)
}

// inject sends frames from the peer.
func (lb *lab) inject(frames ...[]byte) {
	lb.t.Helper()
	for _, f := range frames {
		must(lb.t, unix.Sendto(lb.sender, f, 0, &unix.SockaddrLinklayer{Ifindex: lb.peerIndex}))
	}
}

// counter returns a counter of the host's IP or UDP, as net/snmp names them, such as
// "Ip InReceives".
func (lb *lab) counter(name string) int {
	lb.t.Helper()
	b, err := lb.host.ReadFile("net/snmp")
	must(lb.t, err)
	proto, which, _ := strings.Cut(name, " ")
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[0] != proto+":" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range names {
			if names[i] == which {
				n, err := strconv.Atoi(f[i])
				must(lb.t, err)
				return n
			}
		}
	}
	lb.t.Fatal("no counter ", name)
	return 0
}

// A ring is a packet socket on eth0 with the claims' filter.
type ring struct {
	lb *lab
	fd int
	n  uint32 // markers
}

func (lb *lab) ring(c *Claims) *ring {
	lb.t.Helper()
	r := &ring{lb: lb}
	must(lb.t, lb.host.Do(func() (err error) {
		r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	lb.t.Cleanup(func() { c.RemoveFilter(r.fd); unix.Close(r.fd) })
	must(lb.t, c.AttachFilter(r.fd))
	must(lb.t, unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	must(lb.t, unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != unix.EPERM { // in a user namespace
		must(lb.t, err)
	}
	must(lb.t, unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: uint16(big(unix.ETH_P_ALL)), Ifindex: lb.index}))
	return r
}

// took sends frames, and returns how many the ring took of them, and how long they are.
// It is over when an ARP frame of its own has come, which the ring always takes.
func (r *ring) took(frames ...[]byte) (n int, lengths []int) {
	r.lb.t.Helper()
	r.lb.inject(frames...)
	return r.came()
}

func (r *ring) came() (n int, lengths []int) {
	r.lb.t.Helper()
	r.n++
	marker := binary.BigEndian.AppendUint32([]byte("marker"), r.n)
	r.lb.inject(r.lb.bytes(frame{toMAC: r.lb.hostMAC, etherType: unix.ETH_P_ARP, payload: marker}))
	buf := make([]byte, 70000)
	for {
		got, sa, err := unix.Recvfrom(r.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		must(r.lb.t, err)
		if string(buf[14:got]) == string(marker) {
			return n, lengths
		}
		if l := sa.(*unix.SockaddrLinklayer); l.Protocol == uint16(big(unix.ETH_P_ARP)) || l.Protocol == uint16(big(unix.ETH_P_IPV6)) {
			continue // of the peer's kernel
		}
		n++
		lengths = append(lengths, got)
	}
}

// eventually waits for something that needs some time.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}
