package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/outband/outband/cmd/outband/internal/chart"
)

// A turn is what one contender's turn gave. It travels as JSON.
type turn struct {
	Summary
	Times histogram `json:"times"`
}

// A histogram has all round-trip times, in nanoseconds, each to three digits. As JSON it is
// compressed, as HdrHistogram's logs have it.
type histogram struct{ *hdrhistogram.Histogram }

// longest is the bound of histograms, in nanoseconds: what is longer counts as that.
const longest = 10_000_000_000

func newHistogram() histogram { return histogram{hdrhistogram.New(1, longest, 3)} }

// add counts a time.
func (h histogram) add(d int64) error { return h.RecordValue(min(max(d, 1), longest)) }

// MarshalJSON implements json.Marshaler.
func (h histogram) MarshalJSON() ([]byte, error) {
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	return json.Marshal(text)
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *histogram) UnmarshalJSON(b []byte) (err error) {
	var text []byte
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	h.Histogram, err = hdrhistogram.Decode(text)
	return err
}

// newTurn sorts round-trip times in place, and keeps of them what is asked for later.
func newTurn(rtt []int64) (t turn, err error) {
	t.Summary, t.Times = summarize(rtt), newHistogram()
	for _, d := range rtt {
		err = errors.Join(err, t.Times.add(d))
	}
	return t, err
}

func summaries(turns []turn) (all []Summary) {
	for _, t := range turns {
		all = append(all, t.Summary)
	}
	return all
}

// merge returns the times of all turns together.
func merge(turns []turn) histogram {
	all := newHistogram()
	for _, t := range turns {
		all.Merge(t.Times.Histogram)
	}
	return all
}

// WriteHDR writes the times of all rounds as a log of HdrHistogram's, with a histogram for each
// contender and payload, by whose names it is tagged. Values are in nanoseconds.
func (r RTTReport) WriteHDR(w io.Writer) error {
	log := hdrhistogram.NewHistogramLogWriter(w)
	if err := log.OutputComment("[Round trips in ns, by outband bench rtt]"); err != nil {
		return err
	}
	if err := log.OutputLogFormatVersion(); err != nil {
		return err
	}
	if err := log.OutputLegend(); err != nil {
		return err
	}
	for _, result := range r.Results {
		result.times.SetTag(fmt.Sprintf("%s-%d", result.Contender, result.Payload))
		if err := log.OutputIntervalHistogram(result.times.Histogram); err != nil {
			return err
		}
	}
	return nil
}

// WriteSVG draws the times of all rounds by percentile, for the smallest payload.
func (r RTTReport) WriteSVG(w io.Writer) error {
	if len(r.Results) == 0 {
		return nil
	}
	size := r.Results[0].Payload
	var series []chart.Series
	for _, result := range r.Results {
		if result.Payload == size {
			series = append(series, chart.Series{Name: result.Contender, Count: int(result.times.TotalCount()), Value: func(percentile float64) float64 {
				return float64(max(result.times.ValueAtPercentile(percentile), 1)) / 1000
			}})
		}
	}
	return chart.Ladder(w, fmt.Sprintf("Round trips of %d bytes, by percentile", size), r.Surroundings.line(), "us", series)
}

// WriteSVG draws the datagrams that arrived, for each payload.
func (r TputReport) WriteSVG(w io.Writer) error {
	var groups []chart.Group
	for _, result := range r.Results {
		if name := fmt.Sprintf("%d bytes", result.Payload); len(groups) == 0 || groups[len(groups)-1].Name != name {
			groups = append(groups, chart.Group{Name: name})
		}
		last := &groups[len(groups)-1]
		last.Bars = append(last.Bars, chart.Bar{Name: result.Contender, Value: result.Received / 1e6})
	}
	return chart.Bars(w, "Datagrams received a second", r.Surroundings.line(), "million", groups)
}

// line says in one where a run took place.
func (s Surroundings) line() string {
	return strings.Join([]string{"Linux " + s.Kernel, s.CPU, fmt.Sprintf("%d CPUs", s.CPUs), s.Link, s.Go}, ", ")
}
