package values

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseSize reads a size or a rate: a number, with K, M or G behind it for
// thousands, millions and thousands of millions.
func parseSize(s string) (int, error) {
	factor := 1
	number := s
	if s != "" {
		if i := strings.IndexByte("KMG", s[len(s)-1]&^0x20); i >= 0 {
			number, factor = s[:len(s)-1], []int{1e3, 1e6, 1e9}[i]
		}
	}
	n, err := strconv.Atoi(number)
	const most = 1 << 62
	if errors.Is(err, strconv.ErrRange) || err == nil && (n < 0 || n > most/factor) {
		return 0, fmt.Errorf("must be a size from 0 to %d", most)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is no size: a number, maybe with K, M or G", s)
	}
	return n * factor, nil
}

// Size is a flag that takes a size.
type Size int

// String implements pflag.Value.
func (v *Size) String() string { return strconv.Itoa(int(*v)) }

// Type implements pflag.Value.
func (v *Size) Type() string { return "size" }

// Set implements pflag.Value.
func (v *Size) Set(s string) error {
	n, err := parseSize(s)
	if err == nil {
		*v = Size(n)
	}
	return err
}

// Sizes is a flag that takes sizes with commas between, and may be repeated.
// The first use replaces the default.
type Sizes struct {
	Sizes []int
	given bool
}

// String implements pflag.Value.
func (v *Sizes) String() string {
	words := make([]string, len(v.Sizes))
	for i, n := range v.Sizes {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ",")
}

// Type implements pflag.Value.
func (v *Sizes) Type() string { return "sizes" }

// Set implements pflag.Value.
func (v *Sizes) Set(s string) error {
	if !v.given {
		v.Sizes, v.given = nil, true
	}
	for word := range strings.SplitSeq(s, ",") {
		n, err := parseSize(strings.TrimSpace(word))
		if err != nil {
			return err
		}
		v.Sizes = append(v.Sizes, n)
	}
	return nil
}
