// Package wireguard has WireGuard's datagrams go by a stack: it is wireguard-go's conn.Bind.
//
//	h, err := outband.Open(ctx, "eth1")
//	dev := device.NewDevice(tun, wireguard.NewBind(h), logger)
//
// The tunnel's own device is as ever: a TUN device of the kernel's, or, with no kernel at all in
// the way, golang.zx2c4.com/wireguard/tun/netstack, whose TCP and UDP run inside (see the
// example).
//
// # What a batch is
//
// Up to 128 datagrams are received by a call, without a system call while the ring has some. They
// are sent by one call too, and those of a length that follow one another go to the device
// as one GSO packet (UDP_SEGMENT), gathered from where WireGuard has them. UDP_GRO has no use here:
// what the sender or the device has joined is cut by the stack on its way into WireGuard's
// buffers.
//
// As with the kernel's sockets, answers leave by the interface and from the address that a peer
// has sent to.
package wireguard
