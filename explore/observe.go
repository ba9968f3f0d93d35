package explore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/untorn/untorn"
)

// observed is what an open directory returns to its user.
type observed struct {
	files      map[string]*seenFile
	checkpoint checkpoint
	records    []record // from the checkpoint's redo LSN on; batch is not known
	last       untorn.LSN
	end        untorn.LSN
	report     *untorn.Report
	odd        []string // what no judge has to look at twice
}

type seenFile struct {
	id    uint32 // the engine's
	uid   uint64 // the workload's: which creation this is; set when a catalogue agrees
	mode  untorn.Mode
	pages []sight
}

func (s *observed) catalog() catalog {
	c := catalog{}
	for name, f := range s.files {
		c[name] = fileState{f.uid, uint64(len(f.pages))}
	}
	return c
}

// adopt gives the files the uids of the catalogue they agreed with.
func (s *observed) adopt(c catalog) {
	for name, f := range s.files {
		f.uid = c[name].uid
	}
}

// observe reads everything there is to read.
// openAs opens a file, in another mode maybe; nil opens it as it is.
func observe(ctx context.Context, e *untorn.Engine, buf *buffers, openAs func(name string, is untorn.Mode) (*untorn.File, error)) (*observed, error) {
	s := &observed{files: map[string]*seenFile{}, report: e.Report(), end: e.EndLSN()}
	if openAs == nil {
		openAs = func(name string, _ untorn.Mode) (*untorn.File, error) {
			return e.OpenFile(ctx, name, untorn.FileOptions{})
		}
	}
	infos := map[string]untorn.FileInfo{}
	for _, f := range e.Info().Files {
		infos[f.Name] = f
	}
	for _, name := range e.Files() {
		f, err := openAs(name, untorn.Mode(infos[name].Mode))
		if err != nil {
			return nil, err
		}
		sf := &seenFile{id: infos[name].ID, mode: f.Mode()}
		s.files[name] = sf
		if err := sf.read(ctx, f, buf); err != nil {
			return nil, err
		}
	}
	redo, b := e.LastCheckpoint()
	s.checkpoint.redo = redo
	if len(b) > 0 {
		id, err := readPayload(b)
		if err != nil {
			s.odd = append(s.odd, fmt.Sprintf("the checkpoint's payload: %v", err))
		}
		s.checkpoint.payload = id
	}
	for r, err := range e.Replay(ctx) {
		if err != nil {
			return nil, err
		}
		id, err := readPayload(r.Data)
		if err != nil {
			s.odd = append(s.odd, fmt.Sprintf("at LSN %d: %v", r.Start, err))
		}
		s.records = append(s.records, record{id: id, end: r.End, changes: readChanges(r.Data)})
		s.last = r.End
	}
	s.last = max(s.last, redo)
	return s, nil
}

func (sf *seenFile) read(ctx context.Context, f *untorn.File, buf *buffers) error {
	n := int(f.Pages())
	sf.pages = make([]sight, n)
	reads := buf.reads(n, f.PageSize())
	err := f.ReadPages(ctx, reads)
	for i := range reads {
		r := &reads[i]
		switch {
		case reportsDamage(r.Err):
			sf.pages[i].damaged = r.Err.Error()
			continue
		case r.Err != nil:
			return r.Err
		}
		sf.pages[i] = look(r.Data, buf.scratch, uint64(i))
		sf.pages[i].lsn = r.LSN
		if r.LSN == 0 { // mode none does not read it from a page that fails its check
			sf.pages[i].lsn = untorn.LSN(binary.LittleEndian.Uint64(r.Data[8:]))
		}
	}
	if err != nil && !reportsDamage(err) {
		return err
	}
	return nil
}

// reportsDamage reports whether a read says that there is no page to be had.
func reportsDamage(err error) bool {
	return errors.Is(err, untorn.ErrPageDamaged) || errors.Is(err, untorn.ErrPageLost) || errors.Is(err, syscall.EIO)
}

// buffers are one worker's, used again for every state.
type buffers struct {
	slab    []byte
	list    []untorn.PageRead
	scratch []byte
	arena   arena
}

func newBuffers() *buffers { return &buffers{scratch: make([]byte, 64<<10)} }

func (b *buffers) reads(n, size int) []untorn.PageRead {
	if len(b.slab) < n*size {
		b.slab = make([]byte, n*size)
	}
	b.list = b.list[:0]
	for i := range n {
		b.list = append(b.list, untorn.PageRead{No: untorn.PageNo(i), Data: b.slab[i*size : (i+1)*size]})
	}
	return b.list
}
