package ipv4

// Options is a view of a header's options.
type Options []byte

func ParseOptions(o Options) {}
