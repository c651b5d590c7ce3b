package lab

import (
	"testing"

	"github.com/outband/outband/internal/netlab"
)

// Worker returns a channel of functions to run in a namespace, one after the other on
// one thread, until the test ends.
func Worker(t testing.TB, ns *netlab.Namespace) chan func() {
	work, done := make(chan func()), make(chan error)
	go func() {
		done <- ns.Do(func() error {
			for f := range work {
				f()
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		close(work)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return work
}
