//go:build linux

package main

// job is one caller's unit of work: a record (one value, no key), or a batch of pages.
type job struct {
	keys []uint64 // page numbers, distinct; nil for a record
	vals [][]byte // not changed until commit has returned
	done chan error
}

// contender makes jobs durable. commit may be called by many goroutines, and returns when the job is
// durable.
type contender interface {
	commit(*job) error
	close() error
}

// entrant is a contender that can be opened.
type entrant struct {
	name string
	// about is how it was set up, for the table.
	about string
	// open makes it anew in an empty directory, ready for load l.
	open func(dir string, l *load) (contender, error)
}

func records() []entrant {
	return []entrant{
		{"untorn", "group commit of its own, segments zeroed before use", openUntornLog},
		{"hand-written", "group commit, one zeroed file, O_DIRECT, RWF_DSYNC", openHandLog},
		{"pebble writer", "record.LogWriter on a recycled file, fdatasync", openPebbleWriter},
		{"raft-wal", "64 MiB segments, group-commit wrapper", openRaftWAL},
		{"etcd wal", "64 MB segments, group-commit wrapper", openEtcd},
		{"pebble", "a DB, synced commits, 256 MiB memtable", openPebble},
		{"tidwall/wal", "64 MiB segments, group-commit wrapper", openTidwall},
		{"bbolt", "no freelist sync, group-commit wrapper", openBolt},
		{"SQLite", "WAL, synchronous=FULL, group-commit wrapper", openSQLite},
	}
}

func pages() []entrant {
	return []entrant{
		{"untorn", "doublewrite, acknowledged Durable", openUntornPages},
		{"plain doublewrite", "O_DIRECT, one write and flush, pages in parallel, flush; group-commit wrapper", openPlain},
		{"pebble", "a DB, synced commits, 256 MiB memtable", openPebble},
		{"SQLite", "WAL, synchronous=FULL, 4 KiB pages, group-commit wrapper", openSQLite},
		{"bbolt", "no freelist sync, group-commit wrapper", openBolt},
	}
}
