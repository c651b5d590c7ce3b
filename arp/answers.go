package arp

import "github.com/outband/outband/internal/list"

// answerQueues are the queues of answers to strangers, the one that has had one for
// longest first. What a stranger can cause to wait here takes nothing from what the
// host's own programs send.
type answerQueues struct {
	list.List[queue]
	bytes int // what all count for
}

// enqueueAnswer is Enqueue for an answer to a stranger.
func (t *Table) enqueueAnswer(e *Entry, p Pending) (dropped Pending, full bool) {
	if p.cost() > t.cfg.AnswerQueueBytes {
		t.stats.UnresDiscards++
		return p, true
	}
	if q := e.answers; q != nil && q.n >= t.cfg.AnswerQueueLen {
		t.discard(q)
	}
	for t.answers.bytes+p.cost() > t.cfg.AnswerQueueBytes {
		t.discard(t.answers.Oldest())
	}
	q := e.answers
	if q == nil {
		q = &queue{entry: e}
		e.answers = q
		t.answers.Append(&q.listed, q)
	}
	q.push(p)
	t.pending++
	t.answers.bytes += p.cost()
	return Pending{}, false
}

// discard drops the oldest answer of a queue.
func (t *Table) discard(q *queue) {
	p := q.pop()
	t.pending--
	t.answers.bytes -= p.cost()
	t.stats.UnresDiscards++
	ev := t.events.push(Discard)
	ev.Addr, ev.Pending = q.entry.addr, p
	if q.n == 0 {
		t.forgetAnswers(q)
	}
}

// forgetAnswers takes a queue out of the list, and from its entry.
func (t *Table) forgetAnswers(q *queue) {
	t.answers.Remove(&q.listed)
	q.entry.answers, q.entry = nil, nil
}
