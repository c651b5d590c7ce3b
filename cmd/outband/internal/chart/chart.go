// Package chart draws what the benches have measured as SVG, for light and dark pages: ladders of
// latency by percentile, and bars.
package chart

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Measures of a picture, in pixels.
const (
	width      = 860
	left       = 70  // of the plot, for the labels of the vertical axis
	labels     = 190 // right of it, for the names
	top        = 50
	bottom     = 46
	lineHeight = 15
)

// style has the colours of both kinds of pages. A series has one of the classes c0 to c9, again
// from the first where there are more.
const style = `<style>
text { font: 12px sans-serif; fill: #24292f; }
.title { font-size: 14px; font-weight: bold; }
.small { font-size: 11px; fill: #57606a; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.line { fill: none; stroke-width: 2; }
.c0 { stroke: #0969da; } .b0 { fill: #0969da; } .c1 { stroke: #cf222e; } .b1 { fill: #cf222e; }
.c2 { stroke: #1a7f37; } .b2 { fill: #1a7f37; } .c3 { stroke: #9a6700; } .b3 { fill: #9a6700; }
.c4 { stroke: #8250df; } .b4 { fill: #8250df; } .c5 { stroke: #bf3989; } .b5 { fill: #bf3989; }
.c6 { stroke: #1b7c83; } .b6 { fill: #1b7c83; } .c7 { stroke: #bc4c00; } .b7 { fill: #bc4c00; }
.c8 { stroke: #57606a; } .b8 { fill: #57606a; } .c9 { stroke: #4d2d00; } .b9 { fill: #4d2d00; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .small { fill: #8d96a0; } .grid { stroke: #30363d; }
.c0 { stroke: #58a6ff; } .b0 { fill: #58a6ff; } .c1 { stroke: #ff7b72; } .b1 { fill: #ff7b72; }
.c2 { stroke: #3fb950; } .b2 { fill: #3fb950; } .c3 { stroke: #d29922; } .b3 { fill: #d29922; }
.c4 { stroke: #bc8cff; } .b4 { fill: #bc8cff; } .c5 { stroke: #f778ba; } .b5 { fill: #f778ba; }
.c6 { stroke: #39c5cf; } .b6 { fill: #39c5cf; } .c7 { stroke: #ffa657; } .b7 { fill: #ffa657; }
.c8 { stroke: #8d96a0; } .b8 { fill: #8d96a0; } .c9 { stroke: #d2a679; } .b9 { fill: #d2a679; }
}
</style>
`

// A picture is an SVG document that is being written. The first error stays.
type picture struct {
	w   io.Writer
	err error
}

func (p *picture) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// begin writes the head of a picture and its title; what it shows is also said for readers who do
// not see it.
func (p *picture) begin(height int, title, below string) {
	title, below = html.EscapeString(title), html.EscapeString(below)
	p.printf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>%s</title>\n%s",
		width, height, width, height, title, style)
	p.printf("<text class=\"title\" x=\"%d\" y=\"20\">%s</text>\n<text class=\"small\" x=\"%d\" y=\"37\">%s</text>\n", left, title, left, below)
}

func (p *picture) end() error {
	p.printf("</svg>\n")
	return p.err
}

// text writes a label; anchor is start, middle or end.
func (p *picture) text(class, anchor string, x, y float64, s string) {
	p.printf("<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", class, x, y, anchor, html.EscapeString(s))
}

func (p *picture) grid(x1, y1, x2, y2 float64) {
	p.printf("<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x1, y1, x2, y2)
}

// class returns the class of a series' lines or bars.
func class(kind string, n int) string { return fmt.Sprintf("%s%d", kind, n%10) }

// apart moves labels that are in order from the top down so that none is upon another, as little
// as that takes, and none lower than the floor.
func apart(at []float64, floor float64) {
	for i := 1; i < len(at); i++ {
		at[i] = max(at[i], at[i-1]+lineHeight)
	}
	for i := len(at) - 1; i >= 0; i-- {
		at[i] = min(at[i], floor)
		floor = at[i] - lineHeight
	}
}

// steps returns the values from low to high where a logarithmic axis has lines: 1, 2 and 5 of each
// power of ten.
func steps(low, high float64) (at []float64) {
	for power := math.Pow10(int(math.Floor(math.Log10(low)))); power <= high; power *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if v := n * power; v >= low*0.999 && v <= high*1.001 {
				at = append(at, v)
			}
		}
	}
	return at
}

// number writes a value with as few digits as it takes, and a unit.
func number(v float64, unit string) string {
	s := fmt.Sprintf("%.3g", v)
	if v >= 1000 {
		s = fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSpace(s + " " + unit)
}
