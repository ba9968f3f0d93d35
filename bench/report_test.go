package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func writeFile(t *testing.T, path string, f func(*bytes.Buffer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// full is a result with something in every field that may be left out.
func full() *Result {
	r := result(30_000, 31_000, 32_000)
	r.Config.WALDir, r.Config.DWBDir, r.Config.Keep = "w", "d", true
	r.Ack, r.PageBytes, r.BatchPages, r.Clients = "durable", 16384, 64, 16
	r.Backend, r.BackendReason, r.DirectReason, r.BoundKind, r.Protection = "uring", "works", "-", boundDoublewrite, "x"
	l := Latency{Count: 1000, P50: 100, P90: 200, P99: 300, P999: 400, Max: 500, Curve: [][2]float64{{1, 50}, {50, 100}, {99, 300}, {100, 500}}}
	r.Latency, r.ReadLatency, r.StartLag, r.ReadPages = l, &l, &l, 5
	r.Stages = []Stage{{
		Name: "doublewrite", InboxCapacity: 4, BusyShare: 0.3, Service: Quantiles{Count: 3, P50: 4}, Held: map[string]uint64{"log": 1},
	}}
	r.Series = []Sample{
		{Second: 0.5, PagesPerSecond: 30_000, StepLatency: StepLatency{MaxLatency: 700}},
		{Second: 1, PagesPerSecond: 32_000, Reads: &ReadStep{PagesPerSecond: 7, StepLatency: StepLatency{Calls: 3, P50: 4}}},
	}
	r.Repeats[0].Series = r.Series
	r.Time = []Spent{
		{Where: "memory", Micros: 20, Share: 0.2, Waited: true, Blocked: true}, {Where: "doublewrite <slots>", Micros: 30, Share: 0.3, Waited: true, Blocked: true},
		{Where: "flush in place", Micros: 50, Share: 0.5},
	}
	r.Overload = &Overload{Percent: 120, Capacity: 30_000, Offered: 36_000, Taken: 0.8, BlockedBy: "memory"}
	r.Meaning = r.meaning()
	r.Verify = &Verified{OK: true, Checked: 10, Written: 5, Reopened: true, Wrong: []string{"x"}}
	r.Host = Host{
		Machine: "m", OS: "linux", Arch: "amd64", Kernel: "6", CPU: "a <b>", CPUs: 2, MemoryBytes: 1 << 30, FileSystem: "ext4",
		Mount: []string{"rw"}, Device: "d", Drive: "v", WriteCache: "write back", LogDevice: "-", CopiesDevice: "-", Scheduler: "none", FlushesOff: "-",
		Atomic: "required", AtomicReason: "no", Load: 1,
	}
	r.Engine = &Engine{RegisteredReason: "-", Regions: 6, BatchBytes: 1 << 20, MemoryBytes: 64 << 20}
	r.Command = []string{"untornbench", "run", "-dir", "a b"}
	return r
}

// TestSchema keeps the names of the JSON: scripts read them. A change needs a new schema name or
// may only add.
func TestSchema(t *testing.T) {
	limit := &LimitResult{
		Schema: SchemaLimit, FlushAfter: []FlushAfter{{}}, SyncTable: []SyncRow{{Note: "-"}}, FIO: &FIO{},
		ByDepth: []DepthRow{{}}, DirectReason: "-", Config: LimitConfig{Keep: true, Depths: []int{1}}, Host: full().Host, Spread: map[string]MinMedMax{"random": {}},
	}
	wal := &WALResult{
		Schema: SchemaWAL, Repeats: []WALInterval{{}}, Verify: &Verified{Wrong: []string{"x"}}, Config: WALConfig{Keep: true}, Host: full().Host,
	}
	wal.Repeats[0].Series = []WALSample{{}}
	wal.Repeats[0].Time, wal.Repeats[0].StartLag, wal.Repeats[0].Overload = []WALSpent{{}}, &Latency{}, &WALOverload{}
	wal.DirectReason = "-"
	wal.WALInterval = wal.Repeats[0]
	sweep := &SweepResult{Points: []Point{{1, &Result{}}}}
	modes := &ModesResult{Runs: []*Result{{}}, WAL: &WALResult{}}
	docs, err := os.ReadFile("../docs/bench-json.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"run": full(), "wal": wal, "limit": limit, "sweep": sweep, "modes": modes, "wal_sweep": walSweepOf(), "recovery": recoveryOf(), "compare": compareOf()} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		keys := map[string]bool{}
		walk(doc, "", keys)
		if name == "sweep" || name == "modes" || name == "wal_sweep" { // what is in a run is listed there
			for k := range keys {
				if strings.HasPrefix(k, "points[].run.") || strings.HasPrefix(k, "runs[].") || strings.HasPrefix(k, "wal.") {
					delete(keys, k)
				}
			}
		}
		for k := range keys {
			for field := range strings.SplitSeq(strings.ReplaceAll(k, "[]", ""), ".") {
				if !bytes.Contains(docs, []byte("`"+field+"`")) {
					t.Errorf("%s: field %s of %s is not documented in docs/bench-json.md", name, field, k)
				}
			}
		}
		got := strings.Join(slices.Sorted(maps.Keys(keys)), "\n") + "\n"
		path := filepath.Join("testdata", name+".keys")
		if *update {
			writeFile(t, path, func(b *bytes.Buffer) error { b.WriteString(got); return nil })
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: the fields of the JSON changed (-update rewrites %s):\n%s", name, path, got)
		}
	}
}

func walk(v any, at string, keys map[string]bool) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			walk(e, strings.TrimPrefix(at+"."+k, "."), keys)
		}
	case []any:
		for _, e := range x {
			walk(e, at+"[]", keys)
		}
	default:
		keys[at] = true
	}
}

