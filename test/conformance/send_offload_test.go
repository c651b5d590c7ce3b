package conformance

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// setOffload turns an offload of an end's device on or off, by its name in ethtool(8).
func setOffload(t testing.TB, e *lab.Endpoint, name string, on bool) {
	t.Helper()
	value := map[bool]string{true: "on", false: "off"}[on]
	lab.Output(t, e.Namespace, lab.NeedProgram(t, "ethtool"), "-K", e.Name, name, value)
}

// A seen is a frame as a packet socket gets it: its length, and the size of the
// datagrams that it is to be cut into, 0 if it is a plain one or there was no telling.
type seen struct{ len, segment int }

// next returns the next datagram to port, with its payload; false: none within the time.
func (r *frameReader) next(t testing.TB, port uint16, within time.Duration) (s seen, payload []byte, ok bool) {
	t.Helper()
	for {
		frame, segment := r.read(t, within)
		if frame == nil {
			return seen{}, nil, false
		}
		if len(frame) >= 42 && frame[23] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(frame[36:]) == port {
			return seen{len(frame), segment}, frame[42 : 34+int(binary.BigEndian.Uint16(frame[38:]))], true
		}
	}
}

// An offloadSend is a way of handing over many datagrams by one call.
type offloadSend struct {
	name           string
	segment, total int
	send           func(s *sockapi.Socket, b []byte, segment int) error
	merged         bool // by us: the kernel never puts together what sendmmsg(2) has
}

var offloadSends = []offloadSend{
	{"sendmmsg", 1000, 40000, sendEach, true},
	{"UDP_SEGMENT", 1000, 40000, sendByOption, false},
	{"UDP_SEGMENT by control message", 1000, 40000, sendByControl, false},
	{"UDP_SEGMENT, the last shorter", 1472, 40*1472 - 700, sendByOption, false},
	{"UDP_SEGMENT, as many as there may be", 100, 12800, sendByOption, false},
	{"UDP_SEGMENT, two", 1472, 1473, sendByOption, false},
	{"UDP_SEGMENT, one", 1472, 1472, sendByOption, false},
	{"UDP_SEGMENT, less than one", 1472, 1400, sendByOption, false},
	{"UDP_SEGMENT, with a priority", 1000, 40000, func(s *sockapi.Socket, b []byte, segment int) error {
		if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_PRIORITY, 3); err != nil {
			return err
		}
		return sendByOption(s, b, segment)
	}, false},
}

func sendEach(s *sockapi.Socket, b []byte, segment int) error {
	n, err := s.Sendmmsg(batchOf(slices.Collect(slices.Chunk(b, segment))...), 0)
	if err == nil && n != (len(b)+segment-1)/segment {
		return fmt.Errorf("sendmmsg: %d sent", n)
	}
	return err
}

func sendByOption(s *sockapi.Socket, b []byte, segment int) error {
	if err := s.SetsockoptInt(unix.SOL_UDP, unix.UDP_SEGMENT, segment); err != nil {
		return err
	}
	_, err := s.Send(b, 0)
	return err
}

func sendByControl(s *sockapi.Socket, b []byte, segment int) error {
	size := binary.NativeEndian.AppendUint16(nil, uint16(segment))
	_, err := s.Sendmsg(&sockapi.Msghdr{Iov: [][]byte{b[:1], b[1:]},
		Control: sockapi.AppendCmsg(nil, unix.SOL_UDP, unix.UDP_SEGMENT, size)}, 0)
	return err
}

// offloadSettings are those of ethtool(8), and whether frames stay together with them
// when a socket of ours sends.
var offloadSettings = []struct {
	name   string
	off    []string
	merges bool
}{
	{"on", nil, true},
	{"tx-udp-segmentation off", []string{"tx-udp-segmentation"}, false},
	{"gso off", []string{"generic-segmentation-offload"}, false},
	{"both off", []string{"tx-udp-segmentation", "generic-segmentation-offload"}, false},
}

// What leaves is what the device's settings say, at once: GSO packets from
// UDP_SEGMENT, as the kernel's own, and from sendmmsg(2); plain frames if the device is
// not to cut them. A reader with PACKET_VNET_HDR can tell, one without sees a frame
// beyond the MTU. The receiving socket gets the same datagrams each time.
func TestSuperPacketsFollowTheDevice(t *testing.T) {
	for _, side := range []sendSide{kernelSide, oursSide, qdiscSide,
		{name: "ours, NoGSO", link: tpacket.Options{NoGSO: true}}} {
		t.Run(side.name, func(t *testing.T) {
			l := sendLab(t, side)
			w := newSendWorld(t, l.Near(), side, l.Far())
			peer := l.Far().UDP(t, 7)
			check(t, peer.SetBuffers(8<<20))
			readers := []*frameReader{readFrames(t, l.Far(), true), readFrames(t, l.Far(), false)}
			for _, set := range offloadSettings {
				for _, name := range set.off {
					setOffload(t, l.Near(), name, false)
				}
				for _, c := range offloadSends {
					t.Run(set.name+"/"+c.name, func(t *testing.T) {
						s := w.connected(7)
						w.awaitOffload(set.merges)
						b := pattern(c.total, uint32(c.total))
						check(t, c.send(s, b, c.segment))
						for at := 0; at < len(b); at += c.segment {
							got, _ := recvInBand(t, peer)
							wantBytes(t, got, b[at:min(at+c.segment, len(b))])
						}
						want := c.expect(side, set.merges, set.off)
						for _, r := range readers {
							wantFrames(t, r, b, want)
						}
					})
				}
				for _, name := range set.off {
					setOffload(t, l.Near(), name, true)
				}
			}
		})
	}
}

// awaitOffload waits until the stack has heard of the device's settings.
func (w *sendWorld) awaitOffload(merges bool) {
	if w.side.kernel || w.side.link.NoGSO {
		return
	}
	info := w.api.Stack().Interfaces()[1].Link().Info
	await(w.t, "the device's settings", func() bool { return info().Caps&link.CapGSO != 0 == merges })
}

// expect returns the frames that a send is seen as.
func (c *offloadSend) expect(side sendSide, merges bool, off []string) (frames []seen) {
	const headers = 14 + 20 + 8
	whole := merges && !side.link.NoGSO
	if side.kernel {
		// The kernel cuts only what tx-udp-segmentation says.
		whole = !c.merged && !slices.Contains(off, "tx-udp-segmentation")
	}
	if whole && c.merged { // the first of a new socket finds the way, and goes alone
		return []seen{{len: headers + c.segment}, {headers + c.total - c.segment, c.segment}}
	}
	if whole && c.total > c.segment {
		return []seen{{headers + c.total, c.segment}}
	}
	for at := 0; at < c.total; at += c.segment {
		frames = append(frames, seen{len: headers + min(c.segment, c.total-at)})
	}
	return frames
}

// wantFrames fails the test unless a reader has seen those frames and no others, with b
// in them.
func wantFrames(t *testing.T, r *frameReader, b []byte, want []seen) {
	t.Helper()
	var got []seen
	var all []byte
	for len(all) < len(b) {
		s, payload, ok := r.next(t, 7, lab.Patience)
		if !ok {
			t.Fatalf("after %d of %d bytes no more frames", len(all), len(b))
		}
		got, all = append(got, s), append(all, payload...)
	}
	wantBytes(t, all, b)
	if !r.vnet {
		want = slices.Clone(want)
		for i := range want {
			want[i].segment = 0
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("PACKET_VNET_HDR %t: %d frames, the first %v; want %d, the first %v", r.vnet, len(got), got[0], len(want), want[0])
	}
}
