package hwprobe

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// FuzzCapture feeds captures of any origin: no panic, bounded memory, and a yes only where the
// evidence for one is all there, looked up here once more by hand.
func FuzzCapture(f *testing.F) {
	files, err := filepath.Glob("testdata/captures/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{``, `{}`, `[]`, `null`, `{"schema": 1, "nonsense": [`,
		`{"schema":"untorn.hwprobe.captures/1","captures":[]}`,
		`{"schema":"untorn.hwprobe.captures/1","captures":[{"schema":"untorn.hwprobe.capture/1"}]}`,
		`{"schema":"untorn.hwprobe.capture/1","top":"a","devices":[{"name":"a","kind":"dm","on":["a"]}]}`,
		`{"schema":"untorn.hwprobe.capture/1","devices":[{"name":"a","nvme":{"identify_controller":{"raw":["fff: 0000"]}}}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, err := ReadCaptures(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, pol := range []Policy{{}, {TrustAWUPF: true, TrustEmulated: true}} {
			doc := Evaluate(rs, []int{0, 512, 4096, 16384, 65536}, pol)
			for _, res := range doc.Results {
				for _, v := range res.Verdicts {
					checkShape(t, "fuzzed", v)
					if v.Answer == Relaxed {
						evidence(t, res.Capture, v)
					}
				}
				if err := res.Render(io.Discard, true); err != nil {
					t.Fatal(err)
				}
			}
			if err := doc.RenderFleet(io.Discard); err != nil {
				t.Fatal(err)
			}
			if _, err := json.Marshal(doc); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// evidence is the least any yes rests on.
func evidence(t *testing.T, r *Report, v Verdict) {
	t.Helper()
	p := uint64(v.PageBytes)
	if !r.File.ReportsAtomic.Or(false) || !r.File.AtomicAttr.Or(false) ||
		r.File.UnitMax.Or(0) < p || !isPow2(p) {
		t.Errorf("relaxed without the file's word for %d", p)
	}
	if r.WriteCache().Off() {
		t.Error("relaxed with flushes off")
	}
	st := r.stack()
	if st.problem != "" || len(st.holes) > 0 || len(st.leaves) == 0 {
		t.Error("relaxed on a stack that is not known")
	}
	for _, l := range st.leaves {
		switch {
		case l.isNVMe():
			if l.NVMe == nil || !l.NVMe.Ctrl.VWC.Known() || v.Kind == Hardware && l.NVMe.unit().bytes < p {
				t.Errorf("relaxed without %s's word", l.Name)
			}
		case l.SCSI == nil || l.scsiUnit() < p:
			t.Errorf("relaxed without %s's word", l.Name)
		}
	}
}

// FuzzIdentify decodes pages of any content: no panic, and never a promise from a page that
// describes no blocks.
func FuzzIdentify(f *testing.F) {
	f.Add(make([]byte, IDPageSize))
	f.Add(bytes.Repeat([]byte{0xff}, IDPageSize))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := NVMe{Ctrl: IDCtrl{Raw: b}, NS: IDNS{Raw: b}}
		if err := n.Ctrl.decode(); err != nil {
			t.Fatal(err)
		}
		if err := n.NS.decode(); err != nil {
			t.Fatal(err)
		}
		if b == nil {
			return
		}
		if n.Ctrl.Missing != "" && n.Ctrl.VWC.Known() {
			t.Error("a page that was refused still says something about the cache")
		}
		if lba, ok := n.NS.LBA.Get(); ok && (!isPow2(lba) || lba < 512) {
			t.Errorf("blocks of %d bytes", lba)
		}
		n.mask()
	})
}

// FuzzTargets parses device mapper's answer.
func FuzzTargets(f *testing.F) {
	f.Add(dmAnswer("linear", "259:1 2048"), uint32(0), uint32(1))
	f.Add([]byte{}, uint32(312), uint32(9))
	f.Fuzz(func(t *testing.T, b []byte, start, count uint32) {
		segs, err := parseTargets(b, start, count)
		if err == nil && len(segs) != int(count) {
			t.Errorf("%d segments of %d", len(segs), count)
		}
	})
}
