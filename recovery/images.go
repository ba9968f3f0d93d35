package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// Records hands out the log's records that start at or after from, in order, until each fails.
type Records func(ctx context.Context, from page.LSN, each func(start page.LSN, kind uint8, data []byte) error) error

// Logged are the page images of the log: of each page the newest one.
type Logged struct {
	// Codecs are what the program can read.
	Codecs  pageimage.Codecs
	Records int64
	Bytes   int64 // of records
	byPage  map[page.ID]*logged
	order   []page.ID
}

// logged is the newest image of a page, by where its record starts.
type logged struct {
	start   page.LSN
	lsn     page.LSN
	crc     uint32
	len     int
	flags   uint16
	history []imageKey // all of them, oldest first; kept for files in mode shadow
}

// imageKey is what two sources of a page can be compared by.
type imageKey struct {
	lsn page.LSN
	crc uint32
}

// Add takes note of an image of the log that counts. Images come in the order of the log. keep
// remembers the older ones, too. A codec that is not among Codecs is an error: nothing may be decided
// without it.
func (l *Logged) Add(start page.LSN, data []byte, keep func(page.FileID) (counts, history bool)) error {
	m, err := pageimage.Decode(data)
	if err != nil {
		return err
	}
	counts, history := keep(m.Page.File)
	if !counts {
		return nil
	}
	if m.Codec != pageimage.Plain {
		if _, err := l.Codecs.Find(m.Codec); err != nil {
			return err
		}
	}
	l.Records++
	l.Bytes += int64(len(data))
	if l.byPage == nil {
		l.byPage = map[page.ID]*logged{}
	}
	x := l.byPage[m.Page]
	if x == nil {
		x = &logged{}
		l.byPage[m.Page] = x
		l.order = append(l.order, m.Page)
	}
	x.start, x.lsn, x.crc, x.len, x.flags = start, m.LSN, m.CRC, m.Len, m.Flags
	if history {
		x.history = append(x.history, imageKey{m.LSN, m.CRC})
	}
	return nil
}

func (l *Logged) find(id page.ID) *logged {
	if l == nil {
		return nil
	}
	return l.byPage[id]
}

// image is what Decide is told of a page's newest image; nil if there is none.
func (x *logged) image(f *stages.File) *Image {
	if x == nil || x.len != f.PageSize {
		return nil
	}
	return &Image{
		LSN: x.lsn, CRC: x.crc, Always: x.flags&pageimage.Always != 0,
		SameLSN: f.Format.Detects() && !f.ForeignLSN && x.flags&pageimage.Foreign == 0,
	}
}

// others lists the pages that skip does not, in the order of their places: reads of them go on in
// one direction.
func (l *Logged) others(skip func(page.ID) bool) (list []page.ID) {
	for _, id := range l.order {
		if !skip(id) {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, func(a, b page.ID) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.No, b.No))
	})
	return list
}

// restoreImages writes the images decided for over their destinations, in the order of the log.
func (p *Plan) restoreImages(ctx context.Context, writes *lanes, dirty map[*stages.File]bool) error {
	if len(p.fromLog) == 0 {
		return nil
	}
	from := page.LSN(0)
	for start := range p.fromLog {
		if from == 0 || start < from {
			from = start
		}
	}
	left := len(p.fromLog)
	scratch := make([]byte, page.MaxSize)
	err := p.in.Records(ctx, from, func(start page.LSN, kind uint8, data []byte) error {
		x, ok := p.fromLog[start]
		if !ok {
			return nil
		}
		err := p.write(writes, x, dirty, func(buf []byte) error {
			m, err := pageimage.Decode(data)
			if err == nil {
				err = m.Restore(buf, scratch, p.in.Images.Codecs)
			}
			if err == nil && (kind != pageimage.Kind || m.Page != (page.ID{File: x.file.ID, No: x.no})) {
				err = fmt.Errorf("%w: it is of page %s", pageimage.ErrInvalid, m.Page)
			}
			if err != nil {
				return fmt.Errorf("image of page %d of %s at LSN %d: %w", x.no, x.file.Called(), start, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if left--; left == 0 {
			return errStop
		}
		return nil
	})
	if err == errStop {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%d page images were in the log and are there no more", left)
	}
	return err
}

// errStop ends a walk over the log that has found all it was looking for.
var errStop = errors.New("that was all")

// rewrite writes destinations that were decided for again, as they are: what was read may be known to
// the page cache alone, after a flush that failed (I8). Should the write tear one, the next recovery
// finds it damaged and takes the image.
func (p *Plan) rewrite(writes *lanes, dirty map[*stages.File]bool) error {
	for _, x := range p.again {
		err := p.write(writes, x, dirty, func(b []byte) error {
			if err := p.in.Ring.Do(&ring.Op{Kind: ring.Read, File: x.file.IO, Off: x.file.Offset(x.no), Buf: b}); err != nil {
				return fmt.Errorf("reading page %d of %s again: %w", x.no, x.file.Called(), err)
			}
			if crc := page.ImageCRC(b); crc != x.crc {
				return fmt.Errorf("page %d of %s reads differently a second time: CRC %08x, then %08x", x.no, x.file.Called(), x.crc, crc)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
