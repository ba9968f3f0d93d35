package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/torture"
)

const victimEnv = "UNTORN_PULL_VICTIM"

// TestMain lets the test binary be the workload that dies.
func TestMain(m *testing.M) {
	if arg := os.Getenv(victimEnv); arg != "" {
		dir, addr, _ := strings.Cut(arg, "|")
		_, err := Run(context.Background(), config(dir, addr))
		if errors.Is(err, ErrLost) {
			os.Exit(42)
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func config(dir, addr string) Config {
	return Config{Dir: dir, Report: addr, Mode: untorn.ModeDoublewrite, Shape: torture.ShapeOf(3)}
}

// victim starts the workload in a process of its own.
func victim(t *testing.T, dir, addr string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), victimEnv+"="+dir+"|"+addr)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// listener serves until the test ends, or stop is called.
func listener(t *testing.T, out string) (l *Listener, said func() string, stop func()) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	l, err := NewListener("127.0.0.1:0", out, func(s string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}, stop
}

// until waits for what a listener hears of.
func until(t *testing.T, l *Listener, what string, ok func(Status) bool) {
	t.Helper()
	t.Log("waiting:", what)
	for !ok(l.Status()) {
		<-l.Changed()
	}
}

// silent: no round is under way.
func silent(s Status) bool { return !s.Hearing }

func verify(t *testing.T, dir, told string) *Result {
	t.Helper()
	r, err := Verify(dir, told, "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRounds: killed, killed, ended in order; a verification between them and at the end; then an
// old copy of the directory, an empty one, and one with a page damaged.
func TestRounds(t *testing.T) {
	tmp := t.TempDir()
	dir, file, old := filepath.Join(tmp, "d"), filepath.Join(tmp, "told"), filepath.Join(tmp, "old")
	l, said, _ := listener(t, file)
	for round := 1; round <= 2; round++ {
		c := victim(t, dir, l.Addr().String())
		until(t, l, "acknowledgements told", func(s Status) bool {
			return s.Rounds == round && s.PageAcks > 20 && s.RecordAcks > 5
		})
		_ = c.Process.Kill()
		_ = c.Wait()
		until(t, l, "the listener notices", silent)
		if round == 1 {
			if r := verify(t, dir, file); r.Violations != 0 || r.Kills != 1 || r.PageAcks < 20 {
				t.Fatalf("%+v", r)
			}
			if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, config(dir, l.Addr().String()))
		done <- err
	}()
	until(t, l, "acknowledgements told", func(s Status) bool { return s.Rounds == 3 && s.PageAcks > 20 })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	until(t, l, "the listener notices", silent)
	r := verify(t, dir, file)
	if r.Violations != 0 || r.Kills != 2 || r.Rounds != 3 || r.PagesSeen == 0 || r.RecordAcks == 0 {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"round 2: THE CONNECTION ENDED WITHOUT A GOODBYE", "round 3: ended in order"} {
		if !strings.Contains(said(), want) {
			t.Errorf("the listener never said %q:\n%s", want, said())
		}
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil || !strings.Contains(b.String(), "no violations") ||
		!strings.Contains(b.String(), "killed") {
		t.Errorf("%v:\n%s", err, &b)
	}
	j, _ := json.Marshal(r)
	for _, f := range []string{"schema", "mode", "mutant", "kills", "violations", "seed"} {
		if !strings.Contains(string(j), `"`+f+`"`) {
			t.Errorf("JSON without %s", f)
		}
	}
	if r := verify(t, old, file); r.Violations == 0 {
		t.Errorf("the state of two rounds ago passes: %+v", r)
	}
	if r := verify(t, t.TempDir(), file); r.Violations != 1 {
		t.Errorf("an empty directory: %+v", r)
	}
	if _, err := Verify(filepath.Join(tmp, "nowhere"), file, ""); err == nil {
		t.Error("a directory that is not there was judged")
	}
}

// TestListenerLost: the workload ends, loudly, and leaves what a crash leaves.
func TestListenerLost(t *testing.T) {
	tmp := t.TempDir()
	dir, file := filepath.Join(tmp, "d"), filepath.Join(tmp, "told")
	l, _, stop := listener(t, file)
	c := victim(t, dir, l.Addr().String())
	until(t, l, "acknowledgements told", func(s Status) bool { return s.PageAcks > 20 })
	stop()
	if err := c.Wait(); c.ProcessState.ExitCode() != 42 {
		t.Errorf("the workload ended with %v", err)
	}
	if r := verify(t, dir, file); r.Violations != 0 || r.Kills != 1 {
		t.Errorf("%+v", r)
	}
}

// TestBackPressure: without confirmations tell takes a window of messages and no more; what goes
// first waits for its own confirmation.
func TestBackPressure(t *testing.T) { synctest.Test(t, backPressure) }

func backPressure(t *testing.T) {
	here, there := net.Pipe()
	l := newLine(here, 5)
	defer l.close()
	fr := &reader{r: there}
	heard := make(chan frame, 2*window)
	go func() {
		for {
			f, err := fr.next()
			if err != nil {
				close(heard)
				return
			}
			if f.kind == kindEvents {
				f.payload = nil
				heard <- f
			}
		}
	}()
	told := make(chan int, 2*window)
	go func() {
		for i := range window + 2 {
			l.tell([]byte{1}, i == window+1)
			told <- i
		}
		close(told)
	}()
	for range window {
		<-told
	}
	for range window {
		<-heard
	}
	time.Sleep(time.Minute)
	if s := l.telling(); s.Unconfirmed != window || len(told) != 0 || s.Waiting != time.Minute {
		t.Fatalf("%+v, %d told beyond", s, len(told))
	}
	confirm := func(seq uint64) {
		f := frame{kind: kindConfirm, session: 5, seq: seq}
		if _, err := there.Write(f.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	confirm(2)
	<-told
	f := <-heard
	if f.seq != window+1 || f.first {
		t.Fatalf("%+v", f)
	}
	if f = <-heard; f.seq != window+2 || !f.first {
		t.Fatalf("%+v", f)
	}
	confirm(window + 1)
	synctest.Wait()
	if n := l.telling().Unconfirmed; n != 1 || len(told) != 0 {
		t.Fatalf("%d unconfirmed, %d told: what goes first did not wait for its own confirmation", n, len(told))
	}
	confirm(window + 2)
	<-told
	there.Close()
	<-l.lost
}

// TestRefusals: what the listener does not take.
func TestRefusals(t *testing.T) {
	good := hello{Protocol: protocol, Mode: "doublewrite", Shape: DefaultShape(), Empty: true}
	with := func(f func(*hello)) hello { h := good; f(&h); return h }
	file := filepath.Join(t.TempDir(), "told")
	tl, err := openTold(file)
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{told: tl}
	if _, err := l.session(with(func(h *hello) { h.Empty = false })); err == nil {
		t.Error("a directory it knows nothing of was admitted")
	}
	s, err := l.session(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := tl.begin(s); err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]hello{
		"empty":    good,
		"mode":     with(func(h *hello) { h.Empty, h.Mode = false, "none" }),
		"mutant":   with(func(h *hello) { h.Empty, h.Mutant = false, "skip-dwb-flush" }),
		"pages":    with(func(h *hello) { h.Empty, h.Shape.PageSize = false, 4096 }),
		"protocol": with(func(h *hello) { h.Empty, h.Protocol = false, 2 }),
	} {
		if _, err := l.session(h); err == nil {
			t.Errorf("%s was admitted", name)
		}
	}
	next, err := l.session(with(func(h *hello) { h.Empty = false }))
	if err != nil || next.Round != 2 || next.Seed != s.Seed || next.ID == s.ID {
		t.Errorf("%+v, %v", next, err)
	}
	if _, err := openTold(file); err == nil {
		t.Error("a second listener got the file")
	}
	tl.f.Close()
}

// TestTold: a frame cut off by the listener's death is dropped, damage is not passed over.
func TestTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told")
	tl, err := openTold(file)
	if err != nil {
		t.Fatal(err)
	}
	s := Session{ID: 4, Round: 1, Mode: "doublewrite", Seed: 8}
	if err := tl.begin(s); err != nil {
		t.Fatal(err)
	}
	size, _ := tl.f.Seek(0, 1)
	f := frame{kind: kindEnd, session: 4, seq: 1, payload: []byte("why")}
	if err := tl.add(f.append(nil)); err != nil {
		t.Fatal(err)
	}
	tl.f.Close()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (*Result, error) {
		r := &Result{}
		_, _, err := hear(strings.NewReader(string(b)), r)
		return r, err
	}
	if r, err := read(whole); err != nil || r.Kills != 0 || r.Told[0].End != "why" {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := read(whole[:len(whole)-1]); err != nil || r.Kills != 1 || !r.ToldCut {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := read(nil); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	bad := []byte(string(whole))
	bad[len(bad)-1] ^= 1
	again := f.append([]byte(string(whole)))
	for _, b := range [][]byte{bad, whole[size:], again, append([]byte(string(whole)), make([]byte, 40)...)} {
		if _, err := read(b); !errors.Is(err, errDamaged) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if err := os.WriteFile(file, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if tl, err = openTold(file); err != nil || tl.sessions != 1 || tl.last.Seed != 8 {
		t.Fatal(err)
	}
	tl.f.Close()
	if st, err := os.Stat(file); err != nil || st.Size() != size {
		t.Errorf("the half frame was not cut off: %v bytes, want %d", st.Size(), size)
	}
}
