package metrics

import (
	"expvar"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/outband/outband/link"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/stack"
)

// A Source has a stack: an *outband.Host, a *shared.Host, a *sockapi.API.
type Source interface{ Stack() *stack.Stack }

// Hosts are stacks to be watched, by name: that is the label "host" of all that is shown of one.
// The empty name, of a program's only host, gives none. As an http.Handler they answer with
// the text format of Prometheus. The map must not change while they do.
type Hosts map[string]Source

// ServeHTTP implements http.Handler.
func (h Hosts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET or HEAD only", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = h.WriteTo(w)
}

// WriteTo implements io.WriterTo: it writes what ServeHTTP answers.
func (h Hosts) WriteTo(w io.Writer) (int64, error) {
	var p page
	for _, name := range slices.Sorted(maps.Keys(h)) {
		var labels []label
		if name != "" {
			labels = []label{{"host", name}}
		}
		p.addHost(h[name], labels)
	}
	return p.WriteTo(w)
}

// Var returns the counters of a host for expvar.Publish: an object with the names of
// stack.Stats.
func Var(s Source) expvar.Var {
	return expvar.Func(func() any {
		all := make(map[string]uint64)
		for _, c := range s.Stack().Stats().Counters {
			all[c.Name] = c.Value
		}
		return all
	})
}

// addHost adds what there is of one host.
func (p *page) addHost(s Source, of []label) {
	st := s.Stack()
	for _, c := range st.Stats().Counters {
		p.add(counterName(c.Name), help(c.Name), false, c.Value, of...)
	}
	with := func(name, value string) []label { return append(slices.Clone(of), label{name, value}) }
	for _, i := range st.Interfaces() {
		up := uint64(0)
		if i.Link().Info().State == link.Up {
			up = 1
		}
		p.add(prefix+"link_up", "Whether a device carries frames.", true, up, with("device", i.Name())...)
	}
	states := map[string]uint64{}
	for _, n := range st.Neighbours() {
		states[snake(n.State.String())]++
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		p.add(prefix+"neighbours", "Entries of the neighbour tables, by state.", true, states[state], with("state", state)...)
	}
	sockets, queued := st.Sockets(), uint64(0)
	for _, s := range sockets {
		queued += uint64(s.RecvQ)
	}
	p.add(prefix+"sockets", "Open sockets.", true, uint64(len(sockets)), of...)
	p.add(prefix+"receive_queue_bytes", "Memory of what is queued at sockets.", true, queued, of...)
	if f, ok := s.(interface{ Why() error }); ok {
		p.add(prefix+"in_band", "Whether the host is the kernel's, since the stack could not be opened.", true, number(f.Why() != nil), of...)
	}
	if status, ok := statusOf(s); ok {
		p.addStatus(&status, of, with)
	}
}

// number is 1 for true, 0 for false.
func number(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// statusOf returns what a host does beside the kernel, if it uses the kernel's addresses.
func statusOf(s Source) (shared.Status, bool) {
	switch s := s.(type) {
	case interface{ Status() (shared.Status, bool) }:
		return s.Status()
	case *shared.Host:
		return s.Status(), true
	}
	return shared.Status{}, false
}

// addStatus adds what there is of a host on the kernel's addresses.
func (p *page) addStatus(s *shared.Status, of []label, with func(name, value string) []label) {
	p.add(prefix+"claim_info", "By what the kernel is kept off the stack's datagrams; always 1.", true, 1, with("rung", s.Rung)...)
	p.add(prefix+"held_ports", "Ports that in-band sockets hold for the stack.", true, uint64(max(s.Holders, 0)), of...)
	p.add(prefix+"shared_sent_in_band_total", "Datagrams that the kernel has sent by devices without a ring, or to groups and broadcasts.", false, s.SentInBand, of...)
	for _, d := range s.Devices {
		at := append(with("device", d.Name), label{"index", strconv.Itoa(int(d.Index))})
		p.add(prefix+"claimed_in_total", "Datagrams that the kernel was kept from.", false, d.ClaimedIn, at...)
		p.add(prefix+"claim_fragments_passed_total", "Fragments that the kernel has had since a later one came first.", false, d.FragmentsPassed, at...)
		p.add(prefix+"holder_in_total", "Datagrams that came by in-band sockets.", false, d.HolderIn, at...)
	}
}
