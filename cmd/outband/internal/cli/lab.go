package cli

import (
	"fmt"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
)

// inLab runs fn with the privileges that network namespaces take: in this
// process if it has them, else by running the whole command again in a user
// namespace.
func (a *app) inLab(fn func() error) error {
	if inband.HasCapability(netlab.Capabilities...) {
		return fn()
	}
	code, err := netlab.InUserNamespace()
	if err != nil {
		return needs{netlab.Capabilities,
			fmt.Errorf("cannot make network namespaces: %w", err)}
	}
	if code != 0 {
		return exited(code)
	}
	return nil
}
