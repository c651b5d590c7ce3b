package conformance

// roleVariable names, in the environment of a process that a test started, what
// it is to do.
const roleVariable = "OUTBAND_CONFORMANCE_ROLE"

func runChild(role string) int { return 2 }
