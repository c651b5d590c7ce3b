package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// Main runs a package's tests, and fails them if they leave goroutines or file
// descriptors behind:
//
//	func TestMain(m *testing.M) { lab.Main(m) }
func Main(m *testing.M) {
	before := openFiles()
	code := m.Run()
	if code == 0 {
		code = report(goleak.Find(), newFiles(before))
	}
	os.Exit(code)
}

func report(goroutines error, files []string) int {
	if goroutines == nil && files == nil {
		return 0
	}
	if goroutines != nil {
		fmt.Fprintln(os.Stderr, "leaked goroutines:", goroutines)
	}
	for _, f := range files {
		fmt.Fprintln(os.Stderr, "leaked file descriptor:", f)
	}
	return 1
}

// CheckLeaks fails the test if it ends with a goroutine or a file descriptor
// that was not there when CheckLeaks was called. Call it first: cleanups run in
// reverse order, so it looks when all others are done. A test that uses it must
// not run in parallel with others.
func CheckLeaks(t testing.TB) {
	t.Helper()
	before, running := openFiles(), goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if t.Failed() {
			return // what an aborted test leaves behind tells nothing
		}
		if err := goleak.Find(running); err != nil {
			t.Error("leaked goroutines:", err)
		}
		for _, f := range newFiles(before) {
			t.Error("leaked file descriptor:", f)
		}
	})
}

// openFiles returns what every open file descriptor stands for.
func openFiles() map[int]string {
	// Go's runtime opens descriptors of its own with the first pipe or
	// socket; that is no leak of the test's.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	files := make(map[int]string, len(entries))
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The directory that was read is closed by now: no link, no entry.
		if what, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			files[fd] = what
		}
	}
	return files
}

// newFiles returns the descriptors that are open now and were not before.
func newFiles(before map[int]string) (leaked []string) {
	for fd, what := range openFiles() {
		if before[fd] != what {
			leaked = append(leaked, fmt.Sprintf("%d: %s", fd, what))
		}
	}
	return leaked
}
