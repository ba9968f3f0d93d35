package stages

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func done(c *Call) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// TestCallWaitsForAll is I4: a call is complete only when every page is.
func TestCallWaitsForAll(t *testing.T) {
	c := NewCall()
	c.Reset(Durable, 3)
	c.Complete(2)
	if done(c) || c.Finished() {
		t.Fatal("complete with a page missing")
	}
	c.Fail(errors.New("first"))
	c.Fail(errors.New("second"))
	c.Complete(1)
	if !done(c) || c.Err() == nil || c.Err().Error() != "first" {
		t.Fatalf("done, %v", c.Err())
	}
	c.Reset(Protected, 1)
	if done(c) || c.Err() != nil {
		t.Fatal("Reset leaves the last wait behind")
	}
}

// TestAckByLevel is I4: a level tells those who asked for it or less, once.
func TestAckByLevel(t *testing.T) {
	var e Entry
	d, p := NewCall(), NewCall()
	d.Reset(Durable, 1)
	p.Reset(Protected, 1)
	e.Wait(&Waiter{Call: d})
	e.Wait(&Waiter{Call: p})
	e.Ack(Protected)
	if done(d) || !done(p) {
		t.Fatal("Protected must tell the protected waiter and no other")
	}
	if !e.Waited() {
		t.Fatal("the durable waiter is forgotten")
	}
	e.Ack(Durable)
	if !done(d) || e.Waited() {
		t.Fatal("Durable must tell the rest")
	}
}

func TestInherit(t *testing.T) {
	var older, newer Entry
	a, b := NewCall(), NewCall()
	a.Reset(Durable, 1)
	b.Reset(Durable, 1)
	older.Wait(&Waiter{Call: a})
	newer.Wait(&Waiter{Call: b})
	newer.Inherit(&older)
	if older.Waited() {
		t.Error("the older write keeps its waiters")
	}
	newer.Ack(Durable)
	if !done(a) || !done(b) {
		t.Error("the older acknowledgement completes with the newer one")
	}
}

// TestPoison: the first cause stays, and everybody who waits is woken.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPoison()
		if p.Err() != nil {
			t.Fatal("born poisoned")
		}
		var woken atomic.Int32
		var g Group
		for range 3 {
			g.Go("waiter", func() { <-p.C(); woken.Add(1) })
			synctest.Wait()
		}
		first := errors.New("first")
		p.Set(first)
		p.Set(errors.New("second"))
		g.Wait()
		if woken.Load() != 3 || p.Err() != first {
			t.Errorf("%d woken, %v", woken.Load(), p.Err())
		}
	})
}

func TestLevels(t *testing.T) {
	for _, l := range []Level{Durable, Protected, Logged, Accepted} {
		if got, err := ParseLevel(l.String()); err != nil || got != l {
			t.Errorf("%s: %v, %v", l, got, err)
		}
	}
	if _, err := ParseLevel("maybe"); err == nil {
		t.Error("an unknown level was accepted")
	}
	for _, n := range MutantNames() {
		if _, err := ParseMutant(n); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseMutant("none"); err == nil {
		t.Error("an unknown mutant was accepted")
	}
}
