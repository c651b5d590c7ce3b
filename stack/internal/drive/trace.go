package drive

import (
	"context"
	"runtime/trace"
)

// A region is a sleep as an execution trace shows it (runtime/trace). The zero value, of a
// program that does not trace, is none.
type region struct{ r *trace.Region }

// traceSleep begins the region of a sleep: on the links' descriptors, or as a follower.
func traceSleep(led bool) region {
	if !trace.IsEnabled() {
		return region{}
	}
	name := "outband: sleep as follower"
	if led {
		name = "outband: sleep on links"
	}
	return region{trace.StartRegion(context.Background(), name)}
}

// end ends the region.
func (r region) end() {
	if r.r != nil {
		r.r.End()
	}
}
