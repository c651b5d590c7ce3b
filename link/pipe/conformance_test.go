package pipe_test

import (
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/pipe"
)

func TestConformance(t *testing.T) {
	tests := []struct {
		name string
		opts pipe.Options
	}{
		{"plain", pipe.Options{}},
		{"offloads", pipe.Options{Caps: link.CapChecksum | link.CapGSO}},
		{"jumbo", pipe.Options{MTU: 9000}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			linktest.Test(t, func() (a, b link.Link) { return pipe.New(tt.opts) })
		})
	}
}
