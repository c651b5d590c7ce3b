package metrics

import (
	"bytes"
	"context"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/outband/outband"
	"github.com/outband/outband/metrics"
	"github.com/outband/outband/test/lab"
)

// TestLint has the page of hosts on an own address, on the kernel's and in-band parsed, and named as Prometheus
// wants it.
func TestLint(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	hosts := metrics.Hosts{}
	for name, options := range map[string][]outband.Option{
		"own":     {outband.WithAddress(netip.MustParsePrefix("10.9.0.77/24"))},
		"shared":  nil,
		"in-band": {outband.WithCapture("/nowhere/at/all"), outband.WithFallback()},
	} {
		l.Near().In(t, func() error {
			h, err := outband.Open(context.Background(), "near0", options...)
			if err == nil {
				t.Cleanup(func() { h.Close() })
				hosts[name] = h
			}
			return err
		})
	}
	var page bytes.Buffer
	if _, err := hosts.WriteTo(&page); err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(page.Bytes())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&page)
	if err != nil {
		t.Fatal(err)
	}
	for name, samples := range map[string]int{"outband_udp_in_datagrams_total": 3, "outband_held_ports": 1, "outband_in_band": 3} {
		if f := families[name]; f == nil || len(f.Metric) != samples {
			t.Errorf("%s: %v, want %d samples", name, f, samples)
		}
	}
}
