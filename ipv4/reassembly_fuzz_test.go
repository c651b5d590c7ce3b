package ipv4

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveReassembler is what a Reassembler does with one datagram, as simply as
// it can be said: a list of runs in any order, a byte for each that is here.
type naiveReassembler struct {
	runs               []run
	payload            []byte // what is here
	have               []bool
	end                int
	last, whole        bool
	dropped            bool
	header             []byte
	ecn                uint8
	maxSize, maxDFSize int
}

func (m *naiveReassembler) input(h Header, payload []byte) Cause {
	start, last := h.FragmentOffset(), !h.MoreFragments()
	if !last {
		payload = payload[:len(payload)/8*8]
	}
	end := start + len(payload)
	c := m.fit(start, end, last)
	if c != CauseNone {
		m.dropped = c != CauseFragmentDuplicate
		return c
	}
	for i, b := range payload {
		m.payload[start+i], m.have[start+i] = b, true
	}
	m.ecn |= 1 << h.ECN()
	m.maxSize = max(m.maxSize, len(h)+len(payload))
	if h.DontFragment() {
		m.maxDFSize = max(m.maxDFSize, len(h)+len(payload))
	}
	if start == 0 {
		m.header = bytes.Clone(h)
	}
	m.whole = m.last && m.header != nil && !slices.Contains(m.have[:m.end], false)
	if _, ok := ecnResult(m.ecn); m.whole && !ok {
		m.dropped, m.whole = true, false
		return CauseFragmentECN
	}
	if m.whole && len(m.header)+m.end > MaxLen {
		m.dropped, m.whole = true, false
		return CauseFragmentTooLong
	}
	return CauseNone
}

func (m *naiveReassembler) fit(start, end int, last bool) Cause {
	if last && end < m.end || m.last && last && end != m.end || m.last && end > m.end {
		return CauseFragmentInconsistent
	}
	m.end, m.last = max(m.end, end), m.last || last
	if start == end {
		return CauseFragmentEmpty
	}
	highest := -1
	for i, r := range m.runs {
		if start >= int(r.start) && end <= int(r.end) {
			return CauseFragmentDuplicate
		}
		if start < int(r.end) && int(r.start) < end {
			return CauseFragmentOverlap
		}
		if highest < 0 || r.end > m.runs[highest].end {
			highest = i
		}
	}
	if highest >= 0 && start == int(m.runs[highest].end) {
		m.runs[highest].end = uint32(end)
	} else {
		m.runs = append(m.runs, run{uint32(start), uint32(end)})
	}
	return CauseNone
}

// datagram returns the whole datagram.
func (m *naiveReassembler) datagram() []byte {
	h, _, _ := ParseQuoted(m.header)
	f := h.Fields()
	ce, _ := ecnResult(m.ecn)
	f.TOS |= ce
	f.FragmentOffset, f.MoreFragments, f.DontFragment = 0, false, m.maxDFSize == m.maxSize
	return datagram(f, m.payload[:m.end])
}

// driveReassembler makes a fragment of every four bytes, and compares.
func driveReassembler(t *testing.T, script []byte) {
	r := NewReassembler(ReassemblyConfig{MaxDist: -1})
	fresh := func() *naiveReassembler {
		return &naiveReassembler{payload: make([]byte, 2*MaxLen), have: make([]bool, 2*MaxLen)}
	}
	model := map[uint16]*naiveReassembler{0: fresh(), 1: fresh()}
	for ; len(script) >= 4; script = script[4:] {
		f := testFields
		f.ID = uint16(script[0] & 1)
		f.TOS = script[0] >> 1 & 3
		f.DontFragment = script[0]&8 != 0
		f.MoreFragments = script[0]&0x30 != 0
		f.FragmentOffset = int(script[1]) * 8
		if script[0]&0xc0 == 0xc0 {
			f.FragmentOffset += 0x1f00 * 8
		}
		f.Options = bytes.Repeat([]byte{byte(OptionNop)}, int(script[2]>>6)*4)
		b := datagram(f, bytes.Repeat(script[3:4], int(script[2]&31)*4))
		h, payload, c := Parse(b)
		if c != CauseNone {
			t.Fatalf("Parse: %v", c)
		}
		m := model[f.ID]
		want := m.input(h, payload)
		d, done, got := r.Input(0, h, payload, 1)
		if got != want || done != m.whole {
			t.Fatalf("offset %d, %d bytes, more %v: %v, done %v; want %v, %v",
				h.FragmentOffset(), len(payload), h.MoreFragments(), got, done, want, m.whole)
		}
		if done {
			if !bytes.Equal(d, m.datagram()) {
				t.Fatalf("datagram %x, want %x", d, m.datagram())
			}
			equal(t, "MaxFragSize", r.MaxFragSize(), m.maxSize)
		}
		if done || m.dropped {
			model[f.ID] = fresh()
		}
	}
	r.Advance(1 << 62)
	for e, ok := r.Next(); ok; e, ok = r.Next() {
		if e.First != nil {
			if _, _, ok := ParseQuoted(e.First); !ok {
				t.Fatalf("expired datagram's first fragment: %x", e.First)
			}
		}
	}
	equal(t, "Memory", r.Stats().Memory, 0)
}

