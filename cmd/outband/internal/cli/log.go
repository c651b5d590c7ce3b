package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// A lineHandler writes records of a log as the command's other messages are written, a line
// each: what it is about in parentheses behind it.
type lineHandler struct{ w io.Writer }

var _ slog.Handler = lineHandler{}

// Enabled implements slog.Handler.
func (h lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	var attrs []string
	event := false
	r.Attrs(func(a slog.Attr) bool {
		event = event || a.Key == "event"
		attrs = append(attrs, fmt.Sprintf("%s %v", a.Key, a.Value))
		return true
	})
	if event {
		return nil // which app.tell has told
	}
	about := ""
	if len(attrs) > 0 {
		about = " (" + strings.ReplaceAll(strings.Join(attrs, ", "), "\n", "; ") + ")"
	}
	_, err := fmt.Fprintf(h.w, "outband: %s%s\n", r.Message, about)
	return err
}

// WithAttrs implements slog.Handler: nobody here gives a logger attributes of its own.
func (h lineHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler: as WithAttrs.
func (h lineHandler) WithGroup(string) slog.Handler { return h }
