package list

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type item struct {
	id   int
	node Node[item]
}

// walk returns the ids from the oldest to the newest, and fails if the way back has others.
func walk(t *testing.T, l *List[item]) (ids []int) {
	t.Helper()
	for i := l.Oldest(); i != nil; i = i.node.Newer() {
		ids = append(ids, i.id)
	}
	var back []int
	for i := l.Newest(); i != nil; i = i.node.Older() {
		back = append(back, i.id)
	}
	slices.Reverse(back)
	if !slices.Equal(ids, back) {
		t.Fatalf("%v from the oldest, %v from the newest", ids, back)
	}
	return ids
}

// The list against a slice.
func TestList(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var l List[item]
	var model []*item
	for step := range 20_000 {
		switch k := rng.IntN(3); {
		case k == 0 || len(model) == 0:
			i := &item{id: step}
			l.Append(&i.node, i)
			model = append(model, i)
		case k == 1:
			at := rng.IntN(len(model))
			i := model[at]
			l.Remove(&i.node)
			if i.node != (Node[item]{}) {
				t.Fatal("the node of an item that was removed points to others")
			}
			model = slices.Delete(model, at, at+1)
		default:
			at := rng.IntN(len(model))
			i := model[at]
			l.Renew(&i.node)
			model = append(slices.Delete(model, at, at+1), i)
		}
		var want []int
		for _, i := range model {
			want = append(want, i.id)
		}
		if got := walk(t, &l); !slices.Equal(got, want) || l.Len() != len(want) {
			t.Fatalf("step %d: %d items %v, want %v", step, l.Len(), got, want)
		}
		if len(model) > 20 {
			for _, i := range model {
				l.Remove(&i.node)
			}
			model = nil
		}
	}
}

func TestEmpty(t *testing.T) {
	var l List[item]
	var i item
	if l.Oldest() != nil || l.Newest() != nil || l.Len() != 0 || i.node.Older() != nil || i.node.Newer() != nil {
		t.Error("something is there")
	}
}
