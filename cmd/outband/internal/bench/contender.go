package bench

import (
	"fmt"
	"slices"
	"strings"
)

// A contender is one way to exchange datagrams, by ends of type E. The client,
// or sender, is at the near end.
type contender[E any] struct {
	name      string
	near, far func(EndJob) (E, error)
	// kernelNear and kernelFar say at which ends the kernel has the address.
	kernelNear, kernelFar bool
	// pinned says whether the measuring threads are tied to CPUs.
	pinned bool
	// spin is how our stack waits, as --spin has it; "" where it takes no part.
	spin string
}

func names[E any](all []contender[E]) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	return names
}

// spins returns how each contender of ours waits.
func spins[E any](all []contender[E]) map[string]string {
	spins := map[string]string{}
	for _, c := range all {
		if c.spin != "" {
			spins[c.name] = c.spin
		}
	}
	return spins
}

// pick returns the named contenders, in the order of all; without names, all.
func pick[E any](all []contender[E], wanted []string) ([]contender[E], error) {
	if len(wanted) == 0 {
		return all, nil
	}
	for _, name := range wanted {
		if !slices.Contains(names(all), name) {
			return nil, fmt.Errorf("no contender %q; there are: %s", name, strings.Join(names(all), ", "))
		}
	}
	var picked []contender[E]
	for _, c := range all {
		if slices.Contains(wanted, c.name) {
			picked = append(picked, c)
		}
	}
	return picked, nil
}

// openEnd opens the job's end of one of the contenders, on a pinned thread if
// the job says so.
func openEnd[E any](all []contender[E], j EndJob) (end E, err error) {
	picked, err := pick(all, []string{j.Contender})
	if err != nil {
		return end, err
	}
	if err := j.pin(); err != nil {
		return end, err
	}
	if j.Server {
		return picked[0].far(j)
	}
	return picked[0].near(j)
}