func sweepOf() *SweepResult {
	r := &SweepResult{Over: "clients", Command: []string{"untornbench", "sweep"}}
	for i, v := range []int{1, 2, 4, 64} {
		for _, m := range []Mode{Doublewrite, None} {
			run := full()
			run.Mode, run.Config.Clients, run.Clients = m, v, v
			run.PagesPerSecond *= float64(i + 1)
			r.Points = append(r.Points, Point{v, run})
		}
	}
	r.Meaning = r.meaning()
	return r
}

func recoveryOf() *RecoveryResult {
	r := &RecoveryResult{
		Schema: SchemaRecovery, DirectReason: "-", Host: full().Host, Config: RecoveryConfig{ImageCodec: "lz4", Keep: true}.withDefaults(),
		Points: []RecoveryPoint{{Mode: FullPage, Asked: 1 << 20, LogBytes: 1 << 20, Open: 0.5, Recover: 0.4, Replay: 0.1, LogSpeed: 2 << 20, Read: 4 << 20}, {Mode: FullPage, Asked: 1 << 20, Open: 0.7}},
	}
	r.Meaning = r.meaning()
	return r
}

func compareOf() *CompareResult {
	return &CompareResult{Schema: SchemaDifference, Differ: []string{"x"}, Changes: []ChangeDoc{{}}, Command: []string{"untornbench"}}
}

func limitOf() *LimitResult {
	r := &LimitResult{
		Spread: map[string]MinMedMax{"random": {1000, 2000, 3000}}, PageBytes: 16384, BatchPages: 64, Depth: 32, Host: full().Host,
		Bounds: Bounds{RandomFlushed: 30_000, Flushed: 9000, Overlapped: 10_000, Free: 12_000}, RandomPages: 40_000,
	}
	for i, n := range []int{1, 8, 128} {
		r.ByDepth = append(r.ByDepth, DepthRow{n, 1000, 900, 1 << 30, 1 << 29})
		for _, k := range []string{depthRandom, depthRandomFlushed, depthSequential, depthSequentialFlushed} {
			r.Spread[depthKey(n, k)] = MinMedMax{float64(i), float64(i + 1), float64(i + 2)}
		}
	}
	r.Meaning = r.meaning()
	return r
}

func walSweepOf() *WALSweepResult {
	r := &WALSweepResult{Over: "clients", Command: []string{"untornbench", "wal"}}
	for i, v := range []int{1, 8, 64} {
		for _, m := range []string{"sync", "async"} {
			run := &WALResult{Clients: v, Commit: m, RecordBytes: 1024, Config: WALConfig{Clients: v, Commit: m}.withDefaults(), Host: full().Host}
			run.WALInterval = WALInterval{
				RecordsPerSecond: 1000 * float64(i+1), WALBound: WALBound{Bound: 5000, Kind: boundCallers}, Latency: full().Latency,
				Time: []WALSpent{{Where: spentBehind, Micros: 20, Share: 0.4, Blocked: true}, {Where: spentGroup, Micros: 30, Share: 0.6}},
			}
			run.Efficiency = run.RecordsPerSecond / run.Bound
			run.Repeats = []WALInterval{run.WALInterval}
			r.Points = append(r.Points, WALPoint{v, run})
		}
	}
	r.Meaning = r.meaning()
	return r
}

func modesOf(rs ...*Result) *ModesResult {
	m := &ModesResult{Schema: SchemaCompare, Runs: rs, Command: []string{"untornbench"}}
	m.Conclude()
	return m
}

