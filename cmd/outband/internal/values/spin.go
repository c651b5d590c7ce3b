package values

import (
	"fmt"
	"time"

	"github.com/outband/outband/stack"
)

// Spin is a flag that takes a spin budget.
type Spin time.Duration

// Type implements pflag.Value.
func (v *Spin) Type() string { return "budget" }

// String implements pflag.Value.
func (v *Spin) String() string {
	switch d := time.Duration(*v); d {
	case stack.SpinAdaptive:
		return "default"
	case stack.SpinAlways:
		return "always"
	case stack.SpinNever:
		return "never"
	default:
		return d.String()
	}
}

// Set implements pflag.Value.
func (v *Spin) Set(s string) error {
	switch s {
	case "default":
		*v = Spin(stack.SpinAdaptive)
	case "always":
		*v = Spin(stack.SpinAlways)
	case "never", "0", "0s":
		*v = Spin(stack.SpinNever)
	default:
		d, err := parseDuration(s, time.Second)
		if err != nil {
			return fmt.Errorf("%w, always, never or default", err)
		}
		*v = Spin(d)
	}
	return nil
}
