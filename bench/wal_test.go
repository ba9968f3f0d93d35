package bench

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn"
)

func TestWALShapes(t *testing.T) {
	for _, c := range []struct {
		commit          string
		clients, record int
		want            []walShape
		kind            string
	}{
		{"sync", 1, 1024, []walShape{{1, 4096, 1}}, boundCallers},
		{"sync", 3, 1024, []walShape{{3, 4096, 1}, {2, 4096, 2}}, boundCallers},
		{"sync", 64, 1024, []walShape{{64, 65536, 1}, {32, 32768, 2}, {16, 16384, 4}}, boundCallers},
		{"sync", 64, 256 << 10, []walShape{{4, 1 << 20, 1}, {4, 1 << 20, 2}, {4, 1 << 20, 4}}, boundCallers}, // no group is larger
		{"async", 1, 1000, []walShape{{1048, 1 << 20, 2}, {1048, 1 << 20, 4}}, boundStream},
		{"never", 1, 1024, []walShape{{1024, 1 << 20, 4}}, boundLazy},
	} {
		got, kind := walShapes(&WALConfig{Commit: c.commit, Clients: c.clients, RecordBytes: c.record}, 4096)
		if kind != c.kind || len(got) != len(c.want) {
			t.Errorf("%+v: %v, %q", c, got, kind)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%+v: %v, want %v", c, got, c.want)
			}
		}
	}
}

