package values

import (
	"encoding/hex"
	"errors"
)

// Pattern is a flag that takes bytes in hexadecimal.
type Pattern []byte

// Type implements pflag.Value.
func (v *Pattern) Type() string { return "hex" }

// String implements pflag.Value.
func (v *Pattern) String() string { return hex.EncodeToString(*v) }

// Set implements pflag.Value.
func (v *Pattern) Set(s string) error {
	if len(s)%2 == 1 {
		s = s[:len(s)-1] + "0" + s[len(s)-1:] // ping(8) takes the last digit as a byte
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 || len(b) > 16 {
		return errors.New("must be from 1 to 16 bytes in hexadecimal")
	}
	*v = b
	return nil
}
