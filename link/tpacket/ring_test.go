package tpacket

import (
	"bytes"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// fakeRing is a ring in ordinary memory, with a socket that nothing arrives on.
func fakeRing(t *testing.T, slots int) *ring {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	mem := make([]uint64, slots*MinSlotSize/8)
	return &ring{base: unsafe.Pointer(&mem[0]), slotSize: MinSlotSize, slots: slots, fd: pair[0]}
}

// put fills slot i as the kernel does.
func (r *ring) put(i int, h unix.Tpacket2Hdr, kind uint8, vnet vnetHeader, data []byte) {
	h.Mac = dataOffset
	h.Snaplen = uint32(len(data))
	slot := unsafe.Pointer(r.slot(i))
	*(*uint8)(unsafe.Add(slot, pktTypeOffset)) = kind
	*(*vnetHeader)(unsafe.Add(slot, dataOffset-vnetHeaderLen)) = vnet
	copy(unsafe.Slice((*byte)(unsafe.Add(slot, dataOffset)), len(data)), data)
	*r.slot(i) = h
}

func TestMeta(t *testing.T) {
	const user = unix.TP_STATUS_USER
	tests := []struct {
		name string
		h    unix.Tpacket2Hdr
		kind uint8
		vnet vnetHeader
		want link.Meta
	}{
		{name: "plain", h: unix.Tpacket2Hdr{Status: user},
			want: link.Meta{Clock: link.ClockSoftware}},
		{name: "overflow elsewhere", h: unix.Tpacket2Hdr{Status: user | unix.TP_STATUS_LOSING},
			want: link.Meta{Clock: link.ClockSoftware}},
		{name: "software time", h: unix.Tpacket2Hdr{Status: user | unix.TP_STATUS_TS_SOFTWARE, Sec: 1 << 31, Nsec: 999999999},
			want: link.Meta{Clock: link.ClockSoftware, Time: 1<<31*1e9 + 999999999}},
		{name: "hardware time", h: unix.Tpacket2Hdr{Status: user | unix.TP_STATUS_TS_RAW_HARDWARE, Sec: 5, Nsec: 6},
			want: link.Meta{Clock: link.ClockHardware, Time: 5e9 + 6}},
		{name: "checksum valid", h: unix.Tpacket2Hdr{Status: user | unix.TP_STATUS_CSUM_VALID},
			want: link.Meta{Clock: link.ClockSoftware, Checksum: link.ChecksumValid}},
		{name: "checksum partial", h: unix.Tpacket2Hdr{Status: user | unix.TP_STATUS_CSUMNOTREADY},
			want: link.Meta{Clock: link.ClockSoftware, Checksum: link.ChecksumPartial}},
		{name: "tag", h: unix.Tpacket2Hdr{Status: user | unix.TP_STATUS_VLAN_VALID | unix.TP_STATUS_VLAN_TPID_VALID, Vlan_tci: 7, Vlan_tpid: 0x88a8},
			want: link.Meta{Clock: link.ClockSoftware, VLAN: true, VLANTCI: 7, VLANTPID: 0x88a8}},
		{name: "tag 0", h: unix.Tpacket2Hdr{Status: user | unix.TP_STATUS_VLAN_VALID},
			want: link.Meta{Clock: link.ClockSoftware, VLAN: true, VLANTPID: 0x8100}},
		{name: "tag not valid", h: unix.Tpacket2Hdr{Status: user, Vlan_tci: 7, Vlan_tpid: 0x8100},
			want: link.Meta{Clock: link.ClockSoftware}},
		{name: "other host", h: unix.Tpacket2Hdr{Status: user}, kind: unix.PACKET_OTHERHOST,
			want: link.Meta{Clock: link.ClockSoftware, Type: link.OtherHost}},
		{name: "UDP GSO packet", h: unix.Tpacket2Hdr{Status: user}, vnet: vnetHeader{gsoType: vnetGSOUDPL4, gsoSize: 1400},
			want: link.Meta{Clock: link.ClockSoftware, GSO: link.GSOUDP, GSOSize: 1400}},
		{name: "TCP GSO packet", h: unix.Tpacket2Hdr{Status: user}, vnet: vnetHeader{gsoType: 1, gsoSize: 1448},
			want: link.Meta{Clock: link.ClockSoftware, GSO: link.GSOOther, GSOSize: 1448}},
		{name: "checksum without segments", h: unix.Tpacket2Hdr{Status: user}, vnet: vnetHeader{flags: vnetNeedsCsum, gsoSize: 5},
			want: link.Meta{Clock: link.ClockSoftware}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := fakeRing(t, 2)
			data := []byte("fourteen bytes")
			tt.h.Len, tt.want.WireLen = 14, 14
			r.put(0, tt.h, tt.kind, tt.vnet, data)
			frames := []link.Frame{{Meta: link.Meta{VLAN: true, GSOSize: 9}}, {}} // of an earlier use
			if n := r.receive(frames); n != 1 {
				t.Fatalf("%d frames", n)
			}
			if frames[0].Meta != tt.want || !bytes.Equal(frames[0].Data, data) || cap(frames[0].Data) != 14 {
				t.Errorf("%+v, want %+v", frames[0], tt.want)
			}
		})
	}
}

