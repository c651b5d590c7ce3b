package snapshot

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/outband/outband/sockapi/internal/option"
)

var some = Snapshot{Kind: option.Kind{Domain: 2, Typ: 3, Proto: 17}, Nonblock: true, Bound: []byte{1, 2}, Peer: []byte{3},
	Settings: []option.Setting{{Level: 1, Name: -9, Value: []byte("value")}, {Level: 0, Name: 1 << 20}}}

func TestParse(t *testing.T) {
	for _, want := range []Snapshot{some, {}} {
		got, ok := Parse(want.Append(nil))
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, ok, want)
		}
	}
}

// What is cut, has more behind it, or is of another version is refused.
func TestParseRefuses(t *testing.T) {
	whole := some.Append(nil)
	for n := range whole {
		if _, ok := Parse(whole[:n]); ok {
			t.Errorf("%d of %d bytes are taken", n, len(whole))
		}
	}
	if _, ok := Parse(append(whole[:len(whole):len(whole)], 0)); ok {
		t.Error("a byte more is taken")
	}
	other := bytes.Clone(whole)
	other[0]++
	if _, ok := Parse(other); ok {
		t.Error("another version is taken")
	}
}

// FuzzParse has whatever is taken be the same when it is appended and parsed again.
func FuzzParse(f *testing.F) {
	f.Add(some.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := Parse(b)
		if !ok {
			return
		}
		again, ok := Parse(s.Append(nil))
		if !ok || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v, then %+v, %v", s, again, ok)
		}
	})
}
