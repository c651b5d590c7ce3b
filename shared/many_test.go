package shared

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/link/tpacket"
)

// A journal keeps what is logged.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// 65 stacks claim on one device: TCX has room for 63 programs, and the two that come later
// say so and go on by nf_tables. Each gets what is its own, once.
func TestManyHosts(t *testing.T) {
	w := newWorld(t, Config{NoLo: true, Devices: []string{"near0"}, Ring: tpacket.Options{Slots: 32, BlockSize: 1 << 16}})
	var j journal
	hosts := []*world{w}
	for i := 2; i <= 65; i++ {
		other := worldWith(t, w.Lab, Config{NoLo: true, Devices: []string{"near0"}, Ring: tpacket.Options{Slots: 32, BlockSize: 1 << 16}},
			slog.New(slog.NewTextHandler(&j, nil)))
		hosts = append(hosts, other)
		want := claim.TCX
		if i > 63 {
			want = claim.NFT
		}
		if got := other.rung(); got != want {
			t.Fatalf("stack %d: %s, want %s", i, got, want)
		}
		if said := bytes.Count([]byte(j.String()), []byte("numerical result out of range")); said != max(0, i-63) {
			t.Errorf("stack %d: said %d times:\n%s", i, said, j.String())
		}
	}
	client := w.Far().UDP(t, 5000)
	before := counters(t, w.Near())
	for i, h := range hosts {
		port := uint16(1000 + i)
		k := h.socket(fmt.Sprintf("0.0.0.0:%d", port))
		check(t, client.SendTo(fmt.Appendf(nil, "%d", i), netip.AddrPortFrom(w.Near().Addr, port)))
		if got, _ := h.recv(k); got != fmt.Sprint(i) {
			t.Errorf("stack %d has received %q", i, got)
		}
	}
	if g := grown(before, counters(t, w.Near()), "UdpNoPorts", "UdpInErrors", "UdpInDatagrams", "IpInReceives"); g != "" {
		t.Errorf("the kernel has counted %s", g)
	}
	check(t, hosts[7].host.Close())
	if got := worldOf(t, w.Lab, Config{NoLo: true, Devices: []string{"near0"}}).rung(); got != claim.TCX {
		t.Errorf("there is room again, and it is %s", got)
	}
}

// rung returns by what the kernel is kept off what comes by near0.
func (w *world) rung() claim.Rung {
	w.t.Helper()
	d, err := w.Near().Device("near0")
	check(w.t, err)
	return w.host.claims.RungOf(d.Index)
}
