package groupflow

import "github.com/outband/outband/ipv4"

// A Flow is whom the datagrams to an address and a port, of an interface, are for.
type Flow[S any] struct {
	Key
	Plain bool   // All are all, whatever the source
	gen   uint64 // in which it was made; 0: it is empty
	// All are the sockets that any source's datagrams are for; some, those of whom that
	// depends on the source, is nil if there are none.
	All  []S
	some *bySource[S]
}

// bySource are sockets that take datagrams of some sources only.
type bySource[S any] struct {
	excluding []S               // with a list of sources not to take: nearly all are for them
	including map[ipv4.Addr][]S // by the sources that they take
	connected map[Peer][]S      // by their peer
	count     int
}

// A Peer is that of a connected socket; port 0 stands for all.
type Peer struct {
	Addr ipv4.Addr
	Port uint16
}

// sources returns the lists of those that take some sources only.
func (f *Flow[S]) sources() *bySource[S] {
	if f.some == nil {
		f.some = &bySource[S]{including: make(map[ipv4.Addr][]S), connected: make(map[Peer][]S)}
	}
	return f.some
}

// Add enters a socket that takes what any source sends.
func (f *Flow[S]) Add(s S) { f.All = append(f.All, s) }

// AddConnected enters a socket that is connected.
func (f *Flow[S]) AddConnected(s S, p Peer) {
	l := f.sources()
	l.connected[p] = append(l.connected[p], s)
	l.count++
}

// AddExcluding enters a socket that takes what all but some sources send.
func (f *Flow[S]) AddExcluding(s S) {
	l := f.sources()
	l.excluding = append(l.excluding, s)
	l.count++
}

// AddIncluding enters a socket that takes what some sources send.
func (f *Flow[S]) AddIncluding(s S, sources []ipv4.Addr) {
	l := f.sources()
	for _, src := range sources {
		l.including[src] = append(l.including[src], s)
	}
	l.count += len(sources)
}

// count returns how many sockets the flow names.
func (f *Flow[S]) count() int {
	if f.some != nil {
		return len(f.All) + f.some.count
	}
	return len(f.All)
}

// Selective reports whether there are sockets that take datagrams of some sources only.
func (f *Flow[S]) Selective() bool { return f.some != nil }

// Including returns those of the selective sockets that take what src sends.
func (f *Flow[S]) Including(src ipv4.Addr) []S { return f.some.including[src] }

// Maybe returns those of the selective sockets whose own filter has the last word on
// what a peer sends; sport may be 0.
func (f *Flow[S]) Maybe(src ipv4.Addr, sport uint16) [3][]S {
	l := f.some
	lists := [3][]S{l.excluding, l.connected[Peer{src, 0}], nil}
	if sport != 0 {
		lists[2] = l.connected[Peer{src, sport}]
	}
	return lists
}
