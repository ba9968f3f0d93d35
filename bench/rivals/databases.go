//go:build linux

package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"
	_ "modernc.org/sqlite" // the driver
)

// keysOf are the keys of a job: its pages, or the next one.
func keysOf(j *job, last *uint64) []uint64 {
	if j.keys != nil {
		return j.keys
	}
	return []uint64{atomic.AddUint64(last, 1)}
}

// pebbleDB commits by itself: many callers share one flush.
type pebbleDB struct {
	db   *pebble.DB
	last uint64
}

func openPebble(dir string, _ *load) (contender, error) {
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{
		MemTableSize: 256 << 20, MemTableStopWritesThreshold: 4, Logger: quiet{},
		BytesPerSync: 1 << 20, L0CompactionThreshold: 8, L0StopWritesThreshold: 64,
	})
	if err != nil {
		return nil, err
	}
	return &pebbleDB{db: db}, nil
}

func (p *pebbleDB) commit(j *job) error {
	b := p.db.NewBatch()
	defer b.Close()
	for i, k := range keysOf(j, &p.last) {
		if err := b.Set(key(k), j.vals[i], nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (p *pebbleDB) close() error { return p.db.Close() }

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, a ...any) { panic(f) }

// pebbleWriter is pebble's log alone, on a file that was written before, as its recycled logs are.
type pebbleWriter struct {
	mu   sync.Mutex
	w    *record.LogWriter
	sem  chan struct{}
	file *os.File
	left int
}

// recycled is a file without Close, which a log's end would call, flushing data only.
type recycled struct{ f *os.File }

func (r recycled) Write(b []byte) (int, error) { return r.f.Write(b) }
func (r recycled) Sync() error                 { return datasync(r.f) }

func openPebbleWriter(dir string, _ *load) (contender, error) {
	f, err := written(filepath.Join(dir, "log"), 256<<20, 0)
	if err != nil {
		return nil, err
	}
	p := &pebbleWriter{file: f, sem: make(chan struct{}, record.SyncConcurrency)}
	return p, p.begin()
}

// begin starts a log in the file, at its beginning.
func (p *pebbleWriter) begin() error {
	if _, err := p.file.Seek(0, 0); err != nil {
		return err
	}
	p.left = 200 << 20
	p.w = record.NewLogWriter(recycled{p.file}, 1, record.LogWriterConfig{
		WALFsyncLatency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fsync"}),
		QueueSemChan:    p.sem, WriteWALSyncOffsets: func() bool { return false },
	})
	return nil
}

func (p *pebbleWriter) commit(j *job) error {
	var wg sync.WaitGroup
	var err error
	wg.Add(1)
	p.sem <- struct{}{}
	p.mu.Lock()
	if p.left -= len(j.vals[0]); p.left < 0 {
		// Close waits for what was queued; the callers that wait are told by it.
		if err := p.w.Close(); err != nil {
			p.mu.Unlock()
			return err
		}
		if err := p.begin(); err != nil {
			p.mu.Unlock()
			return err
		}
	}
	_, e := p.w.SyncRecord(j.vals[0], &wg, &err)
	p.mu.Unlock()
	if e != nil {
		return e
	}
	wg.Wait()
	return err
}

func (p *pebbleWriter) close() error { return closeAll(p.w.Close, p.file.Close) }

type boltDB struct {
	db   *bbolt.DB
	last uint64
	seen map[uint64][]byte
}

func openBolt(dir string, l *load) (contender, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 4 << 30,
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = 64 << 20
	b := &boltDB{db: db, seen: map[uint64][]byte{}}
	err = db.Update(func(tx *bbolt.Tx) error {
		bk, err := tx.CreateBucket([]byte("b"))
		if err == nil && l.batch == 0 {
			bk.FillPercent = 1
		}
		return err
	})
	return newQueue(b, max(mostRecords, l.batch)), err
}

func (b *boltDB) commitAll(jobs []*job) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		bk := tx.Bucket([]byte("b"))
		if jobs[0].keys == nil {
			bk.FillPercent = 1 // records come in order
			for _, j := range jobs {
				b.last++
				if err := bk.Put(key(b.last), j.vals[0]); err != nil {
					return err
				}
			}
			return nil
		}
		for k, v := range lastOf(jobs, b.seen) {
			if err := bk.Put(key(k), v); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *boltDB) close() error { return b.db.Close() }

type sqlite struct {
	db   *sql.DB
	last uint64
	seen map[uint64][]byte
}

func openSQLite(dir string, l *load) (contender, error) {
	name := "file:" + filepath.Join(dir, "sqlite") + "?_pragma=page_size(4096)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(16384)&_pragma=cache_size(-65536)&_txlock=immediate"
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("create table p (no integer primary key, data blob not null)"); err != nil {
		return nil, err
	}
	return newQueue(&sqlite{db: db, seen: map[uint64][]byte{}}, max(mostRecords, l.batch)), nil
}

func (s *sqlite) commitAll(jobs []*job) (err error) {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	put, err := tx.Prepare("insert into p values (?, ?) on conflict (no) do update set data = excluded.data")
	if err != nil {
		return err
	}
	do := func(k uint64, v []byte) {
		if err == nil {
			_, err = put.Exec(int64(k), v)
		}
	}
	if jobs[0].keys == nil {
		for _, j := range jobs {
			s.last++
			do(s.last, j.vals[0])
		}
	} else {
		for k, v := range lastOf(jobs, s.seen) {
			do(k, v)
		}
	}
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

func (s *sqlite) close() error { return s.db.Close() }
