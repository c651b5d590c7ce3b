package values

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Number is a flag that takes a whole number of a range.
type Number[T ~int | ~uint8 | ~uint16] struct {
	to       *T
	min, max int
	none     int // what stands for none, and is shown as no default
}

// NumberOf returns a flag that takes a number from least to most.
func NumberOf[T ~int | ~uint8 | ~uint16](to *T, least, most int) *Number[T] {
	return &Number[T]{to: to, min: least, max: most}
}

// CPU returns a flag that takes a CPU; -1 is none, the default.
func CPU(to *int) *Number[int] {
	const most = 1023 // what a cpu_set_t holds (sched_setaffinity(2))
	*to = -1
	return &Number[int]{to: to, min: -1, max: most, none: -1}
}

// Most is the largest number of those that count something.
const Most = math.MaxInt32

// Type implements pflag.Value.
func (v *Number[T]) Type() string { return "number" }

// String implements pflag.Value.
func (v *Number[T]) String() string {
	if v.to == nil || int(*v.to) == v.none {
		return ""
	}
	return strconv.Itoa(int(*v.to))
}

// Set implements pflag.Value.
func (v *Number[T]) Set(s string) error {
	n, err := strconv.Atoi(s)
	if digits, hexadecimal := strings.CutPrefix(s, "0x"); hexadecimal {
		var u uint64
		u, err = strconv.ParseUint(digits, 16, 31)
		n = int(u)
	}
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("must be a number from %d to %d", v.min, v.max)
	}
	*v.to = T(n)
	return nil
}
