package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEachLine(t *testing.T) {
	fits, long := strings.Repeat("x", maxPayload), strings.Repeat("x", maxPayload+1)
	const tooLong = "line 2 of the standard input is longer than a datagram can be, 65507 bytes"
	tests := []struct {
		name, in string
		want     []string
		err      string
	}{
		{"nothing", "", nil, ""},
		{"lines", "a\n\nb c\r\nd\n", []string{"a", "", "b c", "d"}, ""},
		{"a last line without an end", "a\nb", []string{"a", "b"}, ""},
		{"a carriage return alone", "a\rb\r\n\r", []string{"a\rb", "\r"}, ""},
		{"the longest", fits + "\n" + fits + "\r\n" + fits, []string{fits, fits, fits}, ""},
		{"longer by a byte", "a\n" + long + "\nb", []string{"a"}, tooLong},
		{"longer by a byte, without an end", "a\n" + long, []string{"a"}, tooLong},
		{"endless", "a\n" + strings.Repeat(long, 20), []string{"a"}, tooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			err := eachLine(context.Background(), strings.NewReader(tt.in), func(line []byte) error {
				got = append(got, string(line))
				return nil
			})
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("%v", err)
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
				t.Errorf("%d lines of %d", len(got), len(tt.want))
			}
		})
	}
}

func TestEachLineErrors(t *testing.T) {
	broken := errors.New("broken")
	err := eachLine(context.Background(), io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken)), func([]byte) error { return nil })
	if err == nil || err.Error() != "standard input: broken" {
		t.Error(err)
	}
	if err := eachLine(context.Background(), strings.NewReader("a\nb\n"), func([]byte) error { return broken }); err != broken {
		t.Error(err)
	}
}
