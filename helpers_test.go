package untorn_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/walstage"
)

func backendOf(s string) ring.Backend { return ring.Backend(s) }

var ctx = context.Background()

// onSim are options for an engine on a simulated disk.
func onSim(d *sim.Disk) untorn.Options {
	return untorn.Options{
		Dir: "/db", SegmentBytes: 256 << 10, BatchBytes: 64 << 10, Memory: 2 << 20, LockWait: -1,
		Commit: walstage.CommitFlush, FS: d.FS(), Unsafe: true,
		NewRing: func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil },
	}
}

// on are the same options on another simulated disk, a crashed one for instance.
func on(o untorn.Options, d *sim.Disk) untorn.Options {
	o.FS = d.FS()
	o.NewRing = func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil }
	return o
}

func second(_, _ untorn.LSN, err error) error         { return err }
func second2(_ untorn.Record, err error) error        { return err }
func opened(_ *untorn.Engine, err error) error        { return err }
func reopen(o untorn.Options) (*untorn.Engine, error) { return untorn.Open(ctx, o) }

// dirFiles are the files of a simulated engine directory below a folder.
func dirFiles(t *testing.T, d *sim.Disk, dir string) []string {
	list, err := d.FS().ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var n []string
	for _, x := range list {
		n = append(n, filepath.Join(dir, x.Name))
	}
	return n
}
