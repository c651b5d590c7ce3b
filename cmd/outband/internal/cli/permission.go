package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

func goVersion() string { return runtime.Version() }

// needs is an error for want of capabilities.
type needs struct {
	capabilities []int
	err          error
}

func (n needs) Error() string {
	names := make([]string, len(n.capabilities))
	for i, c := range n.capabilities {
		names[i] = inband.CapabilityName(c)
	}
	list, text := strings.Join(names, ", "), n.err.Error()
	if strings.Contains(text, "needs "+list) {
		return text // the link said so already
	}
	return fmt.Sprintf("%s: this needs %s", text, list)
}

func (n needs) Unwrap() error { return n.err }

// denied names the capabilities behind an error if it is one of permission. An
// error of any other kind is returned as it is.
func denied(err error, capabilities ...int) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return needs{capabilities, err}
	}
	return err
}

// permissionHint returns the lines that mend an error for want of capabilities:
// the same command under sudo, and setcap for good.
func (a *app) permissionHint(err error) string {
	var n needs
	if !errors.As(err, &n) {
		return ""
	}
	exe, exeErr := os.Executable()
	if exeErr != nil {
		exe = "outband"
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	names := make([]string, len(n.capabilities))
	for i, c := range n.capabilities {
		names[i] = strings.ToLower(inband.CapabilityName(c))
	}
	return fmt.Sprintf("  once:     sudo %s\n  for good: sudo setcap %s+ep %s\n",
		shellLine(append([]string{exe}, a.args...)), strings.Join(names, ","), shellWord(exe))
}

func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellWord(w)
	}
	return strings.Join(quoted, " ")
}

// shellWord quotes a word for a shell if it needs that.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,=+@%", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
