package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/certify"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/tablespace"
	"github.com/untorn/untorn/torture"
)

func TestMain(m *testing.M) {
	if torture.IsChild() {
		os.Exit(torture.Child())
	}
	os.Exit(m.Run())
}

// ctl runs a command line.
func ctl(t *testing.T, args ...string) (rc int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	rc = run(t.Context(), args, &o, &e)
	return rc, o.String(), e.String()
}

// engine makes a directory that was not closed in order; it is a copy of a running one.
func engine(t *testing.T) string {
	t.Helper()
	dir, live := filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), "live")
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	e, err := untorn.Open(ctx, untorn.Options{Dir: live, SegmentBytes: 256 << 10, BatchBytes: 64 << 10, Memory: 4 << 20})
	must(err)
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	f, err := e.OpenFile(ctx, "main", untorn.FileOptions{Create: true, PageSize: 4096, Pages: 8})
	must(err)
	_, lsn, err := e.Append([]byte("a change of page 1"))
	must(err)
	must(f.WritePages(ctx, []untorn.PageWrite{{No: 1, LSN: lsn, Data: bytes.Repeat([]byte("x"), 4096)}}, untorn.Protected))
	must(os.CopyFS(dir, os.DirFS(live)))
	return dir
}

func patch(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte{0x5a}, 64), off)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		rc   int
		want string
	}{
		{"", 2, "usage: untornctl COMMAND"},
		{"-no-such-flag", 2, "usage: untornctl COMMAND"},
		{"no-such-command", 2, "torture"},
		{"-h", 0, "rebuild-super"},
		{"help", 0, "demo"},
		{"inspect", 2, "the directory is missing"},
		{"inspect a b", 2, "one argument too many"},
		{"inspect -no-such-flag", 2, "usage: untornctl inspect"},
		{"dump", 2, "wal or dwb"},
		{"dump tea " + dir, 2, "neither wal nor dwb"},
		{"dump wal " + dir + " -kind odd", 2, "unknown kind"},
		{"dump wal " + dir + " -from 9 -to 9", 2, "not after"},
		{"recover " + dir + " -dry-run -accept-loss", 2, "does not go with it"},
		{"demo -json -", 2, "no -json"},
		{"torture", 2, "-dir is missing"},
		{"torture -dir " + dir + " -mutant no-such-mutant", 2, "wal-rule-off"},
		{"torture -dir " + dir + " -mode odd", 2, "unknown mode"},
		{"torture -dir " + dir + " -rounds 0", 2, "at least 1"},
		{"torture -dir " + dir + " -full vfat", 2, "no file system"},
		{"torture -dir " + dir + " -page 5000", 2, "a page of 5000"},
		{"certify", 2, "-dir is missing"},
		{"certify -dir " + dir, 2, "-out is missing"},
		{"certify -dir " + dir + " -out x -mode none", 2, "nothing to certify"},
		{"certify -dir " + dir + "/no/such -out " + dir + "/p", 3, "no such file"},
		{"verify -profile " + dir + "/nothing " + dir, 3, "no such file"},
		{"verify -profile x -wal-dir y " + dir, 2, "names the other places itself"},
		{"verify -format dbase " + dir, 2, "unknown format"},
		{"verify -page 8192 " + dir, 2, "-page goes with"},
		{"verify -format innodb -wal-dir x " + dir, 2, "of an engine directory"},
		{"verify -format postgres " + dir, 3, "not a data directory of PostgreSQL"},
		{"verify -format innodb " + dir, 3, "no data file of InnoDB's"},
		{"verify -format innodb " + dir + "/nothing", 3, "no such file"},
		{"inspect " + dir, 3, "not an untorn directory"},
		{"verify " + dir + "/nothing", 3, "no such file"},
		{"recover " + dir + "/nothing", 3, "no such file"},
		{"dump wal " + dir + "/nothing", 3, "no such file"},
		{"rebuild-super " + dir + "/nothing", 3, "no such file"},
	} {
		rc, out, err := ctl(t, strings.Fields(c.args)...)
		if rc != c.rc || !strings.Contains(out+err, c.want) {
			t.Errorf("untornctl %s: exit %d, want %d and %q:\n%s%s", c.args, rc, c.rc, c.want, out, err)
		}
		if rc == exitFine == (out == "") {
			t.Errorf("untornctl %s: exit %d with %q on standard output", c.args, rc, out)
		}
	}
}

