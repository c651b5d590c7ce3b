package oracle

import (
	"strings"
	"testing"
)

// TestRaw runs the cases of raw and packet sockets.
func TestRaw(t *testing.T) {
	j := &Judge{Linux: NewStage(t, NewInBand(t)), Ours: NewStage(t, NewPipe(t))}
	for _, c := range append(rawCases(), packetCases()...) {
		if !strings.HasPrefix(c.Name, *only) {
			continue
		}
		if diff := j.Case(&c, true); diff != "" {
			t.Errorf("%s\n%s", c.Name, diff)
		}
	}
}
