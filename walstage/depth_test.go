package walstage

import (
	"testing"
	"time"
)

func TestDepth(t *testing.T) {
	window := func(d *depth, size int, took time.Duration) {
		for range depthWindow {
			d.observe(size, took)
		}
	}
	d := depth{target: 1, max: 4}
	window(&d, 64<<10, 150*time.Microsecond)
	if d.target != 1 {
		t.Error("a fast disk needs one group in flight")
	}
	window(&d, 64<<10, 3*time.Millisecond)
	if d.target != 2 {
		t.Error("long latency is worth a try")
	}
	window(&d, 30<<10, 3*time.Millisecond)
	if d.target != 1 {
		t.Error("groups that shrink are not worth it")
	}
	for range depthCooldown {
		window(&d, 64<<10, 3*time.Millisecond)
		if d.target != 1 {
			t.Fatal("tried again at once")
		}
	}
	for want := 2; want <= 4; want++ {
		window(&d, 64<<10, 3*time.Millisecond)
		if d.target != want {
			t.Errorf("%d in flight, want %d", d.target, want)
		}
	}
	window(&d, 64<<10, 3*time.Millisecond)
	if d.target != 4 {
		t.Error("beyond the most there may be")
	}
	window(&d, 64<<10, 100*time.Microsecond)
	if d.target != 3 {
		t.Error("latency became short")
	}
}

func TestOptionsComplaints(t *testing.T) {
	d := newFakeDisk()
	if err := small(d).Validate(); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Options){
		"no FS":           func(o *Options) { o.FS = nil },
		"no ring":         func(o *Options) { o.Ring = nil },
		"no directory":    func(o *Options) { o.Dir = "" },
		"no id":           func(o *Options) { o.EngineID = [16]byte{} },
		"block":           func(o *Options) { o.Block = 5000 },
		"small segment":   func(o *Options) { o.SegmentBytes = 4096 },
		"odd segment":     func(o *Options) { o.SegmentBytes += 512 },
		"max bytes":       func(o *Options) { o.MaxBytes = o.SegmentBytes },
		"headroom":        func(o *Options) { o.Headroom = o.SegmentBytes },
		"group":           func(o *Options) { o.MaxGroup = int(o.SegmentBytes) },
		"odd group":       func(o *Options) { o.MaxGroup = 5000 },
		"in flight":       func(o *Options) { o.InFlight = -1 },
		"too many":        func(o *Options) { o.InFlight = 1000 },
		"unknown commit":  func(o *Options) { o.Commit = 9 },
		"huge block":      func(o *Options) { o.Block = 1 << 30 },
		"negative blocks": func(o *Options) { o.Block = -4096 },
	} {
		o := small(d)
		edit(&o)
		if o.Validate() == nil {
			t.Errorf("%s: no complaint", name)
		}
	}
}
