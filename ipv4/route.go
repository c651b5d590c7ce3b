package ipv4

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A RouteType is what happens to datagrams for a route's destinations
// (rtnetlink(7), rtm_type).
type RouteType uint8

// The types of routes.
const (
	Unicast     RouteType = iota // sent to the gateway, or straight to the destination
	Local                        // one of our own addresses: delivered here
	Broadcast                    // all hosts of a link: sent as a broadcast, delivered here
	Multicast                    // a group: sent as a multicast
	Blackhole                    // dropped in silence
	Unreachable                  // dropped: no way to the host
	Prohibit                     // dropped: not allowed
)

// String returns the type as ip-route(8) writes it.
func (t RouteType) String() string {
	names := [...]string{"unicast", "local", "broadcast", "multicast", "blackhole", "unreachable", "prohibit"}
	if int(t) < len(names) {
		return names[t]
	}
	return "unknown"
}

// Errno returns the error that a sender gets for a route of this type, 0 if
// there is none (ip-route(8); Linux' fib_props).
func (t RouteType) Errno() unix.Errno {
	switch t {
	case Blackhole:
		return unix.EINVAL
	case Unreachable:
		return unix.EHOSTUNREACH
	case Prohibit:
		return unix.EACCES
	}
	return 0
}

// A Route says how datagrams for the addresses of a prefix go.
type Route struct {
	// Prefix is the destinations; an IPv4 prefix without host bits.
	Prefix netip.Prefix
	// Gateway is the next hop, 0.0.0.0 if the destinations are on the link.
	Gateway Addr
	// Source is the source address to prefer, 0.0.0.0 for none.
	Source Addr
	// Iface is the number of the interface. 0 means none, and fits every
	// lookup: for types that send nothing.
	Iface int
	// Metric decides among routes for the same prefix: the least one wins.
	Metric uint32
	// MTU is the longest datagram in bytes if it is less than the interface's;
	// 0 for no such limit.
	MTU int
	// Type is what happens to the datagrams.
	Type RouteType
	// Scope is the distance to the destinations, one of the Scope constants.
	Scope uint8
	// OnLink says that the gateway is on the link of Iface, whatever the addresses there
	// are ("onlink" in ip-route(8)): that of a host whose own prefix is a /32.
	OnLink bool
}

// String returns the route much as ip-route(8) does, with the interface's number
// in place of its name.
func (r Route) String() string {
	s := r.Prefix.String()
	if r.Prefix.Bits() == 0 {
		s = "default"
	}
	if r.Type != Unicast {
		s = r.Type.String() + " " + s
	}
	if !r.Gateway.IsUnspecified() {
		s += " via " + netip.AddrFrom4(r.Gateway).String()
	}
	if r.Iface != 0 {
		s += " dev " + strconv.Itoa(r.Iface)
	}
	if !r.Source.IsUnspecified() {
		s += " src " + netip.AddrFrom4(r.Source).String()
	}
	if r.Metric != 0 {
		s += " metric " + strconv.FormatUint(uint64(r.Metric), 10)
	}
	if r.MTU != 0 {
		s += " mtu " + strconv.Itoa(r.MTU)
	}
	if r.OnLink {
		s += " onlink"
	}
	return s
}

// ours reports whether Linux would keep the route in its table local, which it
// asks first.
func (r *Route) ours() bool { return r.Type == Local || r.Type == Broadcast }

