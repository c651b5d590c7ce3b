package gosuite

import "errors"

// Of golang.org/x/net/ipv4, which exports it to tests.
var ipv4_ErrNotImplemented = errors.New("not implemented")

// Of golang.org/x/net/internal/iana.
const (
	iana_ProtocolICMP     = 1
	iana_ProtocolGRE      = 47
	iana_ProtocolReserved = 255
	iana_DiffServCS0      = 0
	iana_NotECNTransport  = 0
)
