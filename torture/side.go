package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/untorn/untorn"
)

// sideFiles grows the main file, and makes, renames and removes others.
type sideFiles struct {
	c     *child
	rng   *rand.Rand
	pages map[uint32][]seenPage // of the files there are
	made  uint32
}

const maxSideFiles = 4

// openMain opens the main file, or makes it in a new directory.
func (s *sideFiles) openMain(ctx context.Context) (*untorn.File, error) {
	if _, ok := s.pages[mainTag]; ok {
		return s.c.e.OpenFile(ctx, fileName(mainTag, false), s.c.j.opening())
	}
	f, err := s.create(ctx, mainTag, s.c.j.Shape.Pages)
	for s.c.full(err) { // until there is room
		f, err = s.create(ctx, mainTag, s.c.j.Shape.Pages)
	}
	if err == nil {
		s.pages[mainTag] = make([]seenPage, s.c.j.Shape.Pages)
	}
	return f, err
}

func (s *sideFiles) create(ctx context.Context, tag uint32, pages uint64) (*untorn.File, error) {
	s.c.to.emit(event{kind: evFile, tag: tag, a: pages})
	f, err := s.c.e.OpenFile(ctx, fileName(tag, false), untorn.FileOptions{
		Create: true, PageSize: s.c.j.Shape.PageSize, Pages: pages, Mode: untorn.Mode(s.c.j.Mode),
		AtomicOverride: s.c.j.Override,
	})
	if err != nil {
		return nil, s.c.refused(evFile, tag, fmt.Errorf("create: %w", err))
	}
	s.c.to.emit(event{kind: evFileAck, tag: tag})
	return f, nil
}

func (s *sideFiles) loop(ctx context.Context, main *untorn.File) error {
	for {
		s.c.pause(time.Duration(2+s.rng.IntN(80)) * time.Millisecond)
		if s.c.stopped() {
			return nil
		}
		var err error
		switch x := s.rng.IntN(10); {
		case x < 3:
			err = s.grow(ctx, main)
		case x < 7:
			err = s.make(ctx)
		case x < 8:
			err = s.rename(ctx)
		default:
			err = s.remove(ctx)
		}
		if err != nil && !s.c.full(err) {
			return err
		}
	}
}

func (s *sideFiles) grow(ctx context.Context, f *untorn.File) error {
	n := f.Pages() + 1 + s.rng.Uint64N(16)
	if n > s.c.j.Shape.MaxPages {
		return nil
	}
	s.c.to.emit(event{kind: evGrow, tag: mainTag, a: n})
	if err := f.Grow(ctx, n); err != nil {
		return s.c.refused(evGrow, mainTag, fmt.Errorf("grow: %w", err))
	}
	s.c.to.emit(event{kind: evGrowAck, tag: mainTag, a: n})
	return nil
}

// make creates a file and writes some of its pages.
func (s *sideFiles) make(ctx context.Context) error {
	if len(s.pages) > maxSideFiles {
		return s.remove(ctx)
	}
	s.made++
	tag, pages := s.c.j.Round<<8|s.made&0xff, 1+s.rng.Uint64N(24)
	f, err := s.create(ctx, tag, pages)
	if err != nil {
		return err
	}
	s.pages[tag] = make([]seenPage, pages)
	w := newPageWorker(s.c, f, tag, s.pages[tag], 0, 1)
	for range 1 + s.rng.IntN(4) {
		if err := w.write(ctx, 1+s.rng.IntN(8)); err != nil {
			return err
		}
	}
	if err := w.read(ctx); err != nil {
		return err
	}
	return w.drain(ctx, 0)
}

// any picks one of the side files there are.
func (s *sideFiles) any() (tag uint32, name string, ok bool) {
	names := s.c.e.Files()
	s.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		if tag, _, ok := parseName(name); ok && tag != mainTag {
			return tag, name, true
		}
	}
	return 0, "", false
}

func (s *sideFiles) rename(ctx context.Context) error {
	tag, name, ok := s.any()
	if !ok || name != fileName(tag, false) {
		return nil
	}
	s.c.to.emit(event{kind: evRename, tag: tag})
	if err := s.c.e.Rename(ctx, name, fileName(tag, true)); err != nil {
		return s.c.refused(evRename, tag, fmt.Errorf("rename: %w", err))
	}
	s.c.to.emit(event{kind: evRenameAck, tag: tag})
	return nil
}

func (s *sideFiles) remove(ctx context.Context) error {
	tag, name, ok := s.any()
	if !ok {
		return nil
	}
	s.c.to.emit(event{kind: evRemove, tag: tag})
	if err := s.c.e.Remove(ctx, name); err != nil {
		return s.c.refused(evRemove, tag, fmt.Errorf("remove: %w", err))
	}
	delete(s.pages, tag)
	s.c.to.emit(event{kind: evRemoveAck, tag: tag})
	return nil
}
