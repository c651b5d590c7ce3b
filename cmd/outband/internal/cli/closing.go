package cli

import (
	"fmt"

	"github.com/outband/outband/cmd/outband/internal/node"
)

// schema counts the changes of the JSON objects that break their readers.
const schema = 1

// closing prints the end of a run: a line of summary to stderr, and what --neigh
// and --stat ask for to stdout; or with --json all of it as one object.
func (a *app) closing(f *netFlags, n *node.Node, summary any, text string) error {
	if f.json {
		return a.printLine(struct {
			Schema  int `json:"schema"`
			Summary any `json:"summary"`
			shown
		}{schema, summary, f.shown(n)})
	}
	fmt.Fprintln(a.err, text)
	f.show(a.out, n)
	return nil
}
