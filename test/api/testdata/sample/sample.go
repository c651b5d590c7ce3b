// Package sample has one of each.
package sample

import (
	"context"
	"time"
)

const Answer = 42

var Limit time.Duration

type Number int

type I interface {
	Call() error
	hidden()
}

type T struct {
	Visible []string
	hidden  int
}

func (t T) Get() int   { return t.hidden }
func (t *T) Set(v int) { t.hidden = v }
func (t *T) unseen()   {}

type inner struct {
	Visible []string
}

type Alias = inner

func Do(ctx context.Context, n ...int) error { return nil }
