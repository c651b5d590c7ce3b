package conformance

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// Commands of the ethtool ioctl (linux/ethtool.h).
const (
	ethtoolSetTxChecksum = 0x17 // ETHTOOL_STXCSUM
	ethtoolSetTSO        = 0x1f // ETHTOOL_STSO
	ethtoolSetGRO        = 0x2c // ETHTOOL_SGRO
)

// setFeature turns an offload of an end's device on or off, as ethtool -K does.
func setFeature(t testing.TB, e *lab.Endpoint, command uint32, on bool) {
	t.Helper()
	value := [2]uint32{command, 0}
	if on {
		value[1] = 1
	}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], e.Name)
	request.data = unsafe.Pointer(&value)
	e.In(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("ethtool: %w", errno)
		}
		return nil
	})
}

// A sender without checksum offload fills the sum in itself, and we verify it;
// one with it leaves the sum to a card that veth does not have.
func TestChecksumOffload(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint("offload ", on), func(t *testing.T) {
			w := newWorld(t, setup{})
			setFeature(t, w.far, ethtoolSetTxChecksum, on)
			k, peer, wire := w.udp(7), w.far.UDP(t, 7), w.near.Packet(t)
			for i, n := range []int{0, 1, 64, 1472, 1473, 20000, maxPayload} {
				w.echoOnce(k, peer, pattern(n, uint32(i)))
			}
			frame := wire.Want(t, udpFromPort(7))
			if whole := checksumIsRight(frame); whole == on {
				t.Errorf("with offload %v the frame's checksum is complete: %v", on, whole)
			}
			w.wantStat("UdpInCsumErrors", 0)
		})
	}
}

// checksumIsRight reports whether the UDP checksum of a frame holds.
func checksumIsRight(frame []byte) bool {
	ip := frame[14:]
	ip = ip[:binary.BigEndian.Uint16(ip[2:])]
	pseudo := append([]byte(nil), ip[12:20]...)
	pseudo = append(pseudo, 0, 17)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(ip)-20))
	pseudo = append(pseudo, ip[20:]...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	return onesComplement(pseudo) == 0
}

// A UDP checksum of zero means that there is none (RFC 768).
func TestNoChecksum(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	check(t, peer.SetOption(unix.SOL_SOCKET, unix.SO_NO_CHECK, 1))
	for i, n := range []int{1, 1472, 5000} {
		check(t, peer.SendTo(pattern(n, uint32(i)), w.ours(7)))
		got, _ := w.recv(k)
		wantBytes(t, got, pattern(n, uint32(i)))
	}
}

// A peer that uses UDP_SEGMENT hands over a GSO packet, which has to come out
// as the datagrams that it stands for.
func TestPeerSegments(t *testing.T) {
	for _, c := range []struct {
		segment, total, mtu int
		slot                int // size of the ring's slots, 0: the default
	}{
		{segment: 1, total: 60, mtu: 1500},
		{segment: 100, total: 6400, mtu: 1500},
		{segment: 1000, total: 10300, mtu: 1500},
		{segment: 1472, total: 1472 * 44, mtu: 1500},
		{segment: 1472, total: 1473, mtu: 1500},
		{segment: 1400, total: 500, mtu: 1500}, // less than one segment: no GSO packet
		{segment: 8000, total: 64000, mtu: 9000},
		{segment: 1000, total: 10300, mtu: 1500, slot: tpacket.MaxSlotSize},
	} {
		t.Run(fmt.Sprintf("%d in segments of %d", c.total, c.segment), func(t *testing.T) {
			w := newWorld(t, setup{lab: lab.Config{MTU: c.mtu}, link: tpacket.Options{SlotSize: c.slot}})
			k, peer := w.udp(7), w.far.UDP(t, 7)
			k.SetReceiveBuffer(1 << 20)
			check(t, peer.SetBuffers(1<<20))
			check(t, peer.Connect(w.ours(7)))
			check(t, peer.SetOption(unix.SOL_UDP, unix.UDP_SEGMENT, c.segment))
			b := pattern(c.total, uint32(c.segment))
			for range 3 {
				_, err := peer.Send(b)
				check(t, err)
				for at := 0; at < len(b); at += c.segment {
					got, info := w.recv(k)
					wantBytes(t, got, b[at:min(at+c.segment, len(b))])
					if info.FromPort != 7 || info.Len != len(got) {
						t.Fatalf("segment at %d: from port %d, length %d", at, info.FromPort, info.Len)
					}
				}
			}
			if n, ok := k.NextLen(); ok {
				t.Errorf("another datagram of %d bytes is left", n)
			}
			w.wantStat("UdpInErrors", 0)
		})
	}
}

