package stages

import (
	"fmt"
	"sort"
	"strings"
)

// Mutant is a set of deliberately broken rules. The zero value is the protocol. Only tests and
// the commands that prove the protocol set one (docs/faults.md says what each teaches); in the
// normal path it is a test of a zero field.
type Mutant uint64

// The mutants, each with the invariant it breaks.
const (
	SkipDWBFlush       Mutant = 1 << iota // I1: the doublewrite counts as flushed when it is written
	DestBeforeFlush                       // I1: destinations are written when the doublewrite is
	FlushNotCovering                      // I1, I2: a flush counts for writes still in flight
	SyncFileRange                         // I2: advisory writeback is taken for a destination flush
	ReuseEarly                            // I2: a region is retired when its pages go to their destinations
	WatermarkLag                          // I2: headers carry no watermark, and regions are reused all the same
	WALRuleOff                            // I3: copies are submitted before the log is durable
	AckEarly                              // I4: levels are acknowledged when a write has completed
	RetryFsync                            // I5: a failed flush is tried again
	ReorderPage                           // I9: writes of one page are not ordered
	StaleCopy                             // I7: copies at or below the watermark are used
	UnprovenCopy                          // I6: slots are used without matching their header
	RecoveryNoFlush                       // I8: recovery writes destinations over unflushed regions
	RecoveryTrusts                        // I8: recovery takes what it reads for durable
	SuperAllAtOnce                        // super: all four copies are written before a flush
	TruncateCorruption                    // I10: what is bad in the log is always taken for its tail
	TailReturns                           // I8: a discarded tail stays, and epoch and chain are not checked
	SubBlockGroup                         // log groups end on sectors, not on protocol blocks
	NoDirSync                             // directories are never flushed
	ZombieWrites                          // I11: only the lock file is locked
	ImageSkipped                          // fullpage: one page too few logs an image after a Checkpoint call
	ImageRace                             // fullpage: an image and its bit are not one step
	LSNFirst                              // a page's LSN is believed before its checksum
	AsyncUnbounded                        // commit policy async: appends pass over its bounds
	FollowEarly                           // I4: a subscriber is handed records that are written, not flushed
	BackupRedo                            // a backup claims that a replay of it begins at its end
	RecoverReuses                         // a log given up from a point on goes on in LSNs that were given up
)

var mutantNames = map[string]Mutant{
	"skip-dwb-flush": SkipDWBFlush, "dest-before-flush": DestBeforeFlush,
	"flush-not-covering": FlushNotCovering, "sync-file-range": SyncFileRange,
	"reuse-early": ReuseEarly, "watermark-lag": WatermarkLag, "wal-rule-off": WALRuleOff,
	"ack-early": AckEarly, "retry-fsync": RetryFsync, "reorder-page": ReorderPage,
	"stale-copy": StaleCopy, "unproven-copy": UnprovenCopy, "recovery-no-flush": RecoveryNoFlush,
	"recovery-trusts-reads": RecoveryTrusts, "super-all-at-once": SuperAllAtOnce,
	"truncate-corruption": TruncateCorruption, "tail-returns": TailReturns,
	"sub-block-group": SubBlockGroup, "no-dir-sync": NoDirSync, "zombie-writes": ZombieWrites,
	"lsn-before-checksum": LSNFirst, "async-unbounded": AsyncUnbounded,
	"image-skipped": ImageSkipped, "image-race": ImageRace,
	"follow-early": FollowEarly, "backup-redo": BackupRedo, "recover-reuses": RecoverReuses,
}

// Has reports whether x is in the set.
func (m Mutant) Has(x Mutant) bool { return m&x != 0 }

// MutantNames lists the names ParseMutant takes, sorted.
func MutantNames() []string {
	var n []string
	for k := range mutantNames {
		n = append(n, k)
	}
	sort.Strings(n)
	return n
}

// ParseMutant finds a mutant by name.
func ParseMutant(name string) (Mutant, error) {
	if m, ok := mutantNames[name]; ok {
		return m, nil
	}
	return 0, fmt.Errorf("unknown mutant %q; there are %s", name, strings.Join(MutantNames(), ", "))
}
