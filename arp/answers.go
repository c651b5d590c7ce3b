package arp

// answerQueues are the queues of answers to strangers, the one that has had one for
// longest first. What a stranger can cause to wait here takes nothing from what the
// host's own programs send.
type answerQueues struct {
	oldest, newest *queue
	bytes          int // what all count for
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
		t.discard(t.answers.oldest)
	}
	q := e.answers
	if q == nil {
		q = &queue{entry: e, older: t.answers.newest}
		e.answers = q
		if q.older != nil {
			q.older.newer = q
		} else {
			t.answers.oldest = q
		}
		t.answers.newest = q
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
	if q.older != nil {
		q.older.newer = q.newer
	} else {
		t.answers.oldest = q.newer
	}
	if q.newer != nil {
		q.newer.older = q.older
	} else {
		t.answers.newest = q.older
	}
	q.entry.answers = nil
	q.entry, q.older, q.newer = nil, nil, nil
}
