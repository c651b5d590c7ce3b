package outband

import (
	"testing"

	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
