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
	return a.printJSON(report)
}

// printJSON writes an object over several lines.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printLine writes an object as one line.
func (a *app) printLine(v any) error { return json.NewEncoder(a.out).Encode(v) }
