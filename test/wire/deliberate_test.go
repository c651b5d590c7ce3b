package wire

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeTellsDifferences compares README's table with the list.
func TestReadmeTellsDifferences(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(Markdown()) {
		if !strings.Contains(string(readme), line) {
			t.Errorf("README does not have this line: %s", line)
		}
	}
	_, table, _ := strings.Cut(string(readme), "On the wire it differs on purpose in:")
	table, _, _ = strings.Cut(table, "</details>")
	if got, want := strings.Count(table, "\n| "), len(Deliberate)+2; got != want {
		t.Errorf("README's table has %d lines, the list makes %d", got, want)
	}
}

// What is listed as a difference is one.
func TestDeliberateDiffers(t *testing.T) {
	linux := NewKernel(t)
	j := &Judge{Linux: linux, Ours: NewOurs(t, linux)}
	for _, d := range Deliberate {
		if d.Show != nil && j.Compare(d.Show) == "" {
			t.Errorf("%s: ours does as Linux does", d.What)
		}
	}
}
