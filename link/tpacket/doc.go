// Package tpacket is a link over a Linux network device: it receives by an
// AF_PACKET ring (TPACKET_V2, packet(7)) and sends by packet sockets.
//
// # Sockets
//
// A [Link] has four sockets, all opened by [Open], none of them in Go's
// netpoller but the control socket, which never receives:
//
//   - ring: bound with ETH_P_ALL, receives into memory that the kernel and this
//     process share. No system call is needed to receive.
//   - transmit: bound with protocol 0, so that nothing is queued on it.
//   - transmit with a virtio_net_hdr before each frame (PACKET_VNET_HDR): for
//     frames that ask for a checksum or for segmentation, or have a priority or a
//     mark. Plain frames do not pay for it, since they take the other one.
//   - control: group memberships and modes, promiscuous mode among them.
//
// Before Linux 6.14 there is a fifth, for frames with a priority.
//
// All are opened at once, and none is ever replaced. A process may therefore
// drop CAP_NET_RAW as soon as Open has returned: what comes later, also after
// the device was deleted and made again, is bind(2) and setsockopt(2) on
// sockets that are there, which need no privilege. Only a sender's own transmit
// socket ([Link.OpenQueue]) takes it once more.
//
// # Receiving
//
// A slot belongs to the kernel while its status word is 0, and to us while
// TP_STATUS_USER is set. The word is loaded atomically before anything else of
// the slot is read, and stored atomically when nothing of it will be read again:
// between the two lie [Link.Receive] and [Link.Release]. The kernel fills slots
// in order; a slot may be claimed and not yet ready, so Receive stops at the
// first that is not.
//
// What a slot cannot hold is not lost: PACKET_COPY_THRESH makes the kernel queue
// the whole frame on the socket beside the slot, and Receive reads it from there
// into a buffer of its own, with one system call a frame. So slots need not be as
// large as the largest GSO packet (64 KiB), and the MTU may grow.
//
// # The device's life
//
// Package device follows the device in its changes.
//
// Down and up need nothing of us: the kernel unhooks the sockets and hooks them
// in again. When the device is deleted, or moved to another namespace, the
// kernel unbinds the sockets for good. As soon as a device of the same name
// appears in the namespace, they are bound to that one, in place: descriptors
// and ring memory stay as they are, so the hot paths need not know of any of it.
//
// # Filter
//
// By default a classic BPF program accepts ARP and IPv4 frames, tagged or not, and
// all with several tags, that are not addressed to another host. The outermost tag
// is out of the frame before the filter runs: it is found in [link.Meta]. PACKET_IGNORE_OUTGOING keeps out what
// this host sends itself.
//
// SO_BUSY_POLL has no effect on packet sockets, since they carry no NAPI id: to
// spin is to call Receive in a loop.
package tpacket