// TestHelp: every command has usage, exit codes and examples, in lines that fit a terminal.
func TestHelp(t *testing.T) {
	for _, c := range commands() {
		rc, out, _ := ctl(t, c.name, "-h")
		if rc != 0 {
			t.Errorf("%s -h exits %d", c.name, rc)
		}
		for _, want := range []string{"usage: untornctl " + c.name, "Exit: 0", "Example", "untornctl " + c.name} {
			if !strings.Contains(out, want) {
				t.Errorf("%s -h says nothing of %q", c.name, want)
			}
		}
		for l := range strings.Lines(out) {
			if len(l) > 105 {
				t.Errorf("%s -h: a line of %d bytes", c.name, len(l))
			}
		}
	}
}

func TestLooking(t *testing.T) {
	dir := engine(t)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"inspect", dir}, []string{"not closed in order", "SUPER COPY", "main"}},
		{[]string{"verify", dir}, []string{"sound: ", "8 pages"}},
		{[]string{"dump", "wal", dir, "-data", "18"}, []string{"START LSN", "create", "a change of page", "records; read to LSN"}},
		{[]string{"dump", "wal", "-kind", "user", dir}, []string{"1 records"}},
		{[]string{"dump", "dwb", dir}, []string{"DWB REGION", "SLOT MATCHES HEADER", "yes"}},
		{[]string{"recover", dir, "-dry-run"}, []string{"watermark", "main"}},
	} {
		rc, out, errs := ctl(t, c.args...)
		if rc != 0 {
			t.Errorf("%v: exit %d: %s", c.args, rc, errs)
		}
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%v says nothing of %q:\n%s", c.args, w, out)
			}
		}
		// The same for scripts, on standard output and nothing else there.
		rc, out, _ = ctl(t, append(c.args, "-json", "-")...)
		dec := json.NewDecoder(strings.NewReader(out))
		for dec.More() {
			var m map[string]any
			if err := dec.Decode(&m); err != nil {
				t.Errorf("%v -json -: exit %d, %v", c.args, rc, err)
				break
			}
			if m["schema"] == nil && c.args[1] != "wal" {
				t.Errorf("%v: no schema in %v", c.args, m)
			}
		}
	}
}

