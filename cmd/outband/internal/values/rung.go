package values

import (
	"fmt"

	"github.com/outband/outband/inband/claim"
)

// A rung is a flag that takes what keeps the kernel off claimed datagrams.
type rung struct{ value *claim.Rung }

// Rung returns the flag for a rung.
func Rung(v *claim.Rung) *rung { return &rung{v} }

// Type implements pflag.Value.
func (v *rung) Type() string { return "rung" }

// String implements pflag.Value.
func (v *rung) String() string {
	if v.value == nil || *v.value == claim.Any {
		return ""
	}
	return v.value.String()
}

// Set implements pflag.Value.
func (v *rung) Set(s string) error {
	for _, r := range []claim.Rung{claim.TCX, claim.NFT, claim.Holder} {
		if r.String() == s {
			*v.value = r
			return nil
		}
	}
	return fmt.Errorf("%q is not tcx, nft or holder", s)
}
