package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentsLinkToWhatIsThere follows the links of the documents that stay inside the
// repository.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	documents, err := filepath.Glob("../*.md")
	if err != nil || len(documents) < 4 {
		t.Fatal(documents, err)
	}
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	for _, name := range append(documents, "../examples/README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestFirstProgram has README's first program compiled as an example of the root package,
// and of eight lines.
func TestFirstProgram(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```go\n(.*?)\n```").FindSubmatch(readme)
	body := regexp.MustCompile(`(?s)func Example\(\) \{\n(.*?)\n\}\n`).FindSubmatch(example)
	if shown == nil || body == nil {
		t.Fatal("README shows no program, or there is no example of the package")
	}
	lines := strings.Split(string(body[1]), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "\t")
	}
	if want := strings.Join(lines, "\n"); string(shown[1]) != want {
		t.Errorf("README shows\n%s\nand the example is\n%s", shown[1], want)
	}
	if len(lines) > 8 {
		t.Errorf("it has %d lines", len(lines))
	}
}
