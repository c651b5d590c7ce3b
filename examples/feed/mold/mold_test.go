package mold

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

var session = NewSession("DAY1")

// packet returns a packet of messages.
func packet(sequence uint64, messages ...string) []byte {
	b := AppendHeader(nil, session, sequence, false)
	for _, m := range messages {
		b, _ = AppendMessage(b, []byte(m), 1472)
	}
	return b
}

func TestWireFormat(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"messages", packet(7, "abc", "", "d"), "444159312020202020200000000000000007" + "0003" + "0003616263" + "0000" + "000164"},
		{"heartbeat", AppendHeader(nil, session, 256, false), "444159312020202020200000000000000100" + "0000"},
		{"end", AppendHeader(nil, session, 1<<63, true), "444159312020202020208000000000000000" + "ffff"},
		{"request", AppendRequest(nil, session, 5, 300), "444159312020202020200000000000000005" + "012c"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	p, err := Parse(packet(7, "abc", "", "d"))
	if err != nil || p.Session.String() != "DAY1" || p.Sequence != 7 || p.Count != 3 || p.End || p.Next() != 10 {
		t.Fatalf("%+v, %v", p, err)
	}
	for i, want := range []string{"abc", "", "d"} {
		sequence, m, ok := p.Message()
		if !ok || sequence != uint64(7+i) || string(m) != want {
			t.Errorf("message %d: %d %q %v", i, sequence, m, ok)
		}
	}
	if _, _, ok := p.Message(); ok || p.Next() != 10 {
		t.Errorf("there is more: %+v", p)
	}
}

func TestParseRefuses(t *testing.T) {
	whole := packet(7, "abc", "de")
	with := func(at int, b byte) []byte {
		c := bytes.Clone(whole)
		c[at] = b
		return c
	}
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrShort},
		{"half a header", whole[:19], ErrShort},
		{"no second block", whole[:25], ErrShort},
		{"half a length", whole[:26], ErrShort},
		{"half a block", whole[:28], ErrShort},
		{"one more block than there is", with(19, 3), ErrShort},
		{"one block less", with(19, 1), ErrTrailing},
		{"length too large", with(20, 1), ErrShort},
		{"heartbeat with a message", with(19, 0), ErrTrailing},
		{"sequence 0", with(17, 0), ErrSequence},
		{"sequence overflows", packet(1<<64-1, "a", "b"), ErrSequence},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := Parse(tt.in); err != tt.want || p.Count != 0 {
				t.Errorf("got %+v, %v, want %v", p, err, tt.want)
			}
		})
	}
}

func TestParseControl(t *testing.T) {
	for _, end := range []bool{false, true} {
		p, err := Parse(AppendHeader(nil, session, 9, end))
		if err != nil || p.Count != 0 || p.End != end || p.Sequence != 9 || p.Next() != 9 {
			t.Errorf("end %v: %+v, %v", end, p, err)
		}
	}
	s, sequence, count, err := ParseRequest(AppendRequest(nil, session, 9, 3))
	if s != session || sequence != 9 || count != 3 || err != nil {
		t.Errorf("request: %s %d %d %v", s, sequence, count, err)
	}
	for name, b := range map[string][]byte{"short": make([]byte, 19), "messages": packet(1, "a"), "sequence 0": make([]byte, 20)} {
		if _, _, _, err := ParseRequest(b); err == nil {
			t.Errorf("%s: taken for a request", name)
		}
	}
}

func TestAppendMessageKeepsToTheLimit(t *testing.T) {
	b := packet(1, "abc")
	for _, tt := range []struct {
		length, limit int
		ok            bool
	}{{5, len(b) + 7, true}, {6, len(b) + 7, false}, {0, len(b) + 2, true}, {0, len(b) + 1, false}, {1 << 16, 1 << 20, false}} {
		longer, ok := AppendMessage(bytes.Clone(b), make([]byte, tt.length), tt.limit)
		if ok != tt.ok || !ok && !bytes.Equal(longer, b) {
			t.Errorf("%d bytes within %d: %v", tt.length, tt.limit, ok)
		}
	}
	full := AppendRequest(nil, session, 1, MaxMessages)
	if _, ok := AppendMessage(full, nil, 1<<20); ok {
		t.Error("more messages than a packet can count")
	}
}

func TestSession(t *testing.T) {
	for in, want := range map[string]string{"": "", "A": "A", "ABCDEFGHIJKL": "ABCDEFGHIJ"} {
		s := NewSession(in)
		if s.String() != want || string(s[:]) != want+strings.Repeat(" ", 10-len(want)) {
			t.Errorf("%q: %q", in, s)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	b := packet(1, "one", "two", "three")
	if n := testing.AllocsPerRun(100, func() {
		p, _ := Parse(b)
		for {
			if _, _, ok := p.Message(); !ok {
				return
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse checks that what is parsed can be read to its end, and written again
// as it was.
func FuzzParse(f *testing.F) {
	f.Add(packet(7, "abc", "", "d"))
	f.Add(AppendHeader(nil, session, 1, false))
	f.Add(AppendHeader(nil, session, 1, true))
	f.Add(AppendRequest(nil, session, 1, 2))
	f.Add(packet(1, strings.Repeat("x", 1400))[:1000])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		again := AppendHeader(nil, p.Session, p.Sequence, p.End)
		next := p.Next()
		for {
			_, m, ok := p.Message()
			if !ok {
				break
			}
			if again, ok = AppendMessage(again, m, len(b)); !ok {
				t.Fatal("a message that does not fit where it was")
			}
		}
		if !bytes.Equal(again, b) || p.Next() != next {
			t.Errorf("% x\nbecomes\n% x", b, again)
		}
	})
}