// A slot that is claimed and not ready ends the batch, though later ones are.
func TestStopsAtSlotNotReady(t *testing.T) {
	r := fakeRing(t, 4)
	ready := unix.Tpacket2Hdr{Status: unix.TP_STATUS_USER, Len: 14}
	r.put(0, ready, 0, vnetHeader{}, make([]byte, 14))
	r.put(2, ready, 0, vnetHeader{}, make([]byte, 14))
	frames := make([]link.Frame, 4)
	if n := r.receive(frames); n != 1 {
		t.Errorf("%d frames, want 1", n)
	}
	r.release()
	if s := r.slot(0).Status; s != unix.TP_STATUS_KERNEL {
		t.Errorf("status %d after release", s)
	}
	if s := r.slot(2).Status; s != unix.TP_STATUS_USER {
		t.Errorf("slot 2 has status %d, was not received", s)
	}
	r.put(1, ready, 0, vnetHeader{}, make([]byte, 14))
	if n := r.receive(frames); n != 2 {
		t.Errorf("%d frames, want 2", n)
	}
}

// The frame that a slot promises may be missing from the queue: the cut one stays.
func TestLongFrameMissing(t *testing.T) {
	r := fakeRing(t, 1)
	r.put(0, unix.Tpacket2Hdr{Status: unix.TP_STATUS_USER | unix.TP_STATUS_COPY, Len: 5000}, 0, vnetHeader{}, make([]byte, 100))
	check(t, unix.SetNonblock(r.fd, true))
	frames := make([]link.Frame, 1)
	if n := r.receive(frames); n != 1 || len(frames[0].Data) != 100 || frames[0].WireLen != 5000 {
		t.Errorf("%d frames, %d bytes", n, len(frames[0].Data))
	}
	if r.truncated.Load() != 1 || r.long.used != 0 {
		t.Errorf("%d truncated, %d buffers used", r.truncated.Load(), r.long.used)
	}
}

// FuzzSpecialFrame looks for a request that is let through though it speaks of
// bytes that the frame does not have.
func FuzzSpecialFrame(f *testing.F) {
	f.Add(142, uint16(34), uint16(6), uint16(50), true)
	f.Add(42, uint16(34), uint16(6), uint16(0), true)
	f.Add(42, uint16(65535), uint16(65535), uint16(65535), true)
	f.Add(65553, uint16(34), uint16(6), uint16(1472), true)
	f.Add(14, uint16(14), uint16(0), uint16(0), false)
	buf := make([]byte, 2*maxFrame)
	f.Fuzz(func(t *testing.T, length int, start, offset, gso uint16, partial bool) {
		if length < 0 || length > len(buf) {
			return
		}
		tx := link.TxFrame{Data: buf[:length], CsumStart: start, CsumOffset: offset, GSOSize: gso, PartialChecksum: partial}
		var h vnetHeader
		if h.set(&tx, 1500) != 0 {
			return
		}
		switch {
		case !partial && (h != vnetHeader{} || gso != 0):
			t.Errorf("%+v for a plain frame", h)
		case partial && (int(h.csumStart)+int(h.csumOffset)+2 > length || int(h.hdrLen) > length || length > maxFrame):
			t.Errorf("%+v for %d bytes", h, length)
		case gso != 0 && (h.gsoType != vnetGSOUDPL4 || int(h.hdrLen)-14+int(gso) > 1500):
			t.Errorf("%+v: segments beyond the MTU", h)
		}
	})
}
