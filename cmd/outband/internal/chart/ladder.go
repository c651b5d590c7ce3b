package chart

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Series is one line of a ladder.
type Series struct {
	Name  string
	Value func(percentile float64) float64 // above 0; it does not fall
	Count int                              // of values: how far the ladder goes
}

// rungs are where a ladder's horizontal axis has labels, in percent. From one to the next a tenth
// is left.
var rungs = []float64{0, 90, 99, 99.9, 99.99, 99.999, 99.9999}

const ladderHeight = 440

// Ladder draws lines by percentile, both axes logarithmic: the horizontal one by the share of
// values that are above. Values are in the unit. below stands under the title.
func Ladder(w io.Writer, title, below, unit string, series []Series) error {
	p := &picture{w: w}
	p.begin(ladderHeight, title, below)
	l := newLadder(series)
	l.axes(p, unit)
	l.lines(p, series)
	return p.end()
}

// A ladder is where things are in one.
type ladder struct {
	last      int // of the rungs
	low, high float64
}

func newLadder(series []Series) (l ladder) {
	l.low, l.high, l.last = math.Inf(1), 0, 1
	for _, s := range series {
		for l.last+1 < len(rungs) && float64(s.Count) >= math.Pow10(l.last+1) {
			l.last++
		}
	}
	for _, s := range series {
		l.low, l.high = min(l.low, s.Value(0)), max(l.high, s.Value(rungs[l.last]))
	}
	if l.high <= l.low {
		l.low, l.high = max(l.high, 1)/2, max(l.high, 1)*2
	}
	l.low, l.high = l.low/1.1, l.high*1.1
	return l
}

// x returns where a percentile is.
func (l ladder) x(percentile float64) float64 {
	return left + (width-left-labels)*-math.Log10((100-percentile)/100)/float64(l.last)
}

// y returns where a value is.
func (l ladder) y(v float64) float64 {
	const room = ladderHeight - top - bottom
	return top + room*(1-math.Log(v/l.low)/math.Log(l.high/l.low))
}

func (l ladder) axes(p *picture, unit string) {
	for _, v := range steps(l.low, l.high) {
		p.grid(left, l.y(v), width-labels, l.y(v))
		p.text("small", "end", left-6, l.y(v)+4, number(v, unit))
	}
	for _, r := range append([]float64{50}, rungs[:l.last+1]...) {
		p.grid(l.x(r), top, l.x(r), ladderHeight-bottom)
		p.text("small", "middle", l.x(r), ladderHeight-bottom+16, strconv.FormatFloat(r, 'f', -1, 64)+"%")
	}
	p.text("small", "middle", (left+width-labels)/2, ladderHeight-8, "percentile")
}

// lines draws the series, and their names at the right ends.
func (l ladder) lines(p *picture, series []Series) {
	type end struct {
		series int
		y      float64
	}
	var ends []end
	for i, s := range series {
		var points strings.Builder
		var y float64
		for _, at := range l.points() {
			y = l.y(s.Value(at))
			fmt.Fprintf(&points, " %.1f,%.1f", l.x(at), y)
		}
		p.printf("<polyline class=\"line %s\" points=\"%s\"/>\n", class("c", i), strings.TrimPrefix(points.String(), " "))
		ends = append(ends, end{i, y})
	}
	slices.SortStableFunc(ends, func(a, b end) int { return cmp.Compare(a.y, b.y) })
	at := make([]float64, len(ends))
	for i, e := range ends {
		at[i] = e.y + 4
	}
	apart(at, ladderHeight-bottom)
	for i, e := range ends {
		p.text(class("b", e.series), "start", width-labels+8, at[i], series[e.series].Name)
	}
}

// points returns the percentiles at which a line has points: twelve a rung.
func (l ladder) points() (at []float64) {
	const each = 12
	for i := range l.last*each + 1 {
		at = append(at, 100-100*math.Pow(10, -float64(i)/each))
	}
	return at
}
