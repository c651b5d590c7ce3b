package output

// Bits of a socket's state.
const (
	StateError     = 1 << iota // err holds a pending error
	StateShutRead              // no more receiving
	StateShutWrite             // no more sending
	StateClosed
	StateRecvExtras // datagrams are looked at more closely, see receive extras
	StateSendExtras // so are those sent
	stateSendFull   // the send buffer is full, see sendbuf.go
	stateSendBehind // there is a backlog, see backlog.go

	StateReceive  = StateError | StateShutRead | StateClosed                          // what ends a wait
	stateSendEnds = StateError | StateShutWrite | StateClosed                         // what ends a wait for sending
	StateSend     = stateSendEnds | StateSendExtras | stateSendFull | stateSendBehind // what the fast way out cannot do
)
