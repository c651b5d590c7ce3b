package link

// A TxQueue is a way out of a link with a buffer of its own: what was sent by it is
// charged to it until the device has let go of it, as Linux charges a socket for
// what it has sent. The methods of a queue may be called by any goroutine at any
// time.
type TxQueue interface {
	// Send and SendBatch are Link's. EAGAIN: the buffer is full; room is told of
	// by RoomFD or by SetRoom's function.
	Send(frame []byte) error
	SendBatch(frames []TxFrame) (int, error)

	// Queued returns what of the queue's frames is still in the device, in bytes
	// as Linux charges them (SIOCOUTQ in udp(7)).
	Queued() int
	// Room reports whether less than half of the buffer is Queued: the measure by
	// which poll(2) calls a socket writable, after EAGAIN too.
	Room() bool
	// RoomFD returns the file descriptor that poll(2) reports readable while there
	// is Room, or -1 if there is none: then SetRoom's function tells. It stays the
	// queue's, and is made by the first call.
	RoomFD() int
	// SetRoom registers what a queue without a RoomFD calls when it has said
	// EAGAIN and there is Room again. It is called on any goroutine, and must
	// return at once.
	SetRoom(room func())
	// SetBuffer sets how much may be Queued when a frame is still accepted (SO_SNDBUF),
	// in bytes as they are charged, as near as the kernel permits.
	SetBuffer(bytes int)

	// Close gives the queue back: it may be another's soon. What it has accepted
	// leaves all the same. A late Send is the next owner's.
	Close() error
}

// A Queuer is a link that tells when there is room to send, and can charge each
// sender for its own frames.
type Queuer interface {
	Link
	// Queue returns the queue that Send and SendBatch of the link use, nil if the
	// link, a wrapper around another, cannot tell. Its Close does nothing.
	Queue() TxQueue
	// OpenQueue returns a queue for one sender alone. EOPNOTSUPP: the device
	// lets go of frames at once, so that it makes no difference. Other errors: no
	// more can be had now.
	OpenQueue(buffer int) (TxQueue, error)
}
