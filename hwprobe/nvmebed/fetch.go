package main

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
)

// Suites that have qemu 11 and a kernel with atomic writes; the archive is whichever the machine's
// own apt uses.
var suites = []string{"trixie", "trixie-backports"}

// parts are the pieces of the bed, unpacked below root.
type parts struct {
	root    string
	kernel  string // vmlinuz
	modules string // kernel modules' folder
}

// loader runs a program of the bed with its own C library, whatever this machine's is.
func (p parts) loader(prog string, args ...string) []string {
	lib := filepath.Join(p.root, "usr/lib")
	return append([]string{
		filepath.Join(p.root, "usr/lib64/ld-linux-x86-64.so.2"),
		"--library-path", filepath.Join(lib, "x86_64-linux-gnu") + ":" + lib,
		filepath.Join(p.root, "usr/bin", prog),
	}, args...)
}

// find takes the parts from the cache, or fetches them into it.
func find(ctx context.Context, c config) (parts, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return parts{}, skip("the bed is for Linux on amd64")
	}
	root := filepath.Join(c.cache, "root")
	if p, err := locate(root); err == nil {
		return p, nil
	} else if c.noFetch {
		return parts{}, skip("%v, and -no-fetch was given", err)
	}
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return parts{}, skip("no %s to fetch qemu and a kernel with", tool)
		}
	}
	fmt.Println("nvmebed: fetching qemu and a kernel into", c.cache)
	if err := fetch(ctx, c.cache, root); err != nil {
		return parts{}, err
	}
	return locate(root)
}

func locate(root string) (parts, error) {
	p := parts{root: root}
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
		return skip("the package archive cannot be reached: %v: %s", err, lastLine(out))
	}
	out, err := apt.run(ctx, "apt-get", "-t", suites[1], "install", "--download-only", "-y",
		"qemu-system-x86")
	if err != nil {
		return skip("no qemu: %v: %s", err, lastLine(out))
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
		return skip("no kernel: %v: %s", err, lastLine(out))
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
		return nil, skip("apt names no sources: %v", err)
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
		return nil, skip("this machine's apt has no Debian archive")
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
	return a.in(ctx, "",
		args...)
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
		return "", skip("no kernel packages: %v", err)
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
		return "", skip("the archive has no cloud kernel")
	}
	return best, nil
}

func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}
