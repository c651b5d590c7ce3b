// Package libp2p has libp2p's QUIC go by a stack.
//
//	h, err := outband.Open(ctx, "eth1")
//	node, err := golibp2p.New(
//		golibp2p.NoTransports,
//		golibp2p.Transport(quic.NewTransport),
//		golibp2p.QUICReuse(quicreuse.NewConnManager, libp2p.Options(h)...),
//		golibp2p.ListenAddrStrings("/ip4/192.0.2.1/udp/4001/quic-v1"),
//	)
//
// A node with an address of the stack's own listens at that address, not at 0.0.0.0, since libp2p
// looks for the host's addresses in-band. Without NoTransports TCP and the others of libp2p's
// transports are there too, in-band.
package libp2p