// compareRoutes puts routes for the same prefix in the order in which a lookup
// wants them.
func compareRoutes(a, b Route) int {
	if a.ours() != b.ours() {
		if a.ours() {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Metric, b.Metric)
}

// A RouteTable finds the route for a destination: of the longest prefix that
// holds it, and among several the one with the least metric. Local and
// Broadcast routes go before others of the same prefix. The zero value is an
// empty table.
//
// Any number of goroutines may look up at once, as long as none changes the
// table. Clone costs next to nothing and lookups take no lock, so a table that
// is read while it changes is best replaced: clone, change, publish.
type RouteTable struct {
	root *routeNode // never changed once it is here: see routeNode
	n    int
}

// Lookup returns the route for dst. With an iface other than 0 only routes over
// that interface count, and those of no interface; a route of a shorter prefix
// is found then if the longer ones lead elsewhere, as with SO_BINDTODEVICE in
// Linux. ok is false if there is none. It allocates nothing.
func (t *RouteTable) Lookup(dst Addr, iface int) (r Route, ok bool) {
	if p := t.root.lookup(dst, wanted{iface: iface}); p != nil {
		return *p, true
	}
	return Route{}, false
}

// LookupOnLink is Lookup among the routes of scope link or host alone, which lead to
// hosts on the link (MSG_DONTROUTE in send(2)).
func (t *RouteTable) LookupOnLink(dst Addr, iface int) (r Route, ok bool) {
	if p := t.root.lookup(dst, wanted{iface, ScopeLink}); p != nil {
		return *p, true
	}
	return Route{}, false
}

// Beside returns the routes of the same prefix, metric and type as r, r among them, in
// the order in which Lookup prefers them.
func (t *RouteTable) Beside(r Route) iter.Seq[Route] {
	return func(yield func(Route) bool) {
		for _, o := range t.root.routes(keyOf(r.Prefix)) {
			if o.Metric == r.Metric && o.Type == r.Type && !yield(o) {
				return
			}
		}
	}
}

// CheckSource reports why src cannot be the source of a datagram that came from
// a wire: it is one of our own addresses, or a broadcast address (RFC 1812,
// section 5.3.7; Linux' fib_validate_source). Addresses that need no table to
// be told are [CheckMartian]'s.
func (t *RouteTable) CheckSource(src Addr) Cause {
	p := t.root.lookup(src, wanted{})
	switch {
	case p == nil:
		return CauseNone
	case p.Type == Local:
		return CauseSourceOwn
	case p.Type == Broadcast:
		return CauseSourceBroadcast
	}
	return CauseNone
}

// ResolveGateway returns the interface over which a gateway is reached; iface
// restricts it to one, 0 to none. As Linux' fib_check_nh it wants a neighbour:
// the error is ENETUNREACH if there is no way to the gateway, or only over
// another one, EINVAL if the gateway is our own address.
func (t *RouteTable) ResolveGateway(gateway Addr, iface int) (int, error) {
	p := t.root.lookup(gateway, wanted{iface: iface})
	if p == nil {
		return 0, unix.ENETUNREACH
	}
	if errno := p.Type.Errno(); errno != 0 {
		return 0, unix.ENETUNREACH
	}
	if p.Type != Unicast {
		return 0, unix.EINVAL
	}
	if !p.Gateway.IsUnspecified() {
		return 0, unix.ENETUNREACH
	}
	return p.Iface, nil
}

// Insert adds a route behind those of the same prefix and metric. Errors are
// unix errnos: EEXIST if there is a route of the same prefix, type, metric,
// interface and gateway; EINVAL if the prefix is not IPv4 or has host bits, or
// the gateway is not one host's address or not wanted by the type; ENODEV if a
// Unicast route has no interface.
func (t *RouteTable) Insert(r Route) error {
	if err := r.check(); err != nil {
		return err
	}
	k := keyOf(r.Prefix)
	old := t.root.routes(k)
	for i := range old {
		if old[i].same(r) {
			return unix.EEXIST
		}
	}
	t.set(k, insertSorted(slices.Clone(old), r))
	return nil
}

// Replace puts a route in the place of the first of the same prefix and metric
// (ip route replace), or adds it if there is none. A Local or Broadcast route
// replaces only such routes, any other only others. Errors as for Insert,
// without EEXIST.
func (t *RouteTable) Replace(r Route) error {
	if err := r.check(); err != nil {
		return err
	}
	k := keyOf(r.Prefix)
	routes := slices.Clone(t.root.routes(k))
	if i := slices.IndexFunc(routes, r.same); i >= 0 {
		routes[i] = r
		t.set(k, routes)
		return nil
	}
	i := slices.IndexFunc(routes, func(o Route) bool { return compareRoutes(o, r) == 0 })
	if i < 0 {
		t.set(k, insertSorted(routes, r))
		return nil
	}
	routes[i] = r
	t.set(k, routes)
	return nil
}

// Delete takes out the first route of r's prefix and type, and of its metric,
// interface and gateway where these are not 0. The error is ESRCH if there is
// none, EINVAL if the prefix is no IPv4 prefix.
func (t *RouteTable) Delete(r Route) error {
	if !validPrefix(r.Prefix) {
		return unix.EINVAL
	}
	k := keyOf(r.Prefix)
	old := t.root.routes(k)
	i := slices.IndexFunc(old, func(o Route) bool {
		return o.Type == r.Type && (r.Metric == 0 || o.Metric == r.Metric) &&
			(r.Iface == 0 || o.Iface == r.Iface) && (r.Gateway.IsUnspecified() || o.Gateway == r.Gateway)
	})
	if i < 0 {
		return unix.ESRCH
	}
	t.set(k, slices.Delete(slices.Clone(old), i, i+1))
	return nil
}

// Len returns the number of routes.
func (t *RouteTable) Len() int { return t.n }

// Clone returns a table of the same routes. Changes of one are not seen in the
// other. It costs no more than the table's two words.
func (t *RouteTable) Clone() *RouteTable {
	c := *t
	return &c
}

// All returns all routes, by address, then from the shortest prefix to the
// longest, then in the order in which a lookup wants them.
func (t *RouteTable) All() []Route {
	all := t.root.appendAll(make([]Route, 0, t.n))
	slices.SortStableFunc(all, func(a, b Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	return all
}

// set makes routes the routes of the prefix k.
func (t *RouteTable) set(k prefixKey, routes []Route) {
	t.n += len(routes) - len(t.root.routes(k))
	root := t.root
	if root == nil {
		root = &routeNode{}
	}
	t.root = root.with(0, routeEntry{key: k, routes: routes})
}

// insertSorted adds r behind the routes that a lookup would prefer or not tell
// from it.
func insertSorted(routes []Route, r Route) []Route {
	i := len(routes)
	for i > 0 && compareRoutes(routes[i-1], r) > 0 {
		i--
	}
	return slices.Insert(routes, i, r)
}

// same reports whether both are the same route: Insert tells them apart by no
// other field.
func (r Route) same(o Route) bool {
	return r.Prefix == o.Prefix && r.Type == o.Type && r.Metric == o.Metric &&
		r.Iface == o.Iface && r.Gateway == o.Gateway
}

// check returns why r cannot be in a table, nil if it can.
func (r *Route) check() error {
	if !validPrefix(r.Prefix) || r.Type > Prohibit || r.MTU < 0 {
		return unix.EINVAL
	}
	if r.Type == Unicast && r.Iface == 0 {
		return unix.ENODEV
	}
	if g := r.Gateway; !g.IsUnspecified() && (r.Type != Unicast || g.IsMulticast() || g.IsLimitedBroadcast() || g.IsLoopback()) {
		return unix.EINVAL
	}
	return nil
}

// validPrefix reports whether p is an IPv4 prefix without host bits.
func validPrefix(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is4() && p == p.Masked()
}