func TestReassemblerAgainstModel(t *testing.T) {
	whole := 0
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		script := make([]byte, 4*40)
		for i := range script {
			script[i] = byte(rnd.Uint32())
			switch i % 4 {
			case 0: // mostly of one ECN, and in the first half
				script[i] &= 0x39
			case 1:
				script[i] &= 3
			case 2:
				script[i] &= 0xe7
			}
		}
		driveReassembler(t, script)
		whole++
	}
	equal(t, "runs", whole, 2000)
}

func FuzzReassembler(f *testing.F) {
	f.Add([]byte{0x10, 0, 2, 'a', 0x00, 1, 2, 'b'})
	f.Add([]byte{0x00, 1, 2, 'b', 0x10, 0, 2, 'a', 0x10, 0, 2, 'a'})
	f.Add([]byte{0x10, 0, 4, 'a', 0x10, 1, 4, 'b', 0x00, 1, 2, 'c'})
	f.Add([]byte{0xc0, 255, 31, 'x'})
	f.Fuzz(driveReassembler)
}

// driveIdentity fragments a datagram, shuffles and repeats the fragments, and
// wants the datagram back.
func driveIdentity(t *testing.T, size, mtu uint16, seed uint64, options []byte) {
	f := testFields
	f.Options = options[:min(len(options), MaxOptionsLen)]
	payload := pattern(int(size))
	var g Fragmenter
	if g.Reset(&f, payload, int(mtu)) != CauseNone {
		return
	}
	var all [][]byte
	for more := true; more; {
		var n int
		buf := make([]byte, mtu)
		n, more = g.Next(buf)
		all = append(all, buf[:n])
	}
	whole := datagram(f, payload)
	if len(all) == 1 {
		if !bytes.Equal(all[0], whole) {
			t.Fatal("what fits was changed")
		}
		return
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	r := NewReassembler(ReassemblyConfig{})
	for i, b := range all {
		h, p, c := Parse(b)
		if c != CauseNone {
			t.Fatalf("Parse: %v", c)
		}
		d, done, c := r.Input(0, h, p, 1)
		if c != CauseNone || done != (i == len(all)-1) {
			t.Fatalf("fragment %d of %d: %v, done %v", i, len(all), c, done)
		}
		if done && !bytes.Equal(d, whole) {
			t.Fatal("another datagram came out")
		}
		if _, _, c := r.Input(0, h, p, 1); !done && c != CauseFragmentDuplicate {
			t.Fatalf("the same again: %v", c)
		}
	}
}

func TestFragmentThenReassemble(t *testing.T) {
	for _, size := range []uint16{0, 1, 1472, 1480, 1481, 2960, 8972, 65515} {
		for _, mtu := range []uint16{68, 576, 1280, 1500, 1501, 9000} {
			driveIdentity(t, size, mtu, uint64(size), nil)
			driveIdentity(t, size, mtu, uint64(size), []byte{7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0})
		}
	}
}

func FuzzFragmentThenReassemble(f *testing.F) {
	f.Add(uint16(3000), uint16(1500), uint64(1), []byte{148, 4, 0, 0})
	f.Add(uint16(65507), uint16(576), uint64(2), []byte{})
	f.Fuzz(driveIdentity)
}
