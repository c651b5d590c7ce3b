package cli

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

// sizeValue is a flag that takes a size.
type sizeValue int

func (v *sizeValue) String() string { return strconv.Itoa(int(*v)) }
func (v *sizeValue) Type() string   { return "size" }
func (v *sizeValue) Set(s string) error {
	n, err := parseSize(s)
	if err == nil {
		*v = sizeValue(n)
	}
	return err
}

// sizesValue is a flag that takes sizes with commas between, and may be repeated.
// The first use replaces the default.
type sizesValue struct {
	sizes []int
	set   bool
}

func (v *sizesValue) String() string {
	words := make([]string, len(v.sizes))
	for i, n := range v.sizes {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ",")
}

func (v *sizesValue) Type() string { return "sizes" }

func (v *sizesValue) Set(s string) error {
	if !v.set {
		v.sizes, v.set = nil, true
	}
	for word := range strings.SplitSeq(s, ",") {
		n, err := parseSize(strings.TrimSpace(word))
		if err != nil {
			return err
		}
		v.sizes = append(v.sizes, n)
	}
	return nil
}

// cpusValue is a flag that takes the CPUs of the two ends, or "none".
type cpusValue struct {
	cpus []int
	set  bool
}

func (v *cpusValue) String() string {
	if !v.set {
		return ""
	}
	if len(v.cpus) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d,%d", v.cpus[0], v.cpus[1])
}

func (v *cpusValue) Type() string { return "near,far" }

func (v *cpusValue) Set(s string) error {
	if s == "none" {
		*v = cpusValue{set: true}
		return nil
	}
	near, far, found := strings.Cut(s, ",")
	n, nearErr := strconv.Atoi(near)
	f, farErr := strconv.Atoi(far)
	if !found || nearErr != nil || farErr != nil || n < 0 || f < 0 {
		return fmt.Errorf("%q is not two CPUs with a comma between, nor \"none\"", s)
	}
	*v = cpusValue{cpus: []int{n, f}, set: true}
	return nil
}
