package preload

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Inspect returns why a program cannot be reached by a preloaded library, "" if it can. Of a
// script the program is its interpreter.
func Inspect(path string) (string, error) { return inspect(path, 0) }

// interpreters bounds scripts whose interpreter is a script (BINPRM_MAX_RECURSION is 4).
const interpreters = 4

func inspect(path string, depth int) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) {
		return "", nil // it may be executed all the same, and nothing is known of it
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if why, err := privileged(f); why != "" || err != nil {
		return why, err
	}
	line, err := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	if script, is := strings.CutPrefix(line, "#!"); is && (err == nil || errors.Is(err, io.EOF)) {
		return inspectScript(script, depth)
	}
	return inspectELF(f)
}

func inspectScript(line string, depth int) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 || depth == interpreters {
		return "", nil // the kernel says what is wrong
	}
	if strings.HasSuffix(words[0], "/env") && len(words) > 1 {
		if path, err := exec.LookPath(words[1]); err == nil {
			words[0] = path
		}
	}
	why, err := inspect(words[0], depth+1)
	if why != "" {
		why = words[0] + ", which runs it, " + why
	}
	return why, err
}

// privileged says that the dynamic linker ignores what is preloaded, as it does for programs
// that gain privileges (ld.so(8), "secure-execution mode").
func privileged(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_ISUID != 0 && int(st.Uid) != os.Geteuid() {
		return "is setuid, and nothing can be preloaded into it", nil
	}
	if st.Mode&unix.S_ISGID != 0 && int(st.Gid) != os.Getegid() {
		return "is setgid, and nothing can be preloaded into it", nil
	}
	if n, err := unix.Fgetxattr(int(f.Fd()), "security.capability", nil); err == nil && n > 0 && os.Geteuid() != 0 {
		return "has file capabilities, and nothing can be preloaded into it", nil
	}
	return "", nil
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV}

func inspectELF(r io.ReaderAt) (string, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return "", fmt.Errorf("no program: %w", err)
	}
	defer f.Close()
	if m, known := machines[runtime.GOARCH]; known && f.Machine != m {
		return "is for another machine: " + f.Machine.String(), nil
	}
	if f.Section(".go.buildinfo") != nil {
		return "is a Go program, which calls the kernel by itself: it can import github.com/outband/outband", nil
	}
	loader := interpreter(f)
	switch {
	case loader == "":
		return "is static, and nothing can be preloaded into it", nil
	case strings.Contains(loader, "musl"):
		return "is linked with musl, with which a Go library cannot be loaded", nil
	}
	return "", nil
}

// interpreter returns the dynamic linker of a program, "" if it has none.
func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > unix.PathMax {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err == nil {
			return strings.TrimRight(string(name), "\x00")
		}
	}
	return ""
}
