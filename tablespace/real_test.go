package tablespace

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The tests of real servers want their packages and take a minute: make formats.
var real = flag.Bool("formats", false, "run PostgreSQL and MariaDB and compare with their own tools")

// server runs another system's programs, as an unprivileged user if need be, in a directory of its.
type server struct {
	t    *testing.T
	dir  string
	cred *syscall.Credential
}

// newServer skips, with the reason, where a program is missing.
func newServer(t *testing.T, programs ...string) *server {
	t.Helper()
	if !*real {
		t.Skip("not asked for: make formats")
	}
	for _, p := range programs {
		if find(p) == "" {
			t.Skipf("%s is not installed (Debian: apt-get install postgresql mariadb-server)", p)
		}
	}
	dir, err := os.MkdirTemp("", "fmt") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, dir: dir}
	if os.Getuid() == 0 { // the servers refuse to run as root
		u, err := user.Lookup("nobody")
		if err != nil {
			t.Skip("running as root, and there is no user nobody:", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// find looks for a program in PATH and where Debian puts PostgreSQL's, newest version first.
func find(program string) string {
	if p, err := exec.LookPath(program); err == nil {
		return p
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	all = append(all, "/usr/sbin/"+program)
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) + strings.Compare(b, a) })
	for _, p := range all {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

func (s *server) command(program string, args ...string) *exec.Cmd {
	c := exec.Command(find(program), args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "LC_ALL=C", "HOME="+s.dir, "PGHOST="+s.dir, "PGUSER=postgres")
	if s.cred != nil {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	}
	return c
}

// do runs a program and returns what it printed; it has to succeed.
func (s *server) do(program string, args ...string) string {
	s.t.Helper()
	out, err := s.command(program, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// feed is do with standard input.
func (s *server) feed(input, program string, args ...string) string {
	s.t.Helper()
	c := s.command(program, args...)
	c.Stdin = strings.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// where names one page.
type where struct {
	file string
	page uint64
}

func (w where) String() string { return fmt.Sprintf("%s/%d", w.file, w.page) }

// found is the set of pages a verdict calls damaged.
func found(t *testing.T, v *Verdict) map[where]string {
	t.Helper()
	m := map[where]string{}
	for _, f := range v.Findings {
		if f.Whole {
			t.Errorf("%s: %s", f.File, f.What)
			continue
		}
		m[where{f.File, f.Page}] = f.What
	}
	if v.OK != (len(v.Findings) == 0) || v.Damaged != uint64(len(m)) {
		t.Errorf("%d findings, %d pages damaged, ok %v", len(m), v.Damaged, v.OK)
	}
	return m
}

// compare holds two sets against each other.
func compare[A, B any](t *testing.T, what string, ours map[where]A, theirs map[where]B) {
	t.Helper()
	for w := range ours {
		if _, ok := theirs[w]; !ok {
			t.Errorf("%s: only we call %s damaged: %v", what, w, ours[w])
		}
	}
	for w := range theirs {
		if _, ok := ours[w]; !ok {
			t.Errorf("%s: only the server's own tool calls %s damaged", what, w)
		}
	}
}

// damager changes pages of files and puts them back.
type damager struct {
	t     *testing.T
	rng   *rand.Rand
	saved map[string][]byte
}

func newDamager(t *testing.T, seed uint64) *damager {
	return &damager{t: t, rng: rand.New(rand.NewPCG(seed, 1)), saved: map[string][]byte{}}
}

// page changes page no of a file, given the whole file too.
func (d *damager) page(path string, n int, no uint64, change func(img, all []byte)) {
	d.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.saved[path] == nil {
		d.saved[path] = bytes.Clone(b)
	}
	change(b[no*uint64(n):][:n], b)
	d.write(path, b)
}

// write keeps owner, mode and inode.
func (d *damager) write(path string, b []byte) {
	d.t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *damager) restore() {
	d.t.Helper()
	for _, path := range slices.Sorted(maps.Keys(d.saved)) {
		d.write(path, d.saved[path])
	}
	clear(d.saved)
}

func (d *damager) flip(b []byte) { b[d.rng.IntN(len(b))] ^= 1 << d.rng.IntN(8) }
