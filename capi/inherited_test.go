package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/test/lab"
)

// nobody is a user without capabilities.
const nobody = 65534

// A program without a capability has a stack, on sockets that were opened for it.
func TestInherited(t *testing.T) {
	for name, kernel := range map[string]lab.Kernel{"own address": lab.Far, "shared address": lab.All} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: kernel})
			program := compile(t, "testdata/inherited.c")
			for _, folder := range []string{libraryIn(t), filepath.Dir(filepath.Dir(program)), filepath.Dir(program)} {
				if err := os.Chmod(folder, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			echo(t, l.Far(), 7)
			var fds []int
			l.Near().In(t, func() (err error) {
				fds, err = descriptor.Handover(1)
				return err
			})
			address := "-"
			if kernel == lab.Far {
				address = l.Near().Prefix().String()
			}
			cmd := exec.Command(program, "near0", l.Far().Addr.String(), address)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			for i, fd := range fds {
				cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "handed over"))
				cmd.Args = append(cmd.Args, strconv.Itoa(3+i))
			}
			l.Near().In(t, func() error {
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				return nil
			})
			for _, f := range cmd.ExtraFiles {
				f.Close()
			}
		})
	}
}
