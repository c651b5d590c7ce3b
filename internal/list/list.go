// Package list has doubly linked lists whose links are fields of what they list, so that
// to enter and to leave costs no allocation and no search.
package list

// A Node is an item's place in a List: a field of the item. The zero Node is in none. An
// item with a Node in a list must stay where it is in memory.
type Node[T any] struct {
	older, newer *Node[T]
	item         *T
}

// Older returns the item that was appended before the Node's, nil if it is the oldest.
func (n *Node[T]) Older() *T { return n.older.of() }

// Newer returns the item that was appended after the Node's, nil if it is the newest.
func (n *Node[T]) Newer() *T { return n.newer.of() }

func (n *Node[T]) of() *T {
	if n == nil {
		return nil
	}
	return n.item
}

// A List is items in the order in which they were appended. The zero List is empty. It is
// not safe for concurrent use.
type List[T any] struct {
	oldest, newest *Node[T]
	n              int
}

// Oldest returns the item that was appended first, nil if there is none.
func (l *List[T]) Oldest() *T { return l.oldest.of() }

// Newest returns the item that was appended last, nil if there is none.
func (l *List[T]) Newest() *T { return l.newest.of() }

// Len returns the number of items.
func (l *List[T]) Len() int { return l.n }

// Append puts an item, whose Node is in no list, at the newest end.
func (l *List[T]) Append(n *Node[T], item *T) {
	n.older, n.newer, n.item = l.newest, nil, item
	if l.newest == nil {
		l.oldest = n
	} else {
		l.newest.newer = n
	}
	l.newest = n
	l.n++
}

// Remove takes an item, whose Node is in this list, out.
func (l *List[T]) Remove(n *Node[T]) {
	if n.older == nil {
		l.oldest = n.newer
	} else {
		n.older.newer = n.newer
	}
	if n.newer == nil {
		l.newest = n.older
	} else {
		n.newer.older = n.older
	}
	l.n--
	*n = Node[T]{}
}

// Renew moves an item, whose Node is in this list, to the newest end.
func (l *List[T]) Renew(n *Node[T]) {
	if n.newer != nil {
		item := n.item
		l.Remove(n)
		l.Append(n, item)
	}
}
