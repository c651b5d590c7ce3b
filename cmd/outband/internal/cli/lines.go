package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// eachLine calls fn with each line, without its end, until ctx ends. A line may
// be as long as a datagram; a longer one is an error, and what came before it has
// been handed out. A read from a terminal cannot be called back: its goroutine ends
// with the next line, or the process.
func eachLine(ctx context.Context, r io.Reader, fn func(line []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, ended := make(chan []byte), make(chan error, 1)
	go func() { ended <- readLines(ctx, r, lines) }()
	for {
		select {
		case line := <-lines:
			if err := fn(line); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// readLines hands out the lines of r until it ends, or ctx.
func readLines(ctx context.Context, r io.Reader, lines chan<- []byte) error {
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := readLine(in)
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errLong):
			return fmt.Errorf("line %d of the standard input is longer than a datagram can be, %d bytes", number, maxPayload)
		case err != nil:
			return fmt.Errorf("standard input: %w", reason(err))
		}
		select {
		case lines <- line:
		case <-ctx.Done():
			return nil
		}
	}
}

var errLong = errors.New("longer than a datagram")

// readLine returns a line without its end, \n or \r\n, in memory of its own. The last
// one may lack an end.
func readLine(in *bufio.Reader) ([]byte, error) {
	line := []byte{}
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxPayload+len("\r\n"):
			return nil, errLong
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0:
			err = nil // the last line
		}
		if err != nil {
			return nil, err
		}
		if line = trimEnd(line); len(line) > maxPayload {
			return nil, errLong
		}
		return line, nil
	}
}

func trimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line
}
