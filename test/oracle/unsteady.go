package oracle

// missed is what Linux 6.18 was seen to do on a busy machine, about once in 10,000 cases of
// packet sockets; ours was not.
const missed = "Linux at times gives a packet socket none of several frames in a row, and says of none that it was dropped"

// Unsteady are the cases that may differ at first if they do not again, each with the
// reason: what the machine does in between, and no call of theirs decides. All others
// agree at once or fail.
var Unsteady = []Difference{
	{"packet/frames", missed},
	{"packet/802.3", missed},
	{"to a group/seen on the wire", missed},
}
