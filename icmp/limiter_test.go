package icmp

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

const (
	sec = int64(time.Second)
	ms  = int64(time.Millisecond)
)

var host1 = ipv4.Addr{10, 0, 0, 1}

// one is a random number that makes every message cost one credit.
func one() uint64 { return math.MaxUint64 / 2 }

// sent returns how many of n messages are allowed at once.
func sent(l *Limiter, now int64, dst ipv4.Addr, typ uint8, n int) (ok int) {
	for range n {
		if l.Allow(now, dst, typ) {
			ok++
		}
	}
	return ok
}

func numbered(i int) ipv4.Addr { return ipv4.Addr{10, byte(i >> 16), byte(i >> 8), byte(i)} }

func TestLimiterPerHost(t *testing.T) {
	l := NewLimiter(DefaultLimiterConfig(), one)
	now := 5 * sec
	if n := sent(l, now, host1, DestinationUnreachable, 20); n != 6 {
		t.Errorf("%d at once, want 6", n)
	}
	for _, tt := range []struct {
		after int64
		want  int
	}{{999 * ms, 0}, {ms, 1}, {sec / 2, 0}, {sec / 2, 1}, {3 * sec, 3}, {100 * sec, 6}} {
		now += tt.after
		if n := sent(l, now, host1, TimeExceeded, 20); n != tt.want {
			t.Errorf("%v later: %d, want %d", time.Duration(tt.after), n, tt.want)
		}
	}
	if s := l.Stats(); s.Host == 0 || s.Global != 0 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestLimiterGlobal(t *testing.T) {
	l := NewLimiter(DefaultLimiterConfig(), one)
	now, next := int64(0), 0
	flood := func() (ok int) {
		for range 2000 {
			next++
			if l.Check(now, numbered(next), DestinationUnreachable) == CauseNone {
				ok++
			}
		}
		return ok
	}
	for _, tt := range []struct {
		after int64
		want  int
	}{{0, 50}, {19 * ms, 0}, {ms, 20}, {30 * ms, 30}, {10 * sec, 50}} {
		now += tt.after
		if n := flood(); n != tt.want {
			t.Errorf("%v later: %d, want %d", time.Duration(tt.after), n, tt.want)
		}
	}
	if s := l.Stats(); s.Host != 0 || s.Global != 5*2000-150 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestLimiterGlobalIsUnpredictable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	l := NewLimiter(DefaultLimiterConfig(), r.Uint64)
	counts, total := map[int]bool{}, 0
	for i := range 200 {
		n := 0
		for j := range 200 {
			if l.Allow(int64(i)*sec, numbered(i*200+j), TimeExceeded) {
				n++
			}
		}
		counts[n] = true
		total += n
	}
	if len(counts) < 10 {
		t.Errorf("bursts of only %d lengths", len(counts))
	}
	if mean := total / 200; mean < 47 || mean > 53 {
		t.Errorf("bursts of %d on average, want about 50", mean)
	}
}

// What one host's limit stops costs the others nothing.
func TestLimiterHostDoesNotDrainGlobal(t *testing.T) {
	l := NewLimiter(DefaultLimiterConfig(), one)
	sent(l, 0, host1, TimeExceeded, 10000)
	n := 0
	for i := range 100 {
		n += sent(l, 0, numbered(1000+i), TimeExceeded, 1)
	}
	if n != 50-6 {
		t.Errorf("%d to others, want 44", n)
	}
}

func TestLimiterUnlimitedTypes(t *testing.T) {
	l := NewLimiter(DefaultLimiterConfig(), one)
	for typ := range 256 {
		limited := typ == 3 || typ == 4 || typ == 11 || typ == 12
		if n := sent(l, sec*int64(typ)*20, host1, uint8(typ), 100); (n == 100) == limited {
			t.Errorf("type %d: %d of 100", typ, n)
		}
	}
}

// Of a mask of all types those are limited that Linux knows.
func TestLimiterOfAllTypes(t *testing.T) {
	cfg := DefaultLimiterConfig()
	cfg.RateMask = ^uint32(0)
	l := NewLimiter(cfg, one)
	for typ := range 256 {
		if n := sent(l, sec*int64(typ)*20, host1, uint8(typ), 100); (n == 100) == (typ <= 18) {
			t.Errorf("type %d: %d of 100", typ, n)
		}
	}
}

// A rate so low that the time between two questions earns nothing is kept nevertheless:
// questions in between do not take away what has been earned.
func TestLimiterLowRate(t *testing.T) {
	cfg := DefaultLimiterConfig()
	cfg.MsgsPerSec = 2
	l := NewLimiter(cfg, one)
	if n := sent(l, 0, host1, TimeExceeded, 10); n != 2 {
		t.Fatalf("%d at first, want 2", n)
	}
	n := 0
	for now := 30 * ms; now <= 3*sec; now += 30 * ms {
		n += sent(l, now, numbered(int(now/ms)), TimeExceeded, 1)
	}
	if n != 5 { // one each 510 ms, the first question from half a second on
		t.Errorf("%d in 3 s, want 5", n)
	}
}

// A time before an earlier one counts as that one: it earns nothing, neither then nor
// afterwards, and costs nothing.
func TestLimiterTimeGoesBack(t *testing.T) {
	l := NewLimiter(DefaultLimiterConfig(), one)
	sent(l, 10*sec, host1, TimeExceeded, 6)
	for _, tt := range []struct {
		now  int64
		want int
	}{{5 * sec, 0}, {10 * sec, 0}, {11 * sec, 1}, {2 * sec, 0}, {12*sec - 1, 0}, {12 * sec, 1}} {
		if n := sent(l, tt.now, host1, TimeExceeded, 20); n != tt.want {
			t.Errorf("at %v: %d, want %d", time.Duration(tt.now), n, tt.want)
		}
	}
}

// Without a limit for each host no host is remembered.
func TestLimiterWithoutHostLimit(t *testing.T) {
	for _, limit := range []time.Duration{0, -1} {
		cfg := DefaultLimiterConfig()
		cfg.RateLimit, cfg.MaxHosts, cfg.MsgsBurst, cfg.MsgsPerSec = limit, 4, 1e6, 1e6
		l := NewLimiter(cfg, one)
		for i := range 100 {
			if n := sent(l, 0, numbered(i), TimeExceeded, 20); n != 20 {
				t.Fatalf("limit %d: %d of 20", limit, n)
			}
		}
		if s := l.Stats(); s != (LimiterStats{}) {
			t.Errorf("limit %d: %+v", limit, s)
		}
	}
}

func TestLimiterConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*LimiterConfig)
		want int
	}{
		{"no host limit", func(c *LimiterConfig) { c.RateLimit = 0 }, 50},
		{"no rate", func(c *LimiterConfig) { c.MsgsPerSec = 0 }, 0},
		{"no burst", func(c *LimiterConfig) { c.MsgsBurst = 0 }, 0},
		{"nothing limited", func(c *LimiterConfig) { c.RateMask = 0 }, 200},
		{"no hosts", func(c *LimiterConfig) { c.MaxHosts = 0 }, 6},
		{"slow host limit", func(c *LimiterConfig) { c.RateLimit = time.Hour }, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultLimiterConfig()
			tt.set(&cfg)
			if n := sent(NewLimiter(cfg, one), 0, host1, TimeExceeded, 200); n != tt.want {
				t.Errorf("%d of 200, want %d", n, tt.want)
			}
		})
	}
}

