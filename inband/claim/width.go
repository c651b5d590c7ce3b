package claim

// A Width is what a ring takes besides claims: what raw and packet sockets want.
type Width int

// Widths from 0 to 255 are IPv4 datagrams of that protocol.
const (
	AllIPv4     Width = 256 + iota // all IPv4 datagrams
	Everything                     // all frames but those to other hosts, whatever their tags
	Promiscuous                    // all frames

	widths = int(Promiscuous) + 1

	// generation is where a number is, behind the widths, that moves after one claim was
	// added and before another one is taken away for it.
	generation = widths

	// wideAt is where it is said, for the fast path, that one of these wants more of UDP,
	// and nearAt where the near addresses are.
	wideAt      = generation + 1
	nearAt      = (wideAt + 8) &^ 7
	widthMapLen = nearAt + nearLen
)
