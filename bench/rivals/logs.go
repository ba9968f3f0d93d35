//go:build linux

package main

import (
	"encoding/binary"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	tidwall "github.com/tidwall/wal"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

const mostRecords = 512 // in one group of the wrapper

type etcdLog struct {
	w     *wal.WAL
	ents  []*raftpb.Entry
	state raftpb.HardState
	index uint64
}

func openEtcd(dir string, _ *load) (contender, error) {
	w, err := wal.Create(zap.NewNop(), filepath.Join(dir, "wal"), nil)
	if err != nil {
		return nil, err
	}
	return newQueue(&etcdLog{w: w}, mostRecords), nil
}

// commitAll saves entries, which makes Save sync.
func (e *etcdLog) commitAll(jobs []*job) error {
	for len(e.ents) < len(jobs) {
		term := uint64(1)
		e.ents = append(e.ents, &raftpb.Entry{Term: &term, Index: new(uint64)})
	}
	for i, j := range jobs {
		e.index++
		*e.ents[i].Index, e.ents[i].Data = e.index, j.vals[0]
	}
	return e.w.Save(&e.state, e.ents[:len(jobs)])
}

func (e *etcdLog) close() error { return e.w.Close() }

type raftLog struct {
	w     *raftwal.WAL
	logs  []*raft.Log
	index uint64
}

func openRaftWAL(dir string, _ *load) (contender, error) {
	w, err := raftwal.Open(dir, raftwal.WithSegmentSize(64<<20))
	if err != nil {
		return nil, err
	}
	return newQueue(&raftLog{w: w}, mostRecords), nil
}

func (r *raftLog) commitAll(jobs []*job) error {
	for len(r.logs) < len(jobs) {
		r.logs = append(r.logs, &raft.Log{})
	}
	for i, j := range jobs {
		r.index++
		*r.logs[i] = raft.Log{Index: r.index, Term: 1, Data: j.vals[0]}
	}
	return r.w.StoreLogs(r.logs[:len(jobs)])
}

func (r *raftLog) close() error { return r.w.Close() }

type tidwallLog struct {
	l     *tidwall.Log
	b     tidwall.Batch
	index uint64
}

func openTidwall(dir string, _ *load) (contender, error) {
	o := *tidwall.DefaultOptions
	o.SegmentSize, o.NoCopy = 64<<20, true
	l, err := tidwall.Open(filepath.Join(dir, "log"), &o)
	if err != nil {
		return nil, err
	}
	return newQueue(&tidwallLog{l: l}, mostRecords), nil
}

func (t *tidwallLog) commitAll(jobs []*job) error {
	t.b.Clear()
	for _, j := range jobs {
		t.index++
		t.b.Write(t.index, j.vals[0])
	}
	return t.l.WriteBatch(&t.b)
}

func (t *tidwallLog) close() error { return t.l.Close() }

// key is the next record's, or a page's.
func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
