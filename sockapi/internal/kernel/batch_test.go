package kernel

import "testing"

// A batch has room for what it was made for, and is kept if it is not large.
func TestBatches(t *testing.T) {
	for _, tt := range []struct {
		messages, buffers int
		kept              bool
	}{
		{1, 1, true}, {3, 100, true}, {MaxMessages, 2 * MaxMessages, true}, {MaxMessages + 1, 1, false}, {1, 2*MaxMessages + 1, false},
	} {
		b := NewBatch(tt.messages, tt.buffers)
		if len(b.hdrs) != tt.messages || len(b.names) != tt.messages || len(b.iov) != 0 || cap(b.iov) < tt.buffers {
			t.Fatalf("%+v: %d messages, %d names, %d buffers in room for %d", tt, len(b.hdrs), len(b.names), len(b.iov), cap(b.iov))
		}
		b.hdrs[0].N = 7
		b.Free() // clears what it keeps
		if kept := b.hdrs[0].N == 0; kept != tt.kept {
			t.Errorf("%+v: kept is %t", tt, kept)
		}
	}
}
