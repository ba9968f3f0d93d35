package explore

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/untorn/untorn"
)

// In mode fullpage the levels hold after the caller's replay. So the workload puts into its records
// which versions of which pages they make, a judge applies the records that are there to the pages
// that do not have them, and whoever works on after an open does so for real first.

// change is what a record says of a page: its version from the record on.
type change struct{ uid, no, version uint64 }

const changeBytes = 24

// replayed applies the records found to the pages found, as the contract asks a caller to. Of modes
// whose records name no changes it leaves everything as it is.
func (s *observed) replayed() {
	byUID := map[uint64]*seenFile{}
	for _, f := range s.files {
		byUID[f.uid] = f
	}
	for _, r := range s.records {
		for _, c := range r.changes {
			f := byUID[c.uid]
			if f == nil || c.no >= uint64(len(f.pages)) {
				continue // removed since
			}
			p := &f.pages[c.no]
			if p.damaged == "" && p.torn == "" && p.lsn < r.end {
				p.uid, p.version, p.lsn = c.uid, c.version, r.end
			}
		}
	}
}

// replay is the caller's, for real: reading, comparing LSNs, writing. uids tells which creation of a
// file an open one is.
func replay(ctx context.Context, e *untorn.Engine, uids catalog) error {
	files := map[uint64]*untorn.File{}
	for name, x := range uids {
		f, err := e.OpenFile(ctx, name, untorn.FileOptions{})
		if err != nil {
			return err
		}
		files[x.uid] = f
	}
	var list []record
	for r, err := range e.Replay(ctx) {
		if err != nil {
			return err
		}
		if cs := readChanges(r.Data); len(cs) > 0 {
			list = append(list, record{end: r.End, changes: cs})
		}
	}
	for _, r := range list {
		for _, c := range r.changes {
			f := files[c.uid]
			if f == nil || c.no >= f.Pages() {
				continue
			}
			b := make([]byte, f.PageSize())
			read := []untorn.PageRead{{No: untorn.PageNo(c.no), Data: b}}
			switch err := f.ReadPages(ctx, read); {
			case reportsDamage(err):
				continue // there is nothing to apply it to
			case err != nil:
				return err
			}
			if read[0].LSN >= r.end {
				continue
			}
			paint(b, c.uid, c.no, c.version)
			w := []untorn.PageWrite{{No: untorn.PageNo(c.no), LSN: r.end, Data: b}}
			if err := f.WritePages(ctx, w, untorn.Durable); err != nil {
				return fmt.Errorf("replaying the record that ends at %d: %w", r.end, err)
			}
		}
	}
	return nil
}

// replays reports whether a run needs the caller's replay: some file may be in mode fullpage.
func (p *profile) replays() bool {
	return p.mode == untorn.ModeFullpage || slices.Contains(p.modes, untorn.ModeFullpage)
}

// plan decides a write: its versions, and in a mode that needs it the changes its record will name.
// Until passed is called no checkpoint claims that record.
func (c *client) plan(f *workFile, nos []uint64) (vers []uint64, cs []change, of *claim) {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, no := range nos {
		k := pageKey{f.uid, no}
		w.versions[k]++
		vers = append(vers, w.versions[k])
		if w.p.replays() && !unlogged(no) && !f.foreign {
			cs = append(cs, change{f.uid, no, w.versions[k]})
		}
	}
	if len(cs) > 0 {
		of = &claim{w.eng.EndLSN()}
		w.claims = append(w.claims, of)
	}
	return vers, cs, of
}

// claim is a record that is being appended, or whose pages have not been accepted.
type claim struct{ at untorn.LSN } // it starts at or after

// passed says that what a record changes has been passed to WritePages, or that it is not there.
func (w *world) passed(of *claim) {
	w.mu.Lock()
	w.claims = slices.DeleteFunc(w.claims, func(x *claim) bool { return x == of })
	w.mu.Unlock()
}

// claimable is the highest redo a checkpoint may name.
func (w *world) claimable(redo untorn.LSN) untorn.LSN {
	for _, x := range w.claims {
		redo = min(redo, x.at)
	}
	return redo
}

// withChanges is a record's data: payload with a list of changes at its end.
func withChanges(id uint64, n int, cs []change) []byte {
	b := payload(id, max(n, 16)+len(cs)*changeBytes)
	at := len(b) - len(cs)*changeBytes
	binary.LittleEndian.PutUint32(b[12:], uint32(len(cs)))
	for _, c := range cs {
		binary.LittleEndian.PutUint64(b[at:], c.uid)
		binary.LittleEndian.PutUint64(b[at+8:], c.no)
		binary.LittleEndian.PutUint64(b[at+16:], c.version)
		at += changeBytes
	}
	return b
}

// readChanges is its inverse.
func readChanges(b []byte) (cs []change) {
	if len(b) < 16 {
		return nil
	}
	n := int(binary.LittleEndian.Uint32(b[12:]))
	at := len(b) - n*changeBytes
	if n > 1000 || at < 16 {
		return nil
	}
	for range n {
		cs = append(cs, change{binary.LittleEndian.Uint64(b[at:]), binary.LittleEndian.Uint64(b[at+8:]), binary.LittleEndian.Uint64(b[at+16:])})
		at += changeBytes
	}
	return cs
}
