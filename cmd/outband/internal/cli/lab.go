package cli

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// inLab runs fn with the privileges that network namespaces take: in this
// process if it has them, else by running the whole command again in a user
// namespace.
func (a *app) inLab(fn func() error) error {
	if inband.CanMakeLabs() {
		return fn()
	}
	code, err := inband.InUserNamespace()
	if err != nil {
		return needs{[]int{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW},
			fmt.Errorf("cannot make network namespaces: %w", err)}
	}
	if code != 0 {
		return exited(code)
	}
	return nil
}
