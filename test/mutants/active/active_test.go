package active

import (
	"os"
	"path/filepath"
	"testing"
)

func TestIs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "reached")
	if err := os.WriteFile(name, make([]byte, 4), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if reached, err = mapped(name); err != nil {
		t.Fatal(err)
	}
	chosen = 2
	defer func() { chosen, reached = 0, nil }()
	if Is(1) || !Is(2) {
		t.Error("another mutant is the chosen one")
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "\x00\x01\x01\x00" {
		t.Errorf("reached %q, %v", b, err)
	}
	if _, err := mapped(name + "s"); err == nil {
		t.Error("a file that is not there is mapped")
	}
}