func TestLimiterForgetsTheLongestIdle(t *testing.T) {
	cfg := DefaultLimiterConfig()
	cfg.MaxHosts, cfg.MsgsBurst, cfg.MsgsPerSec = 4, 1e6, 1e6 // one set
	l := NewLimiter(cfg, one)
	for i := range 4 {
		sent(l, int64(i), numbered(i), TimeExceeded, 20)
	}
	sent(l, 10, numbered(0), TimeExceeded, 1) // still known, so denied
	if n := sent(l, 11, numbered(9), TimeExceeded, 20); n != 6 {
		t.Errorf("a new host: %d, want 6", n)
	}
	if n := sent(l, 12, numbered(0), TimeExceeded, 20); n != 0 || l.Stats().Evicted != 1 {
		t.Errorf("a host in use: %d, want 0; %d evicted, want 1", n, l.Stats().Evicted)
	}
	if n := sent(l, 13, numbered(1), TimeExceeded, 20); n != 6 || l.Stats().Evicted != 2 {
		t.Errorf("the host that was forgotten: %d, want 6; %d evicted, want 2", n, l.Stats().Evicted)
	}
	if len(l.hosts)*ways != 4 {
		t.Errorf("room for %d hosts, want 4", len(l.hosts)*ways)
	}
}

func BenchmarkLimiterAllow(b *testing.B) {
	l := NewLimiter(DefaultLimiterConfig(), rand.New(rand.NewPCG(1, 2)).Uint64)
	for i := 0; b.Loop(); i++ {
		l.Allow(int64(i)*ms, numbered(i&0xffff), DestinationUnreachable)
	}
}
