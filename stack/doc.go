// Package stack is one UDP/IPv4 host in a process: it joins protocols to links,
// owns addresses, routes and neighbours, and decides which thread does the work.
//
// # The way of a datagram in
//
//  1. A thread that wants a datagram takes the lock of a lane (lane.go) and becomes
//     its leader (internal/drive). It asks each link for a batch of frames.
//  2. input checks the Ethernet header, ipv4Input the IP header; fragments
//     take the way over the reassembler (input.go).
//  3. The protocol finds the socket (udp.Table) and delivers: straight into
//     the buffer of the leader if the socket is its own and nothing is queued,
//     else into the socket's queue (input.go, internal/queue).
//  4. The slots go back to the link. The leader unlocks; only then are
//     replies sent and sleepers woken, once a batch.
//
// # The way of a datagram out
//
//  1. Send takes a transmit buffer that nobody else has (transmit.go).
//  2. The path to the destination - device, neighbour, prebuilt headers - is
//     the socket's cached one if its generations still hold (path.go); else it
//     is built from the routes and the neighbour table.
//  3. Lengths, identification and checksums are patched in, the payload is
//     copied behind, and the link sends: one system call.
//
// # Lanes
//
// A lane (lane.go) is the receive path of some links. A stack has one, unless
// InterfaceConfig.Lane says otherwise; several are led by as many goroutines at once.
// What they share - the tables of ports, raw sockets, memberships, the configuration - is
// read with the lock of one lane held, and changed with those of all, which are taken in
// the order of their numbers. So no lane that receives writes what another reads, but for
// the queues of sockets that both deliver to, and for what is rare and has a lock of its
// own: fragments, and the limiter of ICMP errors. Receiving scales with the lanes. A
// change costs one more lock for each, which its leader lets go within about a
// microsecond. The first lane runs the timers of all: it may take the lock of another one
// with its own held, never the other way round.
//
// A panic over a frame or a timer is contained (internal/fault).
//
// # Who looks on
//
// Raw sockets (raw.go) get a copy of each datagram of their protocol after
// reassembly and before the protocol itself. Packet sockets (packetsock.go) get
// a copy of each frame before anybody looks at it and, if they ask for all, of
// each that is sent, in output.Buffer.Flush. While there are none, that costs the others
// one comparison with nil.
//
// # Locks, in the order in which they may be taken
//
//   - Stack.mu: configuration. Never on the way of a datagram.
//   - Endpoint.mu: a socket's configuration; corked.mu, within it or alone: the datagram
//     that a socket puts together. backlog.mu: what is left of a socket's messages, held
//     while that is sent. ownQueues.mu, within that or alone: a socket's own ways out.
//   - group.Groups.mu: changes of memberships.
//   - drive.armed.mu: the event loop that sleeps in place of a Waiter.
//   - lane.drive.Lock, those of several lanes in the order of Stack.lanes: links' Receive,
//     demultiplexing tables, receive counters. Never held across a transmit or a sleep.
//   - reassembly.mu: fragments. Held while what they make whole is delivered.
//   - Interface.stateMu: the state of an interface's link, while it is taken in.
//   - Neighbours.Mu: the neighbour table. A sender takes it only when its
//     path has no valid neighbour.
//   - queue.Datagrams.mu, queue.Errors.mu, option.SentTimes.mu: one socket's queues. Consumers take nothing
//     else. schedule.mu: frames that wait for their time. rooms.mu: who waits for room.
//     drive.List.mu: who is to be told of something, held while they are.
//   - wanted.mu: what sockets want of frames. It is taken with no lock held, and before those of lanes.
//   - Leaves: drive.Timers.mu, drive.Sources.mu, sleepers.mu;
//     outbox.Mu, solicitors.mu, Transmitter.txMu;
//     queue.Pool.mu;
//     route.Gateways.mu, route.pathMTUs.mu;
//     event.Subscriptions.mu, fault.Log.mu, loss.Links.mu;
//     errorLimiter.mu, tapList.mu, random.Source.mu.
//
// TestLocksAreListed keeps the list complete.
package stack
