// Package bench measures what a datagram costs by this stack and by what a
// program could use instead, on one machine in one run.
//
// # How
//
// Each contender runs between two namespaces joined by a veth pair. Each end is
// a process of its own, this program started again with an [EndJob], so that no
// contender's scheduler, garbage collector or threads are shared with its peer
// or with another contender. Within a round every contender runs once, so that a
// noisy minute falls on all of them; what is reported is the median over the
// rounds. The server's process says when it is ready, and only then the client's
// starts: nothing waits for a time.
//
// A round trip is measured as the programs under peers/ and their C originals
// do: take the time, send, wait for the answer, take the time. The server
// returns each datagram; one of a single byte ends it.
package bench
