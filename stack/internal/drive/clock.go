package drive

import (
	"time"

	"github.com/outband/outband/internal/clock"
)

// A Clock tells the time: nanoseconds since any fixed moment, never going back. It may
// be called by any goroutine.
type Clock interface {
	Now() int64
}

// Never is the deadline that does not come.
const Never = int64(clock.Never)

// Until returns how long it is from now to the deadline: -1 for Never.
func Until(now, deadline int64) time.Duration {
	switch {
	case deadline == Never:
		return -1
	case deadline <= now:
		return 0
	default:
		return time.Duration(deadline - now)
	}
}
