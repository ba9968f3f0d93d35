package hwprobe

import "fmt"

// Kinds of writer a Verdict tells apart.
const (
	WriterAtomic   = "rwf-atomic" // every page write carries RWF_ATOMIC: the kernel enforces it
	WriterDirect   = "o-direct"   // whole pages with plain O_DIRECT writes, as InnoDB does
	WriterBuffered = "buffered"   // through the page cache, as PostgreSQL does
)

// WriterVerdict is what the facts mean for one kind of writer. Only WriterAtomic can be proved
// here: for the others Answer is never Relaxed, and Promise says who promises what.
type WriterVerdict struct {
	Writer  string `json:"writer"`
	Answer  Answer `json:"answer"`
	Promise string `json:"promise"`
	Splits  string `json:"splits,omitempty"` // what can still split a write
	Keep    string `json:"keep,omitempty"`   // in the database's own words
}

const (
	splitsDirect = "any plain write: at an extent, a fragment of memory, max_sectors or a " +
		"stripe the kernel splits it, and says nothing"
	splitsCached = "writeback works block by block, in any order, and may catch a page half changed"
	keepInnoDB   = "leave innodb_doublewrite=ON (DETECT_ONLY finds a torn page and cannot repair it)"
	keepPostgres = "leave full_page_writes=on"
)

func writers(d *decision, v Verdict) []WriterVerdict {
	direct := WriterVerdict{Writer: WriterDirect, Answer: Required, Splits: splitsDirect,
		Keep:    keepInnoDB,
		Promise: "nobody promises that a plain write reaches the drive as one command"}
	cached := WriterVerdict{Writer: WriterBuffered, Answer: Required, Splits: splitsCached,
		Keep:    keepPostgres,
		Promise: "nobody promises anything about a page written through the page cache"}
	atomic := WriterVerdict{Writer: WriterAtomic, Answer: v.Answer, Promise: v.Reason}
	if v.Answer == Relaxed {
		atomic.Splits = "nothing: the kernel refuses what it would have to split"
		direct.Promise = "the drive keeps one command whole, but only RWF_ATOMIC stops the " +
			"kernel from making two of it"
	}
	page := size(d.p)
	switch fs := d.r.fs().Or(""); {
	case fs == "zfs" || fs == "btrfs" && !d.hasSuper("nodatacow"):
		what := "never overwrites in place; with a record size of at least the page, a page " +
			"is replaced whole"
		direct.Answer, direct.Promise = Unknown,
			fmt.Sprintf("%s %s: its promise, and not checked here", fs, what)
		cached.Answer, cached.Promise = Unknown, direct.Promise
		direct.Splits = "a record smaller than " + page + "; btrfs: files with nodatacow, " +
			"and its 4 KiB blocks, which promise no page"
		cached.Splits = direct.Splits
		if fs == "zfs" {
			direct.Splits = "a record size below " + page + " (zfs get recordsize)"
			cached.Splits = direct.Splits
		}
	case fs == "ext4" && d.cloudPromise() >= d.p && d.r.File.UnitMax.Or(0) >= d.p:
		direct.Answer = Unknown
		direct.Promise = fmt.Sprintf("Amazon promises %s naturally aligned on this volume; "+
			"ext4 bigalloc keeps clusters aligned; the kernel enforces neither", page)
	case d.cloudPromise() >= d.p:
		direct.Answer = Unknown
		direct.Promise = fmt.Sprintf("Amazon promises %s naturally aligned on this volume; "+
			"that the kernel sends a page as one aligned command "+
			"(its advice: ext4 -O bigalloc -C %d, O_DIRECT) is not checked here", page, d.p)
	}
	return []WriterVerdict{atomic, direct, cached}
}
