package explore

import (
	"encoding/binary"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/pageimage"
)

// What the log holds of pages: in modes fullpage and shadow the end of a log that is cut short takes
// images and changes with it.

// images reports whether some file of a run may have its second copies in the log.
func (p *profile) images() bool {
	for _, m := range p.modes {
		if logsImages(m) {
			return true
		}
	}
	return logsImages(p.mode)
}

// imageAt is a page image in the log, by where its record ends.
type imageAt struct {
	page pageName
	end  untorn.LSN
}

// images lists the page images of the groups on a medium (walstage/doc.go has the frames).
func (m *medium) images() (list []imageAt) {
	const groupHeader, frame = 112, 8
	for _, g := range m.groups {
		b := m.files[g.file]
		if g.length < groupHeader || g.off+g.length > int64(len(b)) {
			continue
		}
		b = b[g.off : g.off+g.length]
		left := int(binary.LittleEndian.Uint32(b[56:]))
		for at := groupHeader; left >= frame && at+frame <= len(b); {
			n := int(binary.LittleEndian.Uint32(b[at:]))
			if n == 0 || n > left-frame || at+frame+n > len(b) {
				break // a tear: the group does not count
			}
			if b[at+4] == pageimage.Kind {
				if x, err := pageimage.Decode(b[at+frame : at+frame+n]); err == nil {
					list = append(list, imageAt{pageName{uint32(x.Page.File), uint64(x.Page.No)}, untorn.LSN(g.first) + untorn.LSN(at+frame+n)})
				}
			}
			at, left = at+frame+n, left-frame-n
		}
	}
	return list
}

// allowImages excuses, where the log may end early, what its end had of pages: a page may be torn
// whose image is gone, and older by the images and changes that are.
func (m *medium) allowImages(let *pass, key func(pageName) pageKey, seen *observed) {
	for _, x := range m.images() {
		if x.end > let.proven {
			let.damaged[key(x.page)], let.olderOf[key(x.page)] = true, true
		}
	}
	for _, r := range seen.records {
		for _, c := range r.changes {
			if r.end > let.proven {
				let.olderOf[pageKey{c.uid, c.no}] = true
			}
		}
	}
}
