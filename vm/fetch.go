package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Suites that have qemu 11 and a kernel with atomic writes; the archive is whichever the machine's
// own apt uses.
var suites = []string{"trixie", "trixie-backports"}

// Parts are what a machine is made of, unpacked below a folder of their own.
type Parts struct {
	root    string
	kernel  string // vmlinuz
	modules string // kernel modules' folder
}

// loader runs a program of the parts with its own C library, whatever this machine's is.
func (p Parts) loader(prog string, args ...string) []string {
	lib := filepath.Join(p.root, "usr/lib")
	return append([]string{
		filepath.Join(p.root, "usr/lib64/ld-linux-x86-64.so.2"),
		"--library-path", filepath.Join(lib, "x86_64-linux-gnu") + ":" + lib,
		filepath.Join(p.root, "usr/bin", prog),
	}, args...)
}

// DefaultCache is the folder the commands of this module share.
func DefaultCache() string {
	if d, err := os.UserCacheDir(); err == nil {
		return filepath.Join(d, "untorn-nvmebed")
	}
	return filepath.Join(os.TempDir(), "untorn-nvmebed")
}

// Source says where the parts come from.
type Source struct {
	Cache   string        // folder for packages and what is unpacked of them
	NoFetch bool          // use only what is there
	Timeout time.Duration // of a fetch
}

// Find takes the parts from the cache, or fetches them into it. What this machine lacks, a mirror that
// answers in time included, is an ErrSkip. say is told of a fetch, which takes a while.
func (s Source) Find(ctx context.Context, say func(string)) (Parts, error) {
	in, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	p, err := s.find(in, say)
	if err != nil && ctx.Err() == nil && in.Err() != nil {
		return p, Skip("qemu and a kernel could not be fetched within %s: %v", s.Timeout, err)
	}
	return p, err
}

func (s Source) find(ctx context.Context, say func(string)) (Parts, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return Parts{}, Skip("virtual machines are for Linux on amd64")
	}
	root := filepath.Join(s.Cache, "root")
	if p, err := locate(root); err == nil {
		return p, nil
	} else if s.NoFetch {
		return Parts{}, Skip("%v, and fetching was not allowed", err)
	}
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return Parts{}, Skip("no %s to fetch qemu and a kernel with", tool)
		}
	}
	say("fetching qemu and a kernel into " + s.Cache)
	if err := fetch(ctx, s.Cache, root); err != nil {
		return Parts{}, err
	}
	return locate(root)
}

func locate(root string) (Parts, error) {
	p := Parts{root: root}
	if _, err := os.Stat(filepath.Join(root, "complete")); err != nil {
		return p, errors.New("no qemu and kernel in the cache")
	}
	kernels, _ := filepath.Glob(filepath.Join(root, "usr/lib/modules/*/vmlinuz"))
	if more, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*")); len(kernels) == 0 {
		kernels = more
	}
	mods, _ := filepath.Glob(filepath.Join(root, "usr/lib/modules/*/kernel"))
	if len(kernels) == 0 || len(mods) == 0 {
		return p, errors.New("no kernel in the cache")
	}
	p.kernel, p.modules = kernels[len(kernels)-1], mods[len(mods)-1]
	return p, nil
}

// fetch downloads by apt with a state of its own, so that the machine's is not touched, and
// unpacks. With an empty state apt also fetches the C library qemu was built for.
func fetch(ctx context.Context, cache, root string) error {
	apt, err := newApt(ctx, cache)
	if err != nil {
		return err
	}
	if out, err := apt.run(ctx, "apt-get", "update"); err != nil {
		return Skip("the package archive cannot be reached: %v: %s", err, lastLine(out))
	}
	out, err := apt.run(ctx, "apt-get", "-t", suites[1], "install", "--download-only", "-y",
		"qemu-system-x86")
	if err != nil {
		return Skip("no qemu: %v: %s", err, lastLine(out))
	}
	modules, err := apt.newestKernel(ctx)
	if err != nil {
		return err
	}
	binary := strings.Replace(modules, "linux-modules-", "linux-binary-", 1)
	debs := filepath.Join(cache, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	if out, err := apt.in(ctx, debs, "apt-get", "download", modules, binary); err != nil {
		return Skip("no kernel: %v: %s", err, lastLine(out))
	}
	return unpack(ctx, root, debs, filepath.Join(cache, "apt/cache/archives"))
}

func unpack(ctx context.Context, root string, from ...string) error {
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, dir := range from {
		debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil {
			return err
		}
		for _, d := range debs {
			if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", d, root).CombinedOutput(); err != nil {
				return fmt.Errorf("unpack %s: %w: %s", filepath.Base(d), err, out)
			}
			if err := os.Remove(d); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(root, "complete"), nil, 0o644)
}

// apt is the machine's package client with a state of its own.
type apt struct{ conf string }

func newApt(ctx context.Context, cache string) (*apt, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Origin: Debian").Output()
	if err != nil {
		return nil, Skip("apt names no sources: %v", err)
	}
	var archive string
	for uri := range strings.FieldsSeq(string(out)) {
		if !strings.Contains(uri, "security") {
			archive = uri
			break
		}
	}
	const keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	if _, err := os.Stat(keys); err != nil || archive == "" {
		return nil, Skip("this machine's apt has no Debian archive")
	}
	dir := filepath.Join(cache, "apt")
	for _, d := range []string{"state/lists/partial", "cache/archives/partial",
		"etc/preferences.d", "etc/parts"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	var sources strings.Builder
	for _, s := range suites {
		fmt.Fprintf(&sources, "deb [signed-by=%s] %s %s main\n", keys, archive, s)
	}
	conf := fmt.Sprintf(`Dir %q; Dir::State %q; Dir::State::status %q; Dir::Cache %q;
Dir::Etc %q; Dir::Etc::sourcelist %q; Dir::Etc::sourceparts "parts"; Dir::Etc::parts "parts";
APT::Install-Recommends "0"; APT::Sandbox::User "root"; Acquire::Languages "none";
`, dir, dir+"/state", dir+"/state/status", dir+"/cache", dir+"/etc", dir+"/sources.list")
	a := &apt{conf: filepath.Join(dir, "apt.conf")}
	for name, text := range map[string]string{a.conf: conf,
		dir + "/sources.list": sources.String(), dir + "/state/status": ""} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *apt) run(ctx context.Context, args ...string) ([]byte, error) {
	return a.in(ctx, "", args...)
}

func (a *apt) in(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "APT_CONFIG="+a.conf)
	return cmd.CombinedOutput()
}

var kernelName = regexp.MustCompile(`^linux-modules-[0-9].*-cloud-amd64$`)

// newestKernel is the newest cloud kernel's package of modules: apt's own order of versions.
func (a *apt) newestKernel(ctx context.Context) (string, error) {
	out, err := a.run(ctx, "apt-cache", "pkgnames", "linux-modules-")
	if err != nil {
		return "", Skip("no kernel packages: %v", err)
	}
	best := ""
	for n := range strings.FieldsSeq(string(out)) {
		if !kernelName.MatchString(n) {
			continue
		}
		if best == "" || exec.CommandContext(ctx, "dpkg", "--compare-versions",
			n[len("linux-modules-"):], "gt",
			best[len("linux-modules-"):]).Run() == nil {
			best = n
		}
	}
	if best == "" {
		return "", Skip("the archive has no cloud kernel")
	}
	return best, nil
}

func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}
