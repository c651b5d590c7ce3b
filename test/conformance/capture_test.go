package conformance

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pcapng"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// What passes our link is recorded, and read by others: they find nothing wrong
// with any checksum, length or header, ours and the kernel's alike.

// record makes some of everything pass, and returns the capture's file.
func record(t *testing.T) string {
	t.Helper()
	file, err := os.Create(t.TempDir() + "/wire.pcapng")
	check(t, err)
	defer file.Close()
	w := newWorld(t, setup{wrap: func(l link.Link) link.Link {
		c, err := pcapng.Wrap(l, file, pcapng.Options{SnapLen: 1 << 17})
		check(t, err)
		return c
	}})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	for i, n := range []int{0, 1, 100, 1472, 1473, 20000} {
		w.echoOnce(k, peer, pattern(n, uint32(i)))
	}
	ping := w.ping()
	r := rawSocket(t, w.far, unix.IPPROTO_ICMP)
	for i, n := range []int{56, 5001} {
		w.send(ping, icmp.AppendEcho(nil, icmp.Echo, 0, uint16(i), pattern(n, 1)), w.kernels(0))
		w.recv(ping)
		r.send(icmp.AppendEcho(nil, icmp.Echo, 9, uint16(i), pattern(n, 2)), w.near.Addr)
		r.recvICMP(icmp.EchoReply)
	}
	check(t, w.far.FlushNeighbours(w.far.Name)) // it has to ask for us
	// An error quotes what came, as it came: on veth that is a datagram whose
	// checksum is still to be filled in, which readers take for a wrong one.
	setFeature(t, w.far, ethtoolSetTxChecksum, false)
	check(t, peer.SendTo([]byte("nobody there"), w.ours(9)))
	setFeature(t, w.far, ethtoolSetTxChecksum, true)
	w.send(k, []byte("nobody there"), w.kernels(9))
	k.SetTOS(0xb8)
	k.SetTTL(3)
	k.SetMTUDiscover(unix.IP_PMTUDISC_DONT)
	w.echoOnce(k, peer, pattern(99, 1))
	check(t, peer.SetOption(unix.SOL_UDP, unix.UDP_SEGMENT, 300))
	check(t, peer.SendTo(pattern(1000, 1), w.ours(7)))
	for range 4 {
		w.recv(k)
	}
	batch := []stack.OutMessage{{Buffers: [][]byte{{1}, {2, 3}}, To: w.kernels(7)}, {To: w.kernels(7)}}
	_, err = k.SendMessages(batch, 0, stack.NoDeadline)
	check(t, err)
	w.wantStat("IcmpOutDestUnreachs", 1)
	check(t, w.stack.Close())
	return file.Name()
}

func TestReadByTcpdump(t *testing.T) {
	lab.NeedProgram(t, "tcpdump")
	out, err := exec.Command("tcpdump", "-nn", "-vvv", "-r", record(t)).CombinedOutput()
	if err != nil && strings.Contains(string(out), "Couldn't change to") && os.Getenv("CI") == "" {
		t.Skip("tcpdump gives up root's privileges, and cannot in a user namespace of one user")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	complaint := regexp.MustCompile(`(?i)bad |wrong|incorrect|invalid|\[\||truncated`)
	for line := range strings.Lines(string(out)) {
		if complaint.MatchString(line) {
			t.Errorf("tcpdump: %s", line)
		}
	}
	for _, want := range []string{"udp sum ok", "who-has 10.9.0.1 tell 10.9.0.1", "10.9.0.1 is-at 02:00:0a:09:00:01", "echo reply", "udp port 9 unreachable", "flags [+]",
		"flags [DF]", "tos 0xb8", "ttl 3,"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nothing with %q in the capture", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// Wireshark's dissectors look closer: they put fragments together again.
func TestReadByTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed; TestReadByTcpdump has the essentials")
	}
	file := record(t)
	tshark := func(filter string) string {
		cmd := exec.Command("tshark", "-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", filter)
		out, err := cmd.Output()
		check(t, err)
		return string(out)
	}
	bad := tshark("_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 || icmp.checksum.status == 0 || arp.duplicate-address-detected")
	if bad != "" {
		t.Errorf("tshark complains:\n%s", bad)
	}
	if good := tshark("udp.length == 20008 && udp.checksum.status == 1"); strings.Count(good, "\n") != 2 {
		t.Errorf("tshark finds the datagrams of 20000 bytes whole and right:\n%s", good)
	}
}
