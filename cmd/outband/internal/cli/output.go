package cli

import (
	"encoding/json"
	"io"
)

// A printer writes itself for people to read.
type printer interface{ Print(w io.Writer) }

// print writes a report to stdout: for people, or as one JSON object.
func (a *app) print(report printer, asJSON bool) error {
	if !asJSON {
		report.Print(a.out)
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
