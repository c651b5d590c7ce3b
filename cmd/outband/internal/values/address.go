package values

import (
	"fmt"
	"net/netip"
)

// Prefix is a flag that takes an IPv4 address with its network.
type Prefix struct{ netip.Prefix }

// Type implements pflag.Value.
func (v *Prefix) Type() string { return "address/bits" }

// String implements pflag.Value.
func (v *Prefix) String() string {
	if !v.IsValid() {
		return ""
	}
	return v.Prefix.String()
}

// Set implements pflag.Value.
func (v *Prefix) Set(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return fmt.Errorf("%q is not an IPv4 address with a prefix length, such as 10.9.0.1/24", s)
	}
	v.Prefix = p
	return nil
}

// Addr is a flag that takes an IPv4 address.
type Addr struct{ netip.Addr }

// Type implements pflag.Value.
func (v *Addr) Type() string { return "address" }

// String implements pflag.Value.
func (v *Addr) String() string {
	if !v.IsValid() {
		return ""
	}
	return v.Addr.String()
}

// Set implements pflag.Value.
func (v *Addr) Set(s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return fmt.Errorf("%q is not an IPv4 address", s)
	}
	v.Addr = a
	return nil
}
