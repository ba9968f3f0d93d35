package untorn_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
)

// foreignPage is a page of another system's format, filled, with the LSN.
func foreignPage(f page.Format, n int, no untorn.PageNo, lsn untorn.LSN) []byte {
	r := rand.NewChaCha8([32]byte{byte(no), byte(lsn), byte(n >> 10)})
	b := make([]byte, n)
	_, _ = r.Read(b[64:])
	f.Seal(b, page.Seed{No: no}, lsn)
	return b
}

// TestForeignFormats: pages of PostgreSQL and InnoDB come back byte for byte, and what does not
// check is refused before anything is written.
func TestForeignFormats(t *testing.T) {
	o := small(t)
	e := open(t, o)
	for _, format := range page.Formats() {
		if format.Header() != 0 {
			continue
		}
		name := format.Name()
		f := create(t, e, name, untorn.FileOptions{Format: name, ForeignLSN: true, Pages: 6})
		n := f.PageSize()
		if want := map[bool]int{true: 8192, false: 16384}[name == "postgres"]; n != want || f.Format() != name {
			t.Errorf("%s: %d bytes a page, format %s", name, n, f.Format())
		}
		const far = 1 << 50 // an LSN of another log
		var want [6][]byte
		var ws []untorn.PageWrite
		for no := range want {
			want[no] = foreignPage(format, n, untorn.PageNo(no), far+untorn.LSN(no))
			ws = append(ws, untorn.PageWrite{No: untorn.PageNo(no), Data: bytes.Clone(want[no])})
		}
		ws[1].LSN = far + 1 // the same said twice
		clear(ws[2].Data)   // a page that is not in use
		clear(want[2])
		taken := make([][]byte, 1) // and one in the engine's memory
		must(t, f.Alloc(ctx, taken))
		copy(taken[0], want[3])
		ws[3].Data = taken[0]
		must(t, f.WritePages(ctx, ws, untorn.Durable))

		bad := func(no int, lsn untorn.LSN, change func(b []byte)) error {
			b := bytes.Clone(want[no])
			change(b)
			return f.WritePages(ctx, []untorn.PageWrite{{No: 5, Data: want[5]}, {No: untorn.PageNo(no), LSN: lsn, Data: b}}, untorn.Durable)
		}
		for what, c := range map[string]struct{ got, want error }{
			"a bit flipped":   {bad(4, 0, func(b []byte) { b[n-3] ^= 1 }), untorn.ErrPageDamaged},
			"another's place": {bad(4, 0, func(b []byte) { copy(b, want[1]) }), untorn.ErrPageDamaged},
			"another LSN":     {bad(4, far+3, func([]byte) {}), untorn.ErrOptions},
		} {
			if !errors.Is(c.got, c.want) {
				t.Errorf("%s, %s: %v, want %v", name, what, c.got, c.want)
			}
		}
		must(t, f.Grow(ctx, 8))
		rs := make([]untorn.PageRead, 8)
		for i := range rs {
			rs[i] = untorn.PageRead{No: untorn.PageNo(i), Data: make([]byte, n)}
		}
		read := func(f *untorn.File) {
			t.Helper()
			must(t, f.ReadPages(ctx, rs))
			for i := range rs {
				switch {
				case i < 6 && !bytes.Equal(rs[i].Data, want[i]):
					t.Errorf("%s: page %d came back changed", name, i)
				case i < 6 && i != 2 && rs[i].LSN != far+untorn.LSN(i), (i == 2 || i > 5) && rs[i].LSN != 0:
					t.Errorf("%s: page %d has LSN %d", name, i, rs[i].LSN)
				}
			}
		}
		read(f)
		mustClose(t, e)
		e = open(t, o)
		if _, err := e.OpenFile(ctx, name, untorn.FileOptions{Format: "native"}); !errors.Is(err, untorn.ErrOptions) {
			t.Errorf("%s opened as native: %v", name, err)
		}
		f, err := e.OpenFile(ctx, name, untorn.FileOptions{Format: name})
		must(t, err)
		read(f)
	}
	for what, o := range map[string]untorn.FileOptions{
		"unknown":                 {Create: true, Format: "dBase"},
		"pages PostgreSQL has no": {Create: true, Format: "postgres", PageSize: 64 << 10},
	} {
		if _, err := e.OpenFile(ctx, "x", o); !errors.Is(err, untorn.ErrOptions) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustClose(t, e)
}

// TestForeignFormatOwnLog: a page whose LSN is of the engine's own log keeps the log rule (I3).
func TestForeignFormatOwnLog(t *testing.T) {
	e := open(t, small(t))
	f := create(t, e, "heap", untorn.FileOptions{Format: "postgres", Pages: 2})
	_, lsn, err := e.Append([]byte("a change"))
	must(t, err)
	write := func(lsn untorn.LSN) error {
		return f.WritePages(ctx, []untorn.PageWrite{{Data: foreignPage(page.Postgres{}, 8192, 0, lsn)}}, untorn.Durable)
	}
	must(t, write(lsn))
	if e.DurableLSN() < lsn {
		t.Errorf("a page with LSN %d is durable and the log only through %d", lsn, e.DurableLSN())
	}
	if err := write(e.EndLSN() + 1); !errors.Is(err, untorn.ErrLSNBeyondLog) {
		t.Errorf("an LSN beyond the log: %v", err)
	}
	mustClose(t, e)
}

// TestForeignFormatRepaired: a torn page of another system's format is repaired from its copy.
func TestForeignFormatRepaired(t *testing.T) {
	for _, name := range []string{"postgres", "innodb-full-crc32", "innodb-crc32", "innodb-none"} {
		d := sim.New(sim.Config{Seed: 1})
		e, err := untorn.Open(ctx, onSim(d))
		must(t, err)
		f, err := e.OpenFile(ctx, "t", untorn.FileOptions{Create: true, Format: name, ForeignLSN: true, PageSize: 8192, Pages: 2})
		must(t, err)
		format := page.FormatNamed(name)
		old, fresh := foreignPage(format, 8192, 1, 7), foreignPage(format, 8192, 1, 8)
		must(t, f.WritePages(ctx, []untorn.PageWrite{{No: 1, Data: old}}, untorn.Durable))
		// The destination write of the second image is still under way when the power goes.
		d.Inject(func(op *ring.Op) sim.Fault {
			return sim.Fault{Hold: op.Kind == ring.Write && op.File.Name() == "/db/data/00000001.pages"}
		})
		must(t, f.WritePages(ctx, []untorn.PageWrite{{No: 1, Data: fresh}}, untorn.Protected))
		x := d.Crash()
		d.PowerOff()
		_ = e.Close(ctx) // on a machine that is off

		// Torn by hand: the first sector of the new image before the rest of the old one.
		at := super.DataStart(4096) + 8192
		b, err := x.ReadFile("/db/data/00000001.pages")
		must(t, err)
		for i := range 512 {
			if b[at+int64(i)] != fresh[i] {
				must(t, x.Corrupt("/db/data/00000001.pages", at+int64(i), b[at+int64(i)]^fresh[i]))
			}
		}
		e, err = untorn.Open(ctx, onSim(x))
		must(t, err)
		f, err = e.OpenFile(ctx, "t", untorn.FileOptions{})
		must(t, err)
		r := []untorn.PageRead{{No: 1, Data: make([]byte, 8192)}}
		must(t, f.ReadPages(ctx, r))
		if !bytes.Equal(r[0].Data, fresh) || r[0].LSN != 8 {
			t.Errorf("%s: the torn page came back with LSN %d, repaired: %v", name, r[0].LSN, bytes.Equal(r[0].Data, fresh))
		}
		mustClose(t, e)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
