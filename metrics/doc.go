// Package metrics shows a stack to those who watch it: in the text format of Prometheus, and by
// expvar.
//
//	http.Handle("/metrics", metrics.Hosts{"eth1": host})
//	expvar.Publish("outband", metrics.Var(host))
//
// Names are those of the counters (stack.Stats) in Prometheus' fashion: UdpInDatagrams is
// outband_udp_in_datagrams_total. Units are bytes, datagrams and frames. What a scrape costs is what
// stack.Stack.Stats does: datagrams that come meanwhile wait a microsecond.
//
// It is a package of its own since net/http is large: programs that do not import it have
// nothing of it.
package metrics
