package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What one end sends as JSON the other one has.
func TestTurnTravels(t *testing.T) {
	sent, err := newTurn([]int64{0, 3000, 3000, 4000, 2 * longest})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got turn
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Summary != sent.Summary || got.P50 != 3000 {
		t.Errorf("%+v, want %+v", got.Summary, sent.Summary)
	}
	h := got.Times
	if h.TotalCount() != 5 || h.Min() != 1 || !h.ValuesAreEquivalent(h.Max(), longest) || !h.ValuesAreEquivalent(h.ValueAtPercentile(50), 3000) {
		t.Errorf("%d times, %d to %d, half of them %d", h.TotalCount(), h.Min(), h.Max(), h.ValueAtPercentile(50))
	}
	for _, bad := range []string{`{"times":"AAAA"}`, `{"times":7}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// The log is read by HdrHistogram's own reader: all rounds of each contender and payload.
func TestWriteHDR(t *testing.T) {
	var log bytes.Buffer
	if err := rttReport().WriteHDR(&log); err != nil {
		t.Fatal(err)
	}
	r := hdrhistogram.NewHistogramLogReader(&log)
	for _, want := range []string{"ring-64", "outband-spin-64", "ring-1400", "outband-spin-1400"} {
		h, err := r.NextIntervalHistogram()
		if err != nil || h == nil {
			t.Fatal(h, err)
		}
		if h.Tag() != want || h.TotalCount() != 3*4 {
			t.Errorf("%q has %d times, want %q", h.Tag(), h.TotalCount(), want)
		}
	}
	if h, err := r.NextIntervalHistogram(); h != nil || err != nil {
		t.Errorf("one more: %v, %v", h, err)
	}
}

// The pictures are well-formed, name the contenders, and say where it was.
func TestWriteSVG(t *testing.T) {
	for name, tt := range map[string]struct {
		write func(io.Writer) error
		names []string
	}{
		"rtt":     {rttReport().WriteSVG, []string{"ring", "outband-spin", "64 bytes", "Linux 6.18.0", "Some CPU"}},
		"tput":    {tputReport().WriteSVG, []string{"kernel", "outband", "64 bytes", "0.8 million"}},
		"nothing": {TputReport{}.WriteSVG, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var svg bytes.Buffer
			if err := tt.write(&svg); err != nil {
				t.Fatal(err)
			}
			for d := xml.NewDecoder(bytes.NewReader(svg.Bytes())); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%v in\n%s", err, svg.String())
				}
			}
			for _, want := range tt.names {
				if !strings.Contains(svg.String(), want) {
					t.Errorf("no %q in\n%s", want, svg.String())
				}
			}
		})
	}
}
