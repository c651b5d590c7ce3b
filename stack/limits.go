package stack

// Limits bound what a stack keeps and does for others. The zero value of a field is its
// default. Limits of one protocol are in its own configuration; AllLimits lists them all.
type Limits struct {
	// GroupFlows is for how many addresses and ports of multicasts and broadcasts the
	// sockets are remembered, 65536; GroupFlowSockets how many sockets those name,
	// 1048576, which one more may exceed. Beyond, all are looked for anew.
	GroupFlows, GroupFlowSockets int
}

func (l Limits) complete() Limits {
	for _, f := range []struct {
		v   *int
		def int
	}{
		{&l.GroupFlows, 1 << 16}, {&l.GroupFlowSockets, 1 << 20},
	} {
		if *f.v <= 0 {
			*f.v = f.def
		}
	}
	return l
}
