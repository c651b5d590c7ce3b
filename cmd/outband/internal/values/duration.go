package values

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseDuration reads a length of time: a number of units, or a duration of Go's
// such as 1m30s, or a number of days with a d behind it.
func parseDuration(s string, unit time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if number, days := strings.CutSuffix(s, "d"); days {
		d, err = multiple(number, 24*time.Hour)
	} else if err != nil {
		d, err = multiple(s, unit)
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errors.New("must not be longer than 292 years")
	case err != nil:
		return 0, fmt.Errorf("%q is neither %s nor a duration such as 1.5s, 200ms or 2h", s, unitNames[unit])
	case d < 0:
		return 0, errors.New("must not be negative")
	}
	return d, nil
}

var unitNames = map[time.Duration]string{time.Second: "seconds", time.Microsecond: "microseconds"}

// multiple reads a number of units. The error is strconv.ErrRange if a
// time.Duration does not hold it.
func multiple(number string, unit time.Duration) (time.Duration, error) {
	n, err := strconv.ParseFloat(number, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), math.IsInf(n, 0), math.Abs(n)*float64(unit) >= math.MaxInt64:
		return 0, strconv.ErrRange
	case err != nil || math.IsNaN(n):
		return 0, strconv.ErrSyntax
	}
	return time.Duration(n * float64(unit)), nil
}

// Duration is a flag that takes seconds, as iputils' commands do, or a
// duration.
type Duration time.Duration

// Type implements pflag.Value.
func (v *Duration) Type() string { return "time" }

// String implements pflag.Value.
func (v *Duration) String() string {
	if *v == 0 {
		return "" // pflag shows it as no default
	}
	return time.Duration(*v).String()
}

// Set implements pflag.Value.
func (v *Duration) Set(s string) error {
	d, err := parseDuration(s, time.Second)
	if err == nil {
		*v = Duration(d)
	}
	return err
}

// Microseconds is a flag that takes microseconds, as EVL's latmus does, or a
// duration.
type Microseconds time.Duration

// Type implements pflag.Value.
func (v *Microseconds) Type() string { return "us" }

// String implements pflag.Value.
func (v *Microseconds) String() string { return (*Duration)(v).String() }

// Set implements pflag.Value.
func (v *Microseconds) Set(s string) error {
	d, err := parseDuration(s, time.Microsecond)
	if err == nil {
		*v = Microseconds(d)
	}
	return err
}
