package oracle

// Pending are the cases whose subject is not built yet. They do not fail; an
// entry whose cases all do as Linux does fails: it is to be removed.
var Pending = []Difference{
	{"option/IP_MULTICAST_IF", "multicast is an issue of its own"},
	{"option/IP_MULTICAST_TTL", "multicast is an issue of its own"},
	{"option/IP_MULTICAST_LOOP", "multicast is an issue of its own"},
	{"option/IP_MULTICAST_ALL", "multicast is an issue of its own"},
}
