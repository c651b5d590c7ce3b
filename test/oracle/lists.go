package oracle

import (
	"fmt"
	"strings"
)

// A Difference is an entry of one of the lists: the cases that it is about, by
// the beginning of their name, and why they differ.
type Difference struct {
	Cases  string
	Reason string
}

// find returns the entry that a case falls under, -1 if there is none.
func find(list []Difference, c *Case) int {
	for i := range list {
		if c.within(list[i].Cases) {
			return i
		}
	}
	return -1
}

// Markdown returns deliberate differences as a table for README.
func Markdown(list []Difference) string {
	var b strings.Builder
	b.WriteString("| What | Why it differs from Linux |\n| --- | --- |\n")
	for _, d := range list {
		fmt.Fprintf(&b, "| %s | %s |\n", d.Cases, d.Reason)
	}
	return b.String()
}
