package preload

import (
	"strings"
	"testing"

	"github.com/outband/outband/test/lab"
)

// TestLibrary runs the programs of TestPrograms over the library itself, with loopback
// out-of-band: what they print must be what they print in-band.
func TestLibrary(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			path := ""
			bothWays(t, func(w *world) string {
				if path == "" {
					path = program(t, name)
				}
				if !w.out {
					return strings.TrimSpace(string(lab.Output(w.t, w.near.Namespace, path)))
				}
				return strings.TrimSpace(w.with([]string{"--loopback"}, path))
			}, "gcc")
		})
	}
}
