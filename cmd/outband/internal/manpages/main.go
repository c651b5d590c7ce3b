// Command manpages writes the manual pages of the outband command, from the
// definitions of its subcommands, into a folder: see the go:generate line of
// cmd/outband.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/outband/outband/cmd/outband/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manpages FOLDER")
		os.Exit(2)
	}
	if err := write(cli.Command(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}

// date is what the pages have as theirs: that of the last change which a reader should
// notice, and not of the build, so that the same definitions give the same pages.
var date = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// write makes the folder's pages those of the command: what is no page any more goes.
func write(root *cobra.Command, folder string) error {
	old, err := filepath.Glob(filepath.Join(folder, "*.1"))
	if err != nil {
		return err
	}
	for _, page := range old {
		if err := os.Remove(page); err != nil {
			return err
		}
	}
	header := &doc.GenManHeader{Section: "1", Source: "Outband", Manual: "Outband", Date: &date}
	return doc.GenManTree(root, header, folder)
}