func TestDamageAndRecovery(t *testing.T) {
	dir := engine(t)
	data := filepath.Join(dir, "data", "00000001.pages")
	patch(t, data, super.DataStart(4096)+4096+100)   // page 1: a copy repairs it
	patch(t, data, super.DataStart(4096)+5*4096+100) // page 5: nothing does
	rc, out, _ := ctl(t, "verify", dir)
	if rc != 1 || !strings.Contains(out, "repairable  page 1 of main") || !strings.Contains(out, "damaged     page 5 of main") {
		t.Errorf("exit %d:\n%s", rc, out)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	rc, out, errs := ctl(t, "recover", dir, "-json", file)
	if rc != 0 || !strings.Contains(out, "main") {
		t.Errorf("recover: exit %d:\n%s%s", rc, out, errs)
	}
	if b, err := os.ReadFile(file); err != nil || !json.Valid(b) {
		t.Errorf("-json FILE: %v", err)
	}
	if rc, out, _ = ctl(t, "verify", dir); rc != 1 || strings.Contains(out, "page 1 of main") {
		t.Errorf("after recover: exit %d:\n%s", rc, out)
	}
}

// TestLoss: a flushed copy is damaged and so is its page. Recovery stops by name until told to give
// the page up.
func TestLoss(t *testing.T) {
	dir := engine(t)
	patch(t, filepath.Join(dir, "data", "00000001.pages"), super.DataStart(4096)+4096+100)
	patch(t, filepath.Join(dir, "dwb", "regions"), 3*4096+100) // behind the file header and two headers of the batch
	for _, args := range [][]string{{"recover", dir, "-dry-run"}, {"recover", dir}} {
		rc, out, errs := ctl(t, args...)
		if rc != 1 || !strings.Contains(out, "1 lost") || !strings.Contains(out, "-accept-loss") {
			t.Errorf("%v: exit %d:\n%s%s", args, rc, out, errs)
		}
	}
	rc, out, errs := ctl(t, "recover", dir, "-accept-loss")
	if rc != 1 || !strings.Contains(out, "1 lost") {
		t.Errorf("-accept-loss: exit %d:\n%s%s", rc, out, errs)
	}
	if rc, out, _ := ctl(t, "recover", dir); rc != 0 || !strings.Contains(out, "nothing to recover") {
		t.Errorf("again: exit %d:\n%s", rc, out)
	}
	if rc, out, _ := ctl(t, "verify", dir); rc != 1 || !strings.Contains(out, "given up") {
		t.Errorf("verify: exit %d:\n%s", rc, out)
	}
}

// TestFetchFrom: a lost page comes from another directory of the same engine, not from another engine's,
// nor from one that is older.
func TestFetchFrom(t *testing.T) {
	dir, replica := engine(t), filepath.Join(t.TempDir(), "replica")
	if err := os.CopyFS(replica, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	want(t, 0, nil, "recover", replica)
	patch(t, filepath.Join(dir, "data", "00000001.pages"), super.DataStart(4096)+4096+100)
	patch(t, filepath.Join(dir, "dwb", "regions"), 3*4096+100)
	want(t, 1, []string{"1 lost", "another engine"}, "recover", dir, "-fetch-from", engine(t))
	want(t, 1, []string{"1 lost", "refused"}, "recover", dir, "-fetch-from", dir)
	want(t, 3, nil, "recover", dir, "-fetch-from", filepath.Join(dir, "nothing"))
	want(t, 2, nil, "recover", dir, "-fetch-from", replica, "-salvage", filepath.Join(t.TempDir(), "s"))
	want(t, 0, []string{"fetched      1 pages"}, "recover", dir, "-fetch-from", replica)
	want(t, 0, []string{"sound"}, "verify", dir)
}

func TestRebuild(t *testing.T) {
	dir := engine(t)
	if rc, _, errs := ctl(t, "rebuild-super", dir); rc != 1 || !strings.Contains(errs, "two or more") {
		t.Errorf("four valid copies: exit %d: %s", rc, errs)
	}
	for i := range int64(4) {
		patch(t, filepath.Join(dir, "super"), i*super.Zone+64)
	}
	if rc, out, _ := ctl(t, "inspect", dir); rc != 1 || !strings.Contains(out, "rebuild-super") {
		t.Errorf("inspect: exit %d:\n%s", rc, out)
	}
	if rc, _, errs := ctl(t, "recover", dir); rc != 3 || !strings.Contains(errs, "rebuild-super") {
		t.Errorf("recover: exit %d: %s", rc, errs)
	}
	if rc, out, errs := ctl(t, "rebuild-super", dir, "-dry-run"); rc != 0 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("-dry-run: exit %d:\n%s%s", rc, out, errs)
	}
	if rc, out, errs := ctl(t, "rebuild-super", dir); rc != 0 || !strings.Contains(out, "super was written") {
		t.Errorf("exit %d:\n%s%s", rc, out, errs)
	}
	for _, c := range []string{"recover", "verify", "inspect"} {
		if rc, out, errs := ctl(t, c, dir); rc != 0 {
			t.Errorf("%s: exit %d:\n%s%s", c, rc, out, errs)
		}
	}
}

func TestDemo(t *testing.T) {
	rc, out, errs := ctl(t, "demo", "-dir", t.TempDir())
	if rc != 0 || !strings.Contains(out, "repaired: ") {
		t.Errorf("exit %d:\n%s%s", rc, out, errs)
	}
}

func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	rc, out, errs := ctl(t, "torture", "-dir", filepath.Join(t.TempDir(), "t"), "-rounds", "1", "-seed", "4", "-json", "-")
	var r torture.Result
	if err := json.Unmarshal([]byte(out), &r); rc != 0 || err != nil || r.Rounds != 1 || r.Seed != 4 {
		t.Errorf("exit %d, %v:\n%s%s", rc, err, out, errs)
	}
}

