package super

import (
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

// EngineID is the random identity of an engine directory.
type EngineID = [16]byte

// EpochLSN is a position in the log as evidence compares it (I10): LSNs of a later epoch are
// later whatever their value.
type EpochLSN struct {
	Epoch uint64
	LSN   page.LSN
}

// Stamp is what a data file and super agree on: a file whose stamp is behind super's was restored
// from an older copy.
type Stamp struct {
	Epoch      uint64
	Checkpoint uint64
}

// Before reports whether s is older than t.
func (s Stamp) Before(t Stamp) bool {
	return s.Epoch < t.Epoch || s.Epoch == t.Epoch && s.Checkpoint < t.Checkpoint
}

// File is the catalogue's entry of one data file.
type File struct {
	ID          page.FileID
	Name        string
	Path        string // empty: data/ID in the engine directory
	PageSize    int
	Pages       uint64
	Start       int64 // byte offset of page 0
	Incarnation uint64
	Format      string
	Mode        string
	ForeignLSN  bool
	SmallPages  bool // pages smaller than the protocol block, asked for by name
	Device      bool
	// Images of its pages in the log count from here on: what is before is older than the last
	// checkpoint or open. NoImages: there are none that count, until the next open.
	Images page.LSN
}

// NoImages is a File.Images beyond every LSN.
const NoImages = page.LSN(1) << 63

// State is what super holds.
type State struct {
	Engine     EngineID
	Created    int64 // Unix time in seconds
	Block      int   // protocol block of the directory
	Epoch      uint64
	Clean      bool     // closed in order; nothing to recover
	Recoveries uint32   // begun since the last that finished
	Recovering page.LSN // how far the last of them had come in the log
	Stamp      Stamp
	Watermark  reclaim.Seq // no doublewrite copy at or below it is ever used (I7)
	Durable    EpochLSN    // the log was durable through here (I10)
	Redo       EpochLSN    // where replay begins
	CatalogLSN page.LSN    // engine records before it are in Files
	NextFile   page.FileID
	LogSegment int64 // bytes
	DWBBlock   int
	DWBBatch   int
	DWBRegions int
	Files      []File
	Payload    []byte   // the caller's, of the last checkpoint
	PageLSN    page.LSN // no page with a higher LSN had been accepted, at the last checkpoint or close
	Cuts       []Cut    // of the log
}

// Cut is a range of LSNs without records: those that start from From on and before To. Given is 0 for
// one the caller cut off; else the log was corrupt, and what started before it is lost.
type Cut struct {
	Epoch    uint64
	From, To page.LSN
	Given    page.LSN
}

// Clone returns a copy that shares nothing.
func (s *State) Clone() *State {
	c := *s
	c.Files = append([]File(nil), s.Files...)
	c.Payload = append([]byte(nil), s.Payload...)
	c.Cuts = append([]Cut(nil), s.Cuts...)
	return &c
}

// File finds a file by name.
func (s *State) File(name string) *File {
	for i := range s.Files {
		if s.Files[i].Name == name {
			return &s.Files[i]
		}
	}
	return nil
}

// ByID finds a file by id.
func (s *State) ByID(id page.FileID) *File {
	for i := range s.Files {
		if s.Files[i].ID == id {
			return &s.Files[i]
		}
	}
	return nil
}