// A peer without segmentation offload in its device gets the same result.
func TestPeerSegmentsWithoutChecksumOffload(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	check(t, peer.SetOption(unix.SOL_UDP, unix.UDP_SEGMENT, 500))
	check(t, peer.SendTo(pattern(5200, 1), w.ours(7)))
	for at := 0; at < 5200; at += 500 {
		got, _ := w.recv(k)
		wantBytes(t, got, pattern(5200, 1)[at:min(at+500, 5200)])
	}
}

// A GSO packet for a port that nobody has is one error, not ten.
func TestPeerSegmentsToNobody(t *testing.T) {
	w := newWorld(t, setup{})
	peer := w.far.UDP(t, 0)
	check(t, peer.Connect(w.ours(9)))
	check(t, peer.SetOption(unix.SOL_UDP, unix.UDP_SEGMENT, 100))
	_, err := peer.Send(make([]byte, 1000))
	check(t, err)
	_, err = peer.Recv(make([]byte, 1), 0)
	wantErr(t, err, unix.ECONNREFUSED)
}

// A kernel's socket with UDP_GRO gets what we send in a batch, in one piece or
// in several, but all of it and cut where we cut it.
func TestPeerCoalesces(t *testing.T) {
	w := newWorld(t, setup{})
	// veth does GRO for what comes from a device without TSO.
	setFeature(t, w.far, ethtoolSetGRO, true)
	setFeature(t, w.near, ethtoolSetTSO, false)
	// It flushes when its queue is empty, unless it is told to hold on for 5 ms.
	patient := setDeviceAttribute(t, w.far, "gro_flush_timeout", "5000000")
	k, peer := w.udp(7), w.far.UDP(t, 7)
	check(t, peer.SetBuffers(4<<20))
	check(t, peer.SetOption(unix.SOL_UDP, unix.UDP_GRO, 1))
	w.echoOnce(k, peer, []byte("resolve"))

	const n, size = 64, 1000
	b := pattern(n*size-300, 9)
	var out []stack.OutMessage
	for at := 0; at < len(b); at += size {
		out = append(out, stack.OutMessage{Buffers: [][]byte{b[at:min(at+size, len(b))]}, To: w.kernels(7)})
	}
	sent, err := k.SendMessages(out, 0, w.stack.Deadline(lab.Patience))
	if sent != n || err != nil {
		t.Fatalf("SendMessages sent %d: %v", sent, err)
	}
	reads := 0
	for at := 0; at < len(b); reads++ {
		got, segment := recvCoalesced(t, peer)
		if segment != 0 && segment != size {
			t.Errorf("coalesced with segments of %d bytes, want %d", segment, size)
		}
		wantBytes(t, got, b[at:min(at+len(got), len(b))])
		at += len(got)
	}
	if reads == n && patient {
		t.Error("the kernel put nothing together: the test shows less than it means to")
	}
}

// setDeviceAttribute writes to a file below /sys/class/net, which shows the
// devices of the namespace in which it was mounted. It reports whether it could:
// in a user namespace it cannot.
func setDeviceAttribute(t testing.TB, e *lab.Endpoint, name, value string) bool {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "mount -t sysfs sysfs /sys && echo "+value+" > /sys/class/net/"+e.Name+"/"+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err := e.Do(cmd.Run)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("CI is set, and %s cannot be written: %v", name, err)
	}
	return err == nil
}

// recvCoalesced receives from a socket with UDP_GRO: what came, and the size of
// the segments in it, 0 if it was one datagram.
func recvCoalesced(t testing.TB, u *inband.UDP) (b []byte, segment int) {
	t.Helper()
	b, control := make([]byte, 1<<16), make([]byte, 128)
	n, c, _, _, err := unix.Recvmsg(u.FD(), b, control, 0)
	check(t, err)
	msgs, err := unix.ParseSocketControlMessage(control[:c])
	check(t, err)
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO {
			segment = int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return b[:n], segment
}
