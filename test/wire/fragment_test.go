package wire

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

var (
	fragmentTime = flag.Duration("wire.fragments", 8*time.Second, "how long to try mixes of fragments, at most 25 s")
	fragmentSeed = flag.Uint64("wire.fragmentseed", 1, "of mixes of fragments")
)

// A mix is fragments in the order in which they come, each of one of a few datagrams.
type mix []mixed

// A mixed fragment is one of a mix.
type mixed struct {
	key        int // of its datagram
	start, len int
	more       bool
	other      bool // its bytes are not the datagram's
	df         bool
	ecn        uint8
	times      int // it comes so often, each time with another identification
}

func (f mixed) String() string {
	s := fmt.Sprintf("%d: [%d, %d) more %t", f.key, f.start, f.start+f.len, f.more)
	for _, flag := range []struct {
		on   bool
		name string
	}{{f.other, ", other bytes"}, {f.df, ", DF"}, {f.ecn > 0, fmt.Sprintf(", ECN %d", f.ecn)}, {f.times > 0, fmt.Sprintf(", %d datagrams", f.times)}} {
		if flag.on {
			s += flag.name
		}
	}
	return s
}

// partsOfMix and partLen are what a datagram of a mix is honestly cut into.
const partsOfMix, partLen = 4, 16

// honest returns a part of a datagram as it should be.
func honest(key, part int) mixed {
	return mixed{key: key, start: part * partLen, len: partLen, more: part < partsOfMix-1}
}

// newMix makes a mix by chance: honest parts, some of them twice, and among them what
// senders, and those who want to do harm, may send beside.
func newMix(r *rand.Rand) (m mix) {
	for range 2 + r.IntN(14) {
		f := honest(r.IntN(3), r.IntN(partsOfMix))
		switch r.IntN(24) {
		case 0:
			f.start += 8
		case 1:
			f.len += 8 * (1 + r.IntN(3))
		case 2:
			f.len -= 1 + r.IntN(15)
		case 3:
			f.len = 0
		case 4:
			f.more = !f.more
		case 5:
			f.start, f.len = r.IntN(12)*8, 1+r.IntN(40)
		case 6:
			f.start = 65528 - 8*r.IntN(2)
		case 7:
			f.other = true
		case 8:
			f.ecn = uint8(r.IntN(4))
		case 9:
			f.df = true
		case 10:
			if r.IntN(4) == 0 {
				f.times = []int{63, 64, 65, 1}[r.IntN(4)]
			}
		case 11:
			for part := range partsOfMix {
				m = append(m, honest(f.key, part)) // sent once more, all of it
			}
		case 12:
			f.start, f.len, f.more = 0, 0, true
		}
		m = append(m, f)
	}
	return m
}

// run sends a mix, whose identifications no other has, and receives what comes of it.
func (m mix) run(p *Play, ids uint16) {
	k := p.UDP("k")
	k.Bind(sockapi.Inet4([4]byte{}, 7001))
	k.Set(unix.SOL_IP, unix.IP_RECVFRAGSIZE, 1)
	k.Set(unix.SOL_IP, unix.IP_RECVTOS, 1)
	burst := uint16(0)
	for _, f := range m {
		p.Logf("%v", f)
		whole := UDP(0, ipv4.Fields{}, 7002, 7001, oracle.Data(partsOfMix*partLen-8))[link.HeaderLen+ipv4.MinHeaderLen:]
		b := make([]byte, f.len)
		if copy(b, whole[min(f.start, len(whole)):]); f.other {
			for i := range b {
				b[i] ^= 0x55
			}
		}
		h := ipv4.Fields{ID: ids + uint16(f.key), Protocol: ipv4.ProtocolUDP, FragmentOffset: f.start &^ 7,
			MoreFragments: f.more, DontFragment: f.df, TOS: f.ecn}
		p.Host.Inject(0, IP(0, h, b))
		for range f.times {
			h.ID, burst = ids+3+burst, burst+1
			h.FragmentOffset, h.MoreFragments = 0, true
			p.Host.Inject(0, IP(0, h, make([]byte, 8)))
		}
		p.Host.Settle()
		k.Recvmsg(100, unix.MSG_DONTWAIT, 100)
	}
}

// bursts returns how many identifications more than three a mix needs.
func (m mix) bursts() (n uint16) {
	for _, f := range m {
		n += uint16(f.times)
	}
	return n
}

// TestFragmentMixes compares what becomes of fragments that come as nobody honest would
// send them: what is delivered, and how it is counted. Nothing is left over of one mix
// that another could hear of: hosts are made anew before datagrams that miss parts
// are given up.
func TestFragmentMixes(t *testing.T) {
	linux := NewKernel(t).(*kernelHost)
	check(t, linux.near.SetSysctl("net/ipv4/ipfrag_high_thresh", "268435456"))
	j := &Judge{Linux: linux}
	ids, failed, n := uint16(1), 0, 0
	for end := time.Now().Add(min(*fragmentTime, 25*time.Second)); time.Now().Before(end) && failed < 10; n++ {
		if n%100 == 0 {
			j.Ours = NewOurs(t, linux)
		}
		m := newMix(rand.New(rand.NewPCG(*fragmentSeed, uint64(n))))
		script := func(p *Play) { m.run(p, ids) }
		linux, ours := play(j.Linux, n, script), play(j.Ours, n, script)
		ids += 3 + m.bursts()
		j.Calls += len(linux)
		if diff := oracle.Diff(linux, ours); diff != "" {
			failed++
			t.Errorf("mix %d of seed %d:\n%s", n, *fragmentSeed, diff)
		}
	}
	t.Logf("%d mixes, %d lines compared with Linux", n, j.Calls)
}
