// Package claim keeps the kernel's IP layer off the datagrams of sockets that share the
// host's addresses with it, and chooses what a packet ring takes of a host's traffic.
//
// A claim stands for one in-band socket, the holder, which is bound to the same address
// and port and is the authority on it. What is claimed goes to the ring; the kernel does
// not process it, and everything else goes on as if nobody were there. The kernel may well
// process a claimed datagram too: the holder's own filter drops it then. A claim only
// saves that work, which three mechanisms do, from the best down: see [Rung].
//
// # The way of a frame
//
//  1. The packet socket's filter (ring.go; classic.go where eBPF is not permitted) takes
//     what is claimed, and what [Claims.Widen] asks for.
//  2. The program at TCX ingress (tcx.go), or the nf_tables chain there (nft.go), drops
//     what is claimed. It runs after packet sockets.
//  3. The kernel's IP layer gets the rest.
//
// Both programs are assembled from the same parts: match.go says what is claimed,
// fragment.go what becomes of fragments; fast.go says the same of plain frames, in less time,
// and has the filter's verdict noted at the frame for TCX, which does what is noted. They
// read the same maps (maps.go), so that one update changes both at once.
//
// # Capabilities
//
// [Open] needs CAP_BPF and CAP_NET_ADMIN for TCX, CAP_NET_ADMIN in the user namespace that
// owns the network namespace for nf_tables, and none for the lowest rung. With TCX nothing
// that follows needs a capability; nf_tables wants CAP_NET_ADMIN at every change.
//
// Nothing is pinned and nothing outlives the process.
package claim
