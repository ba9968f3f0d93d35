package torture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// kind is what an event says. Seen* are what a survey of an opened directory finds; the others are
// what the child starts and what the engine acknowledged.
type kind uint8

const (
	evOpened     kind = iota + 1 // a: epoch, b: pages recovery wrote
	evSeenFile                   // tag, a: pages, level: 1 if renamed
	evFilesEnd                   // all files have been named
	evSeenBase                   // a: record the log begins with
	evSeenRecord                 // page: seq, version: round, level: at<<8|of..., a: start, b: end
	evSeenEnd                    // a: next record, b: end of the log
	evSeenPage                   // tag, page, version, a: LSN
	evBadPage                    // tag, page, text
	evSeenAll                    // the survey is complete
	evRecord                     // started: page: seq, version: round<<32|at<<16|of
	evRecordAt                   // page: seq, a: start, b: end
	evRecordNot                  // page: the append of this record, and of later ones, was refused
	evRecordAck                  // page: durable through this seq
	evPage                       // started: tag, page, version, a: LSN
	evPageAck                    // tag, page, version, level
	evCkpt                       // started: a: seq, b: redo
	evCkptAck                    // a: seq
	evFile                       // started: tag, a: pages
	evFileAck                    // tag
	evGrow                       // started: tag, a: pages
	evGrowAck                    // tag, a: pages
	evRename                     // started: tag
	evRenameAck                  // tag
	evRemove                     // started: tag
	evRemoveAck                  // tag
	evRefused                    // tag, level: kind of what was started and refused for lack of space
	evClosing                    // an orderly close has begun
	evClosed                     // and ended well
	evWrong                      // text: the child saw something that must not be
	evStopped                    // text: the engine failed; a: a cause; b: 1 if while it was opened
	evWaited                     // the open found a lock held, and waits (I11)
)

// Causes of evStopped that need not be the engine's fault.
const (
	lackedNothing = iota
	lackedSpace
	lackedMemory
	lackedProof // of atomic writes: mode atomic is refused here
)

// event is one message. On the wire it has a fixed part and its text.
type event struct {
	kind    kind
	level   uint8
	tag     uint32
	page    uint64
	version version
	a, b    uint64
	text    string
}

const (
	eventBytes = 48
	// atomicWrite is PIPE_BUF: a write of no more arrives whole or not at all, also from a process
	// that is being killed.
	atomicWrite = 4096
)

func (e *event) append(b []byte) []byte {
	text := e.text[:min(len(e.text), atomicWrite-eventBytes)]
	b = append(b, byte(e.kind), e.level, 0, 0)
	b = le.AppendUint32(b, e.tag)
	b = le.AppendUint64(b, e.page)
	b = le.AppendUint64(b, uint64(e.version))
	b = le.AppendUint64(b, e.a)
	b = le.AppendUint64(b, e.b)
	b = le.AppendUint64(b, uint64(len(text)))
	return append(b, text...)
}

// sink is where events go: the pipe in a child, the model in the parent.
type sink interface{ emit(evs ...event) }

// pipe writes events so that a kill never leaves half of one.
type pipe struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

func (p *pipe) emit(evs ...event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = p.buf[:0]
	for i := range evs {
		n := len(p.buf)
		p.buf = evs[i].append(p.buf)
		if len(p.buf) > atomicWrite {
			p.flush(p.buf[:n])
			p.buf = append(p.buf[:0], p.buf[n:]...)
		}
	}
	p.flush(p.buf)
}

func (p *pipe) flush(b []byte) {
	if _, err := p.w.Write(b); err != nil {
		os.Exit(exitOrphan) // the parent is gone: nobody would check
	}
}

// readEvents calls each for every event until the writer is gone.
func readEvents(r io.Reader, each func(event)) error {
	br := bufio.NewReaderSize(r, 64<<10)
	var b [eventBytes]byte
	for {
		if _, err := io.ReadFull(br, b[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("half an event: %w", err)
		}
		e := event{
			kind: kind(b[0]), level: b[1], tag: le.Uint32(b[4:]), page: le.Uint64(b[8:]),
			version: version(le.Uint64(b[16:])), a: le.Uint64(b[24:]), b: le.Uint64(b[32:]),
		}
		if n := le.Uint64(b[40:]); n > 0 {
			text := make([]byte, min(n, atomicWrite))
			if _, err := io.ReadFull(br, text); err != nil {
				return fmt.Errorf("half an event: %w", err)
			}
			e.text = string(text)
		}
		each(e)
	}
}
