package main

import (
	"bufio"
	"os/exec"
	"regexp"
	"testing"

	"github.com/outband/outband/test/lab"
)

// sanitizers have a program end that reads or writes what is not its own, leaks, or counts on
// what C does not define.
var sanitizers = []string{"-fsanitize=address,undefined", "-fno-sanitize-recover=all"}

// The example answers and asks, over two namespaces, under the sanitizers and without.
func TestExample(t *testing.T) {
	for name, flags := range map[string][]string{"plain": {"-O2"}, "sanitized": sanitizers} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: lab.Near})
			program := compile(t, "../examples/c/roundtrip.c", flags...)
			server := exec.Command(program, "near0", "4000")
			out, err := server.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			l.Near().In(t, server.Start)
			defer func() {
				server.Process.Kill()
				server.Wait()
			}()
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "port 4000" {
				t.Fatalf("%q, %v", lines.Text(), lines.Err())
			}
			text := lab.Output(t, l.Far().Namespace, program, "far0="+l.Far().Prefix().String(), "4000", l.Near().Addr.String(), "200")
			if !regexp.MustCompile(`^200 round trips: min \d+ ns, median \d+ ns, 0 lost\n$`).Match(text) {
				t.Errorf("%s", text)
			}
		})
	}
}

// The tests' own programs do nothing that the sanitizers refuse, and libc's calls are the judge
// of that too.
func TestSanitized(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	echo(t, l.Far(), 7)
	for _, source := range []string{"oracle.c", "wait.c"} {
		program := compile(t, "testdata/"+source, sanitizers...)
		args := []string{"near0", l.Near().Addr.String(), l.Far().Addr.String()}
		if source == "wait.c" {
			args = []string{"near0", l.Far().Addr.String()}
		}
		lab.Output(t, l.Near().Namespace, program, args...)
	}
}
