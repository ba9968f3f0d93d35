package ring

import (
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"
)

// outcome is what one call of a scripted kernel comes to.
type outcome struct {
	n     int
	errno syscall.Errno
}

func repeat(o outcome, n int) []outcome { return slices.Repeat([]outcome{o}, n) }

type namedFile struct{}

func (namedFile) Fd() uintptr  { return ^uintptr(0) }
func (namedFile) Name() string { return "scripted" }

// TestTransfer walks the cases of step: for each, what the kernel answers, where the calls have to
// begin, and how the op ends.
func TestTransfer(t *testing.T) {
	const k = 4096
	eintr, eagain := outcome{errno: syscall.EINTR}, outcome{errno: syscall.EAGAIN}
	canceled, eio := outcome{errno: syscall.ECANCELED}, outcome{errno: syscall.EIO}
	for _, c := range []struct {
		name  string
		kind  Kind
		flags Flags
		size  int
		calls []outcome
		froms []int
		want  error
	}{
		{"whole", Write, 0, 4 * k, []outcome{{n: 4 * k}}, []int{0}, nil},
		{"empty", Write, 0, 0, []outcome{{}}, []int{0}, nil},
		{"transient errors", Write, DSync, k, []outcome{eintr, eagain, canceled, {n: k}},
			[]int{0, 0, 0, 0}, nil},
		{"short write: the whole again", Write, 0, 4 * k, []outcome{{n: 3 * k}, {n: 4 * k}},
			[]int{0, 0}, nil},
		{"short twice: then the rest", Write, DSync, 4 * k,
			[]outcome{{n: k}, {n: 2 * k}, {n: k}, {n: k}}, []int{0, 0, 2 * k, 3 * k}, nil},
		{"the rest begins aligned", Write, 0, 4 * k, []outcome{{n: 100}, {n: k + 100}, {n: 3 * k}},
			[]int{0, 0, k}, nil},
		{"an error midway: the whole again", Write, 0, 4 * k,
			[]outcome{{n: k}, {n: 2 * k}, eagain, {n: 4 * k}}, []int{0, 0, 2 * k, 0}, nil},
		{"disk full", Write, 0, 4 * k, []outcome{{n: k}, {n: k}, {errno: syscall.ENOSPC}},
			[]int{0, 0, k}, syscall.ENOSPC},
		{"EIO is not repeated", Write, 0, k, []outcome{eio}, []int{0}, syscall.EIO},
		{"EIO of a flush is not repeated", DataSync, 0, 0, []outcome{eio}, []int{0}, syscall.EIO},
		{"a cancelled flush is", DataSync, 0, 0, []outcome{canceled, eintr, {}}, []int{0, 0, 0}, nil},
		{"short atomic", Write, Atomic, 4 * k, []outcome{{n: 2 * k}}, []int{0}, io.ErrShortWrite},
		{"atomic again", Write, Atomic, 4 * k, []outcome{eagain, {n: 4 * k}}, []int{0, 0}, nil},
		{"atomic refused", Write, Atomic, k, []outcome{{errno: syscall.EINVAL}}, []int{0},
			syscall.EINVAL},
		{"nothing is written ever", Write, 0, k, repeat(outcome{}, maxRepeats+1),
			make([]int, maxRepeats+1), io.ErrShortWrite},
		{"EAGAIN for ever", Read, 0, k, repeat(eagain, maxRepeats+1), make([]int, maxRepeats+1),
			syscall.EAGAIN},
		{"short reads", Read, 0, 4 * k, []outcome{{n: k}, {n: k}, {n: 2 * k}}, []int{0, k, 2 * k}, nil},
		{"interrupted read goes on", Read, 0, 2 * k, []outcome{{n: k}, eintr, {n: k}},
			[]int{0, k, k}, nil},
		{"end of file", Read, 0, 4 * k, []outcome{{n: k}, {}}, []int{0, k}, io.ErrUnexpectedEOF},
		{"end inside a block", Read, 0, 4 * k, []outcome{{n: k + 904}, {n: 904}}, []int{0, k},
			io.ErrUnexpectedEOF},
		{"beyond the end", Read, 0, k, []outcome{{}}, []int{0}, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := &Op{Kind: c.kind, Flags: c.flags, File: namedFile{}, Buf: make([]byte, c.size)}
			k := &scripted{calls: c.calls}
			tr := newThreads(Config{Backend: Threads}.withDefaults(), "test")
			defer tr.Close()
			tr.issue = k
			if err := tr.Do(op); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("it ended in %v, want %v", err, c.want)
			}
			if !slices.Equal(k.froms, c.froms) {
				t.Errorf("calls began at %v, want %v", k.froms, c.froms)
			}
			if s := tr.Stats(); int(s.Resubmitted) != len(c.calls)-1 {
				t.Errorf("%d resubmitted", s.Resubmitted)
			}
		})
	}
}

type scripted struct {
	calls []outcome
	froms []int
}

func (s *scripted) issue(op *Op) (int, syscall.Errno) {
	s.froms = append(s.froms, op.t.from)
	if len(s.froms) > len(s.calls) {
		return 0, syscall.EDOM // one call too many
	}
	o := s.calls[len(s.froms)-1]
	return o.n, o.errno
}

func TestMisuse(t *testing.T) {
	r := newThreads(Config{Backend: Threads}.withDefaults(), "test")
	defer r.Close()
	for name, op := range map[string]*Op{
		"no Done":   {File: namedFile{}},
		"in flight": {File: namedFile{}, Done: make(chan *Op, 1), slot: 1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			r.Submit(op)
		}()
	}
}

func TestGate(t *testing.T) {
	g := newGate()
	first, second := g.enter(), g.enter()
	if !first || !second {
		t.Fatal("shut from the start")
	}
	closed := make(chan struct{})
	woken := make(chan struct{})
	go func() {
		g.close(func() { close(woken) })
		close(closed)
	}()
	<-woken
	if g.enter() || !g.shut() {
		t.Fatal("let in although shut")
	}
	g.leave()
	select {
	case <-closed:
		t.Fatal("closed with somebody inside")
	default:
	}
	g.leave()
	<-closed
}