// TestVerifyProfile: the status says whether a certificate still holds.
func TestVerifyProfile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "profile.json")
	p := &certify.Profile{Schema: certify.Schema, Verdict: certify.Certified, Started: "2026-01-02T03:04:05Z",
		Config: certify.Config{Dir: dir, Mode: untorn.ModeDoublewrite, PageBytes: 16384}}
	facts, err := certify.Now(t.Context(), p, dir)
	if err != nil || len(facts) < 10 {
		t.Fatal(facts, err)
	}
	set := func(what, value, missing string) func(p *certify.Profile) {
		return func(p *certify.Profile) {
			for i := range p.Facts {
				if f := &p.Facts[i]; f.Where != "wal" && f.What == what {
					f.Value, f.Missing = value, missing
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		do   func(p *certify.Profile)
		rc   int
		want string
	}{
		{"as it was", func(*certify.Profile) {}, 0, "nothing has changed"},
		{"another machine", set("machine", "other", ""), 1, "certify again"},
		{"another revision", set("engine revision", "older", ""), 0, "for your judgement"},
		{"not read then", set("machine", "", "hidden"), 0, "the certificate holds"},
		{"not read now", func(p *certify.Profile) {
			p.Facts = append(p.Facts, certify.Fact{Where: "dir", Layer: 99, What: "firmware", Value: "1"})
		}, 3, "cannot be told"},
		{"no certificate", func(p *certify.Profile) { p.Verdict = certify.NotCertified }, 1, "not certified"},
		{"not a profile", func(p *certify.Profile) { p.Schema = "untorn.capture/1" }, 3, ""},
	} {
		q := *p
		q.Facts = append([]certify.Fact(nil), facts...)
		c.do(&q)
		if err := q.Save(file); err != nil {
			t.Fatal(err)
		}
		rc, out, errs := ctl(t, "verify", "-profile", file, dir)
		if rc != c.rc || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", c.name, rc, c.rc, c.want, out, errs)
		}
		rc, out, _ = ctl(t, "verify", "-profile", file, dir, "-json", "-")
		if c.name != "not a profile" && (rc != c.rc || !json.Valid([]byte(out)) || !strings.Contains(out, `"schema": 1`)) {
			t.Errorf("%s: -json -: exit %d:\n%s", c.name, rc, out)
		}
	}
}

// TestVerifyFormat: data files of another system, sound and damaged.
func TestVerifyFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "16384")
	b := make([]byte, 4*8192)
	for no := range page.No(3) {
		page.Postgres{}.Seal(b[no*8192:][:8192], page.Seed{No: no}, 77)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if rc, out, errs := ctl(t, "verify", "-format", "postgres", path); rc != 0 || !strings.Contains(out, "4 pages sound, 1 of them empty; 0 damaged") {
		t.Errorf("sound: exit %d:\n%s%s", rc, out, errs)
	}
	patch(t, path, 8192+3000)
	rc, out, errs := ctl(t, "verify", "-format", "postgres", path)
	if rc != 1 || !strings.Contains(out, "damaged  page 1 of 16384 (byte 8192): page is damaged: checksum") {
		t.Errorf("damaged: exit %d:\n%s%s", rc, out, errs)
	}
	rc, out, _ = ctl(t, "verify", "-format", "postgres", path, "-json", "-")
	var v tablespace.Verdict
	if err := json.Unmarshal([]byte(out), &v); rc != 1 || err != nil || v.Schema != 1 || v.OK || v.Damaged != 1 || len(v.Findings) != 1 {
		t.Errorf("-json: exit %d, %v:\n%s", rc, err, out)
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		took        time.Duration
		want        string
	}{
		{0, 0, 0, "[########################] 100 %  0.0 of 0.0 MiB"},
		{0, 4 << 20, 2 * time.Second, "[------------------------]   0 %  0.0 of 4.0 MiB"},
		{1 << 20, 4 << 20, 100 * time.Millisecond, "[######------------------]  25 %  1.0 of 4.0 MiB"},
		{1 << 30, 4 << 30, 2 * time.Second, "[######------------------]  25 %  1024.0 of 4096.0 MiB, 512 MiB/s, 6s left"},
		{10 << 30, 20 << 30, 20 * time.Second, "[############------------]  50 %  10.0 of 20.0 GiB, 512 MiB/s, 20s left"},
		{9 << 20, 4 << 20, time.Second, "[########################] 100 %  4.0 of 4.0 MiB, 4 MiB/s, 0s left"},
	} {
		if got := bar(c.done, c.total, c.took); got != c.want {
			t.Errorf("%d of %d after %v:\n%s\n%s", c.done, c.total, c.took, got, c.want)
		}
	}
}
