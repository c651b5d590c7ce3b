package shared

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/outband/outband/test/lab"
)

// childMark in the environment makes this test binary do one task of children, and end.
const childMark = "OUTBAND_SHARED_TEST"

// children are those tasks.
var children = map[string]func() error{}

func TestMain(m *testing.M) {
	task := os.Getenv(childMark)
	if task == "" {
		lab.Main(m)
	}
	time.AfterFunc(2*time.Minute, func() { os.Exit(3) }) // a test that died is no reason to stay
	if err := children[task](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