// TestRecordTime: the parts are a call's time, whatever the means of the others say.
func TestRecordTime(t *testing.T) {
	for _, c := range []struct {
		commit                  string
		mean, late, room, group float64
		want                    map[string]float64
	}{
		{"sync", 100, 0, 0, 60, map[string]float64{spentGroup: 60, spentBehind: 40}},
		{"sync", 100, 30, 20, 40, map[string]float64{spentTurn: 30, spentRoom: 20, spentGroup: 40, spentBehind: 10}},
		{"sync", 100, 0, 0, 160, map[string]float64{spentGroup: 100}},
		{"sync", 100, 120, 20, 40, map[string]float64{spentTurn: 100}},
		{"async", 5, 0, 1, 100, map[string]float64{spentRoom: 1, spentAppend: 4}},
		{"sync", 0, 0, 0, 0, nil},
	} {
		sum := 0.0
		got := recordTime(c.commit, c.mean, c.late, c.room, c.group)
		for _, p := range got {
			if sum += p.Share; p.Micros != c.want[p.Where] {
				t.Errorf("%+v: %+v", c, p)
			}
		}
		if len(got) != len(c.want) || len(got) > 0 && math.Abs(sum-1) > 1e-9 {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestWALOpenLoopAndOverload(t *testing.T) {
	c := WALConfig{Dir: t.TempDir(), Clients: 4, RecordBytes: 200, Warmup: -1, BoundTime: 10 * time.Millisecond}
	open := c
	open.Rate, open.Verify = 200, true
	begin := time.Now()
	r := patientWAL(t, open)
	// However late they are, callers append no more than was due since the schedule began.
	if due := uint64(200*time.Since(begin).Seconds()) + uint64(c.Clients) + 1; r.Verify.Written > due {
		t.Errorf("%d records were appended, %d were due", r.Verify.Written, due)
	}
	if r.StartLag == nil || r.StartLag.Count == 0 {
		t.Errorf("an open loop of %d records; begun late by %+v", r.Records, r.StartLag)
	}
	if r.Bound <= 0 || r.Efficiency <= 0 || r.Bottleneck == "" || r.LogFiles == 0 || r.LogBuffers == 0 {
		t.Errorf("%+v", r)
	}
	calls, at := int64(0), 0.0
	for _, s := range r.Series {
		calls, at = calls+int64(s.Appends), s.Second
	}
	if calls != r.Latency.Count || math.Abs(at-r.Seconds) > 1e-6 {
		t.Errorf("the series has %d appends in %.6f s, the interval %d in %.6f", calls, at, r.Latency.Count, r.Seconds)
	}
	c.Overload = 300
	r = patientWAL(t, c)
	if o := r.Overload; o == nil || o.Capacity <= 0 || math.Abs(o.Offered/o.Capacity-3) > 1e-9 || o.Taken <= 0 || o.Behind <= 0 {
		t.Errorf("%+v", o)
	}
	empty(t, c.Dir)
}

// patientWAL is RunWAL with more time where a busy machine acknowledged nothing in so short a while.
func patientWAL(t *testing.T, c WALConfig) *WALResult {
	t.Helper()
	for _, d := range []time.Duration{200 * time.Millisecond, time.Second, 10 * time.Second} {
		c.Duration = d
		r, err := RunWAL(t.Context(), c, nil)
		if err == nil {
			return r
		}
		if !errors.Is(err, ErrNothing) {
			t.Fatal(err)
		}
	}
	t.Fatal("nothing was acknowledged in ten seconds")
	return nil
}

func TestSweepWAL(t *testing.T) {
	c := WALSweepConfig{
		Base:    WALConfig{Dir: filepath.Join(t.TempDir(), "made"), Warmup: -1, BoundTime: -1, Verify: true},
		Commits: []string{"sync", "never"}, Over: "record", Values: []int{100, 5000},
	}
	var r *WALSweepResult
	for _, d := range []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second} {
		var err error
		c.Base.Duration = d
		if r, err = SweepWAL(t.Context(), c, nil); err != nil && !errors.Is(err, ErrNothing) {
			t.Fatal(err)
		}
		if r != nil && len(r.Points) == 4 { // a busy machine may acknowledge nothing in so short a while
			break
		}
	}
	if r == nil || len(r.Points) != 4 || r.Points[3].Value != 5000 || r.Points[3].Run.Commit != "never" || r.Meaning == "" {
		t.Fatalf("%+v", r)
	}
	for _, p := range r.Points {
		if p.Run.Records == 0 || !p.Run.Verify.OK || p.Run.Bound != 0 {
			t.Errorf("%s at %d: %+v", p.Run.Commit, p.Value, p.Run)
		}
	}
	empty(t, filepath.Dir(c.Base.Dir))
	for _, bad := range []WALSweepConfig{
		{Over: "x", Values: []int{1}}, {Over: "clients"}, {Over: "clients", Values: []int{1, 1}}, {Over: "clients", Values: []int{0}},
		{Commits: []string{"x"}}, {Commits: []string{"sync", "sync"}}, {Values: []int{1}}, {Over: "clients", Values: make([]int, 40)},
	} {
		if err := bad.Validate(); !errors.Is(err, ErrUsage) || strings.Contains(err.Error(), "=0") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestVerifyNoticesLostRecords: of one client all, some or the last are gone, or are not what it wrote.
func TestVerifyNoticesLostRecords(t *testing.T) {
	const bytes = 64
	type rec struct {
		client int
		no     uint64
	}
	whole := []rec{{0, 1}, {1, 1}, {0, 2}, {0, 3}, {1, 2}} // at LSN 100, 200, ...
	without := func(drop ...int) (kept []rec) {
		for i, r := range whole {
			if !slices.Contains(drop, i) {
				kept = append(kept, r)
			}
		}
		return kept
	}
	for _, c := range []struct {
		name    string
		records []rec
		redo    untorn.LSN
		wrong   int
	}{
		{"all there", whole, 0, 0},
		{"one client's are gone", without(1, 4), 0, 1},
		{"one client's are before the checkpoint", []rec{{1, 2}}, 500, 0},
		{"and so they are not quite", []rec{{1, 2}}, 400, 1},
		{"the last is gone", without(3), 0, 1},
		{"a gap", without(2), 0, 1},
		{"twice", []rec{{0, 1}, {1, 1}, {0, 2}, {0, 2}, {0, 3}, {1, 2}}, 0, 1},
		{"nothing", nil, 0, 2},
	} {
		s := &walSession{c: WALConfig{RecordBytes: bytes}}
		for id := range 2 {
			k := &appender{rec: walRecord(id, 0, 0, make([]byte, bytes))}
			for i, r := range whole {
				if r.client == id {
					k.last, k.at = r.no, untorn.LSN(100*(i+1))
				}
			}
			s.clients = append(s.clients, k)
		}
		v := &Verified{}
		err := s.check(v, func(yield func(untorn.Record, error) bool) {
			for _, r := range c.records {
				if !yield(untorn.Record{Data: walRecord(r.client, r.no, 0, make([]byte, bytes))}, nil) {
					return
				}
			}
		}, c.redo)
		if err != nil || int(v.WrongCount) != c.wrong {
			t.Errorf("%s: %d wrong, want %d: %v, %v", c.name, v.WrongCount, c.wrong, v.Wrong, err)
		}
	}
}
