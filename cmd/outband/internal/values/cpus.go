package values

import (
	"fmt"
	"strconv"
	"strings"
)

// CPUs is a flag that takes the CPUs of the two ends, or "none".
type CPUs struct {
	CPUs  []int
	Given bool
}

// String implements pflag.Value.
func (v *CPUs) String() string {
	if !v.Given {
		return ""
	}
	if len(v.CPUs) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d,%d", v.CPUs[0], v.CPUs[1])
}

// Type implements pflag.Value.
func (v *CPUs) Type() string { return "near,far" }

// Set implements pflag.Value.
func (v *CPUs) Set(s string) error {
	if s == "none" {
		*v = CPUs{Given: true}
		return nil
	}
	near, far, found := strings.Cut(s, ",")
	n, nearErr := strconv.Atoi(near)
	f, farErr := strconv.Atoi(far)
	if !found || nearErr != nil || farErr != nil || n < 0 || f < 0 {
		return fmt.Errorf("%q is not two CPUs with a comma between, nor \"none\"", s)
	}
	*v = CPUs{CPUs: []int{n, f}, Given: true}
	return nil
}
