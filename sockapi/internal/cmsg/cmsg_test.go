package cmsg

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// header returns a message whose header says what it wants, and data.
func header(n uint64, level, typ int32, data ...byte) []byte {
	b := binary.NativeEndian.AppendUint64(nil, n)
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	return append(binary.NativeEndian.AppendUint32(b, uint32(typ)), data...)
}

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		ok   bool
		data int
		rest int
	}{
		{"nothing", nil, false, 0, 0},
		{"half a header", header(16, 1, 2)[:15], false, 0, 0},
		{"a header", header(16, 1, 2), true, 0, 0},
		{"shorter than its header", header(15, 1, 2), false, 0, 0},
		{"no length", header(0, 1, 2), false, 0, 0},
		{"longer than there is", header(17, 1, 2), false, 0, 0},
		{"longer than can be", header(1<<63, 1, 2), false, 0, 0},
		{"data", header(20, 1, 2, 1, 2, 3, 4), true, 4, 0},
		{"padded", header(20, 1, 2, 1, 2, 3, 4, 0, 0, 0, 0), true, 4, 0},
		{"two", slices.Concat(header(17, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0), header(16, 3, 4)), true, 1, 16},
		{"eight bytes", header(24, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9), true, 8, 1},
	} {
		c, rest, ok := Next(tt.b)
		if ok != tt.ok || len(c.Data) != tt.data || len(rest) != tt.rest || ok && (c.Level != 1 || c.Type != 2 || cap(c.Data) != tt.data) {
			t.Errorf("%s: %+v and %d bytes, %t", tt.name, c, len(rest), ok)
		}
	}
}

func TestInt(t *testing.T) {
	for _, tt := range []struct {
		data []byte
		want int
	}{{nil, 0}, {[]byte{200}, 200}, {[]byte{200, 1, 1}, 200}, {binary.NativeEndian.AppendUint32(nil, 1<<31), -1 << 31},
		{append(binary.NativeEndian.AppendUint32(nil, 70000), 9), 70000}} {
		if got := (Message{Data: tt.data}).Int(); got != tt.want {
			t.Errorf("% x: %d, want %d", tt.data, got, tt.want)
		}
	}
}

func TestAppend(t *testing.T) {
	for n, want := range map[int]int{0: 16, 1: 24, 8: 24, 9: 32} {
		b := Append([]byte("before.."), 1, 2, make([]byte, n))
		c, rest, ok := Next(b[8:])
		if len(b)-8 != want || Space(n) != want || !ok || len(c.Data) != n || len(rest) != 0 {
			t.Errorf("%d bytes: %d, CMSG_SPACE %d, %+v", n, len(b)-8, Space(n), c)
		}
	}
}

// TestWriterLikeLinux stores messages in room of every length, which the kernel does too.
func TestWriterLikeLinux(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Skip(err)
	}
	for _, option := range []int{unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, option, 1); err != nil {
			t.Fatal(err)
		}
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(fd, []byte("x"), 0, name); err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, 256)
	_, n, _, _, err := unix.Recvmsg(fd, nil, whole, unix.MSG_PEEK)
	if err != nil {
		t.Fatal(err)
	}
	for room := range n + 2 {
		want := bytes.Repeat([]byte{0xaa}, n+2)
		_, wantN, wantFlags, _, err := unix.Recvmsg(fd, nil, want[:room], unix.MSG_PEEK)
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Repeat([]byte{0xaa}, n+2)
		w := Writer{Buf: got[:room:room]}
		for c, rest, ok := Next(whole[:n]); ok; c, rest, ok = Next(rest) {
			if len(c.Data) == 4 {
				w.PutInt(c.Level, c.Type, c.Int())
			} else {
				w.Put(c.Level, c.Type, c.Data)
			}
		}
		if w.N != wantN || w.Flags&unix.MSG_CTRUNC != wantFlags&unix.MSG_CTRUNC || !bytes.Equal(got, want) {
			t.Errorf("room for %d: %d bytes, flags %#x: % x\nthe kernel stores %d, %#x: % x", room, w.N, w.Flags, got, wantN, wantFlags, want)
		}
	}
}
