package preload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files are what is preloaded, and what that loads: in one folder.
const (
	Shim    = "outband-preload.so"
	Library = "liboutband.so"
)

// EnvFolder names the variable that says where the files are.
const EnvFolder = "OUTBAND_LIB"

// Find returns the folder of the files: $OUTBAND_LIB, the folder of this command, or lib/outband
// beside that.
func Find() (string, error) {
	if dir := os.Getenv(EnvFolder); dir != "" {
		return findIn(dir)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	dir := filepath.Dir(self)
	return findIn(dir, filepath.Join(filepath.Dir(dir), "lib", "outband"))
}

// findIn returns the first of some folders that has both files.
func findIn(dirs ...string) (string, error) {
	for _, dir := range dirs {
		if isFile(filepath.Join(dir, Shim)) && isFile(filepath.Join(dir, Library)) {
			return filepath.Abs(dir)
		}
	}
	return "", fmt.Errorf("%s and %s are not in %s; shim/build of the source makes them", Shim, Library, strings.Join(dirs, " or "))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Settings are what the shim is told by its environment. Strings that are empty are not set.
type Settings struct {
	Devices  string // with commas between
	Address  string
	Gateway  string
	Spin     string // in the shim's words
	Only     string // ports, with commas between
	Fork     string
	Loopback bool
	Report   bool
}

// Environ returns an environment with the shim in it, and its settings. A shim that is
// there already goes, other libraries stay.
func (s *Settings) Environ(environ []string, dir string) ([]string, error) {
	shim := filepath.Join(dir, Shim)
	if strings.ContainsAny(shim, ": ") {
		return nil, errors.New(shim + ": a library with a colon or a blank in its path cannot be preloaded")
	}
	var kept []string
	preload := []string{shim}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case name == "LD_PRELOAD":
			for _, other := range strings.FieldsFunc(value, func(r rune) bool { return r == ':' || r == ' ' }) {
				if filepath.Base(other) != Shim {
					preload = append(preload, other)
				}
			}
		case strings.HasPrefix(name, "OUTBAND_") && name != EnvFolder:
		default:
			kept = append(kept, v)
		}
	}
	kept = append(kept, "LD_PRELOAD="+strings.Join(preload, ":"))
	for _, v := range s.variables() {
		if v.value != "" {
			kept = append(kept, v.name+"="+v.value)
		}
	}
	return kept, nil
}

type variable struct{ name, value string }

func (s *Settings) variables() []variable {
	flag := map[bool]string{true: "1"}
	return []variable{{"OUTBAND_DEV", s.Devices}, {"OUTBAND_ADDR", s.Address}, {"OUTBAND_GATEWAY", s.Gateway}, {"OUTBAND_SPIN", s.Spin},
		{"OUTBAND_ONLY", s.Only}, {"OUTBAND_FORK", s.Fork}, {"OUTBAND_LOOPBACK", flag[s.Loopback]}, {"OUTBAND_REPORT", flag[s.Report]}}
}
