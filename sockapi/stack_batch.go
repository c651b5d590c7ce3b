package sockapi

import "github.com/outband/outband/stack"

// batch is the stack's view of messages, reused from call to call.
type batch struct {
	in    []stack.Message
	out   []stack.OutMessage
	opts  []stack.SendOptions // of out
	links []stack.LinkAddr    // of out, if a packet socket has used it
}

func (a *API) batch(n int) *batch {
	b := a.msgs.Get().(*batch)
	if len(b.in) < n {
		b.in = make([]stack.Message, n)
		b.out = make([]stack.OutMessage, n)
		b.opts = make([]stack.SendOptions, n)
	}
	return b
}

// release gives a batch back, without the caller's buffers.
func (a *API) release(b *batch) {
	for i := range b.in {
		if b.in[i].Buffers == nil && b.out[i].Buffers == nil {
			break
		}
		b.in[i].Buffers, b.out[i].Buffers = nil, nil
	}
	a.msgs.Put(b)
}
