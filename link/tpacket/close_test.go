package tpacket

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

func TestClose(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(lifeOptions["sendto"])
	exchange(t, lb, l)
	before := l.Stats()
	p := link.NewPoller()
	defer p.Close()
	l.SetNotify(nil, p.Wake)
	woken := make(chan int)
	go func() {
		for l.FD() >= 0 {
			p.Wait([]link.Pollable{l}, -1)
		}
		woken <- l.Receive(make([]link.Frame, 4))
	}()
	check(t, l.Close())
	select {
	case n := <-woken:
		if n != 0 {
			t.Errorf("%d frames after Close", n)
		}
	case <-time.After(patience):
		t.Fatal("the poller sleeps on")
	}
	if err := l.Send(make([]byte, 60)); err != unix.ENETDOWN {
		t.Errorf("Send: %v", err)
	}
	if n, err := l.SendBatch([]link.TxFrame{{Data: make([]byte, 60)}}); n != 0 || err != unix.ENETDOWN {
		t.Errorf("SendBatch: %d, %v", n, err)
	}
	if s := l.Stats(); s != before {
		t.Errorf("stats %+v, were %+v", s, before)
	}
	if i := l.Info(); i.State != link.Gone || i.Name != "near0" {
		t.Errorf("%+v", i)
	}
	l.PollError()
	check(t, l.Close())
}

func TestCloseWhileSending(t *testing.T) {
	lb := newLab(t, 1500)
	for name, o := range lifeOptions {
		t.Run(name, func(t *testing.T) {
			l := lb.open(o)
			f := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, 100))
			var wg, started sync.WaitGroup
			started.Add(4)
			for range 4 {
				wg.Go(func() {
					for i := 0; ; i++ {
						if i == 10 {
							started.Done()
						}
						_, err := l.SendBatch([]link.TxFrame{{Data: f}, {Data: f}})
						if err == nil {
							err = l.Send(f)
						}
						if err == unix.ENETDOWN {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			started.Wait()
			check(t, l.Close())
			wg.Wait()
		})
	}
}
