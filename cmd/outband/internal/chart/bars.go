package chart

import "io"

// A Bar is one of a group.
type Bar struct {
	Name  string
	Value float64
}

// A Group is bars that are compared with one another.
type Group struct {
	Name string
	Bars []Bar
}

const (
	barHeight = 18
	groupGap  = 30
	barsLeft  = 150 // for the names
	barsRight = 110 // for the values
)

// Bars draws horizontal bars, in groups with a scale of their own each. Values are in the unit.
func Bars(w io.Writer, title, below, unit string, groups []Group) error {
	p := &picture{w: w}
	height := top
	for _, g := range groups {
		height += groupGap + len(g.Bars)*(barHeight+4)
	}
	p.begin(height+10, title, below)
	y := float64(top)
	for _, g := range groups {
		p.text("title", "start", 10, y+16, g.Name)
		y += groupGap
		most := 0.0
		for _, b := range g.Bars {
			most = max(most, b.Value)
		}
		for i, b := range g.Bars {
			length := 0.0
			if most > 0 {
				length = (width - barsLeft - barsRight) * b.Value / most
			}
			p.text("small", "end", barsLeft-8, y+13, b.Name)
			p.printf("<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n", class("b", i), barsLeft, y, length, barHeight)
			p.text("small", "start", barsLeft+length+6, y+13, number(b.Value, unit))
			y += barHeight + 4
		}
	}
	return p.end()
}
