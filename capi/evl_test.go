package main

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"

	"github.com/outband/outband/test/lab"
)

// at returns a command at an end, whose stack has a device, with the kernel's address or with
// one of its own.
func at(e *lab.Endpoint, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = append(cmd.Environ(), "OUTBAND_DEV="+e.Name)
	if !e.Kernel {
		cmd.Env = append(cmd.Env, "OUTBAND_ADDR="+e.Prefix().String())
	}
	return cmd
}

// The two programs of EVL's manual compile as they are, with the optimiser's checks that
// distributions have, and one hears the other.
func TestSeed(t *testing.T) {
	flags := []string{"-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"}
	for name, kernel := range map[string]lab.Kernel{"own addresses": lab.None, "shared addresses": lab.All} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: kernel})
			receiver, sender := compile(t, "testdata/seed_receiver.c", flags...), compile(t, "testdata/seed_sender.c", flags...)
			rx := at(l.Near(), receiver, l.Near().Addr.String(), "4711")
			out, err := rx.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			l.Near().In(t, rx.Start)
			defer func() {
				rx.Process.Kill()
				rx.Wait()
			}()
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "bound" {
				t.Fatalf("%q, %v", lines.Text(), lines.Err())
			}
			tx := at(l.Far(), sender, l.Near().Addr.String(), "4711")
			l.Far().In(t, func() error {
				text, err := tx.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				return nil
			})
			want := "14 bytes from " + l.Far().Addr.String() + ": Mellow sword!"
			if !lines.Scan() || strings.TrimRight(lines.Text(), "\x00") != want {
				t.Errorf("%q, want %q", lines.Text(), want)
			}
		})
	}
}

// libevl's calls do what they are known for, on addresses of the stack's own and the kernel's.
func TestEVL(t *testing.T) {
	for name, kernel := range map[string]lab.Kernel{"own address": lab.Far, "shared address": lab.All} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: kernel})
			program := compile(t, "testdata/evl.c")
			echo(t, l.Far(), 7)
			cmd := at(l.Near(), program, "near0", l.Far().Addr.String())
			l.Near().In(t, func() error {
				if text, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, text)
				}
				return nil
			})
		})
	}
}