func TestReportStandsAlone(t *testing.T) {
	none := full()
	none.Mode, none.Verify = None, &Verified{Wrong: []string{"page <7> is torn"}}
	m := modesOf(full(), none)
	m.WAL = &WALResult{WALInterval: WALInterval{Latency: full().Latency, Series: []WALSample{{Second: 1, RecordsPerSecond: 5}}}}
	commits := walSweepOf()
	commits.Over, commits.Points = "commit", commits.Points[:2]
	always := []string{"What it means", "prefers-color-scheme: dark", "<svg", "untornbench"}
	for name, c := range map[string]struct {
		write func(io.Writer) error
		want  []string
	}{
		"modes": {m.WriteHTML, []string{
			"doublewrite", "none", "page &lt;7&gt; is torn", "a &lt;b&gt;", "Where the time of a page goes", "flush in place", "Overload", "The log alone",
		}},
		"sweep":     {sweepOf().WriteHTML, []string{"against clients", "Dashed: the bound", "stroke-dasharray"}},
		"wal":       {(&ModesResult{WAL: m.WAL, Meaning: "What it means"}).WriteHTML, []string{"The log alone", "Records a second over time"}},
		"wal sweep": {walSweepOf().WriteHTML, []string{"Records a second against clients", "commit async", "Where the time of a record goes", "behind other groups"}},
		"limit":     {limitOf().WriteHTML, []string{"By writes in flight", "writes in flight", "protection by copies costs 67 %", "flushed bound"}},
		"recovery":  {recoveryOf().WriteHTML, []string{"Every crash", "recovering", "fullpage 1MiB", "32MiB, 128MiB, 512MiB", "auto", "50 % of reads", "lay in the page cache", "class=\"bound\""}},
		"commits":   {commits.WriteHTML, []string{"Records a second by commit", "class=\"bound\""}},
	} {
		t.Run(name, func(t *testing.T) { standsAlone(t, c.write, append(always, c.want...)) })
	}
}

func standsAlone(t *testing.T, write func(io.Writer) error, want []string) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	h := b.String()
	for _, want := range want {
		if !strings.Contains(h, want) {
			t.Errorf("%q is not in the report", want)
		}
	}
	if bad := regexp.MustCompile(`(?i)https?://|<script|<link|@import|url\(|src=`).FindString(h); bad != "" {
		t.Errorf("the report asks for something from elsewhere: %s", bad)
	}
	if strings.Contains(h, "NaN") || strings.Contains(h, "Inf") {
		t.Error("a coordinate is not a number")
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(h, -1) {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("a drawing is not well-formed: %v", err)
			}
		}
	}
}

func TestTextReports(t *testing.T) {
	one := full()
	late := full()
	late.Interrupted, late.Mode = true, None
	late.Efficiency = 4
	for name, f := range map[string]func(io.Writer) error{
		"run": one.WriteText, "interrupted": late.WriteText, "modes": modesOf(one, late).WriteText,
		"wal": (&WALResult{Commit: "async", Repeats: make([]WALInterval, 2)}).WriteText,
		"limit": (&LimitResult{
			SyncTable: []SyncRow{{"direct", 4096, false, "gone", Latency{P50: 9}}, {"direct + DSYNC", 4096, true, "", Latency{P50: 99}}},
			Spread:    map[string]MinMedMax{"random": {1, 2, 3}},
		}).WriteText,
		"sweep":     sweepOf().WriteText,
		"wal sweep": walSweepOf().WriteText,
		"depths":    limitOf().WriteText,
		"recovery":  recoveryOf().WriteText,
		"compare":   compareOf().WriteText,
		"series":    one.WriteSeries,
		"hgrm":      func(w io.Writer) error { one.hist = newHistogram(); return one.WriteHGRM(w) },
		"go": func(w io.Writer) error {
			return WriteGoBench(w, []*Result{one}, &WALResult{RecordBytes: 100, Clients: 2, Commit: "sync", Repeats: make([]WALInterval, 1)})
		},
	} {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range map[string][]string{
			"run":   {"30.", "bound", "efficiency", "verified", "where a page's time goes", "overload", "most of it by: memory", "What it means"},
			"sweep": {"clients", "64", "none", "What it means"}, "series": {"repeat,second,pages_per_second", "latency_us_p99", ",read_pages_per_second,", ",7.0,3,4.0,"}, "interrupted": {"INTERRUPTED", "400 % of the bound"}, "modes": {"What it means", "INTERRUPTED"},
			"wal": {"a group durable"}, "depths": {"in flight", "flushed every 64", "512MiB", "What it means"}, "recovery": {"takes 0.70 s"}, "compare": {"although they differ"}, "wal sweep": {"async", "sync", "efficiency", "20 %", "commit sync does 3.0k records/s at clients=64"}, "limit": {"NOT DURABLE: gone", "durable"}, "hgrm": {"Percentile"},
			"go": {"BenchmarkRun/mode=doublewrite/page=16384/clients=16/batch=64/ack=durable-", "pages/s", "BenchmarkWAL/record=100/clients=2/commit=sync-"},
		}[name] {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, b.String())
			}
		}
		if strings.Contains(b.String(), "%!") {
			t.Errorf("%s: a bad format:\n%s", name, b.String())
		}
	}
}

func TestQuotedCommandSurvivesAShell(t *testing.T) {
	got := strings.Join(quoted([]string{"untornbench", "-dir", "a b", "it's", "", "-n=3"}), " ")
	if want := `untornbench -dir 'a b' 'it'\''s' '' -n=3`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
