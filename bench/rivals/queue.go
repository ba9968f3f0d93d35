//go:build linux

package main

import (
	"errors"
	"sync"
)

// store takes one commit at a time.
type store interface {
	// commitAll makes all jobs durable with as few flushes as it can.
	commitAll([]*job) error
	close() error
}

// queue is group commit for a store: whatever was waiting when the last commit ended is the next one.
type queue struct {
	s    store
	most int // pages or records in one commit
	in   chan *job
	end  sync.WaitGroup
}

func newQueue(s store, most int) *queue {
	q := &queue{s: s, most: most, in: make(chan *job, 1024)}
	q.end.Go(q.run)
	return q
}

func (q *queue) run() {
	var group []*job
	for j := range q.in {
		group, size := append(group[:0], j), len(j.vals)
		for size < q.most && len(q.in) > 0 {
			j := <-q.in
			group = append(group, j)
			size += len(j.vals)
		}
		err := q.s.commitAll(group)
		for _, j := range group {
			j.done <- err
		}
	}
}

func (q *queue) commit(j *job) error {
	q.in <- j
	return <-j.done
}

func (q *queue) close() error {
	close(q.in)
	q.end.Wait()
	return q.s.close()
}

// lastOf keeps the newest value of every key of a group: a later one counts.
func lastOf(jobs []*job, seen map[uint64][]byte) map[uint64][]byte {
	clear(seen)
	for _, j := range jobs {
		for i, k := range j.keys {
			seen[k] = j.vals[i]
		}
	}
	return seen
}

func closeAll(list ...func() error) error {
	var errs []error
	for _, f := range list {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
