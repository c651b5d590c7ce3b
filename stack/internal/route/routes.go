package route

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// Routes is what a host knows of the ways to others, now. All methods may be called by
// any goroutines at once.
type Routes struct {
	net         atomic.Pointer[Network]
	Generations Generations
	Gateways    Gateways
	mtus        pathMTUs
	now         func() int64
	source      Source // nil: the table is all there is
}

// Init makes r ready, with no devices. maxMTUs is of how many paths the MTU that ICMP
// taught is remembered.
func (r *Routes) Init(now func() int64, random func() uint64, maxMTUs int) {
	r.now = now
	r.Generations.secret = random()
	r.mtus.all = ipv4.NewPathMTU(maxMTUs)
	r.Set(Empty(nil))
}

// Net returns the configuration as it is now.
func (r *Routes) Net() *Network { return r.net.Load() }

// Set makes n the configuration. Paths are to change their generation afterwards.
func (r *Routes) Set(n *Network) { r.net.Store(n) }

// pathMTUs are what ICMP has taught of paths.
type pathMTUs struct {
	mu  sync.Mutex // a leaf
	all *ipv4.PathMTU
}

// lookup returns what ICMP has taught of a path.
func (m *pathMTUs) lookup(now func() int64, p ipv4.Path) (mtu int, locked, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all.Len() == 0 {
		return 0, false, false
	}
	return m.all.Lookup(now(), p)
}

// LearnMTU takes in that the path of a flow has a smaller MTU (RFC 1191).
func (r *Routes) LearnMTU(f Flow, mtu int) {
	h, e := r.Find(f)
	if e != 0 || h.Kind != Unicast {
		return
	}
	if r.mtus.update(r.now(), h.path(f.Dst), mtu, h.MTU) {
		r.Generations.ChangedTo(f.Dst)
	}
}

// update takes in what ICMP says of a path, and reports whether that is news.
func (m *pathMTUs) update(now int64, p ipv4.Path, mtu, linkMTU int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all.Update(now, p, mtu, linkMTU)
}

// ForgetMTUs forgets what is known of the MTUs of paths that begin with a route.
func (r *Routes) ForgetMTUs(to ipv4.Route) {
	r.mtus.mu.Lock()
	defer r.mtus.mu.Unlock()
	r.mtus.all.Forget(func(p ipv4.Path) bool {
		next := to.Gateway
		if next.IsUnspecified() {
			next = p.Dst
		}
		return p.Next == next && (to.Iface == 0 || p.Iface == int32(to.Iface)) &&
			to.Prefix.Contains(netip.AddrFrom4(p.Dst))
	})
}

// LostDevice returns what a route would have said to a datagram whose link says ENETDOWN:
// its device, of that index, went down, or away, and nobody has been told yet.
func (n *Network) LostDevice(index int32) unix.Errno {
	if d := n.byIndex[index]; d != nil && d.gone() {
		return unix.ENODEV
	}
	return unix.ENETUNREACH
}

// PathMTUs returns of how many paths the MTU is remembered.
func (r *Routes) PathMTUs() int {
	r.mtus.mu.Lock()
	defer r.mtus.mu.Unlock()
	return r.mtus.all.Len()
}
