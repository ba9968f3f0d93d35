package vm

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Initrd says what a guest starts with.
type Initrd struct {
	// Init is the Go package of process 1, which is built.
	Init string
	// Modules that the guest loads, in this order, after those they depend on; package inside finds
	// them. One that the kernel has built in is left out.
	Modules []string
	// Programs are Go packages built into the guest's root folder, by name.
	Programs map[string]string
	Files    map[string][]byte
}

// Build packs it into the file out.
func (r Initrd) Build(ctx context.Context, p Parts, out string) error {
	var a cpio
	a.dir("dev")
	a.node("dev/console", 5, 1) // process 1's output, before devtmpfs is mounted
	a.dir("modules")
	programs := maps.Clone(r.Programs)
	if programs == nil {
		programs = map[string]string{}
	}
	programs["init"] = r.Init
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		b, err := build(ctx, programs[name])
		if err != nil {
			return err
		}
		a.file(name, 0o755, b)
	}
	m := modules{dir: p.modules, ctx: ctx}
	for _, name := range r.Modules {
		if err := m.add(name); err != nil {
			return err
		}
	}
	for i, mod := range m.order {
		a.file(fmt.Sprintf("modules/%02d-%s.ko", i, mod.name), 0o644, mod.image)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Files)) {
		a.file(name, 0o644, r.Files[name])
	}
	return os.WriteFile(out, a.finish(), 0o600)
}

// build makes a static program of a package of this module.
func build(ctx context.Context, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "untorn-guest-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	to := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if b, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", pkg, err, b)
	}
	return os.ReadFile(to)
}

type module struct {
	name  string
	image []byte
}

// modules collects modules after those they depend on. The packages come without modules.dep, so
// the dependencies are read from the modules.
type modules struct {
	ctx   context.Context
	dir   string
	paths map[string]string
	order []module
}

func (m *modules) add(name string) error {
	name = strings.ReplaceAll(name, "_", "-")
	if slices.ContainsFunc(m.order, func(x module) bool { return x.name == name }) {
		return nil
	}
	if m.paths == nil {
		if err := m.scan(); err != nil {
			return err
		}
	}
	path, ok := m.paths[name]
	if !ok {
		return nil // built into this kernel
	}
	image, err := m.load(path)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	deps, err := depends(image)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	for _, d := range deps {
		if err := m.add(d); err != nil {
			return err
		}
	}
	m.order = append(m.order, module{name, image})
	return nil
}

func (m *modules) scan() error {
	m.paths = map[string]string{}
	return filepath.WalkDir(m.dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if name, _, ok := strings.Cut(d.Name(), ".ko"); ok {
				m.paths[strings.ReplaceAll(name, "_", "-")] = p
			}
		}
		return err
	})
}

func (m *modules) load(path string) ([]byte, error) {
	switch filepath.Ext(path) {
	case ".xz":
		return exec.CommandContext(m.ctx, "xz", "-dc", path).Output()
	case ".zst":
		return exec.CommandContext(m.ctx, "zstd", "-dcq", path).Output()
	}
	return os.ReadFile(path)
}

// depends reads "depends=a,b" from the section .modinfo.
func depends(image []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	sec := f.Section(".modinfo")
	if sec == nil {
		return nil, nil
	}
	info, err := sec.Data()
	if err != nil {
		return nil, err
	}
	for kv := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(kv, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}

// cpio writes the "newc" format the kernel takes as initramfs.
type cpio struct {
	b   bytes.Buffer
	ino int
}

func (c *cpio) dir(name string) { c.entry(name, 0o040755, 0, 0, nil) }

func (c *cpio) file(name string, mode int, data []byte) { c.entry(name, 0o100000|mode, 0, 0, data) }

func (c *cpio) node(name string, major, minor int) { c.entry(name, 0o020600, major, minor, nil) }

func (c *cpio) finish() []byte {
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	return c.b.Bytes()
}

// entry: magic, then 13 fields of 8 hexadecimal digits (inode, mode, uid, gid, links, mtime, size,
// device major and minor, rdev major and minor, name length with its NUL, checksum).
func (c *cpio) entry(name string, mode, rmajor, rminor int, data []byte) {
	c.ino++
	c.b.WriteString("070701")
	for _, v := range []int{c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, rmajor, rminor,
		len(name) + 1, 0} {
		fmt.Fprintf(&c.b, "%08x", v)
	}
	c.b.WriteString(name + "\x00")
	c.pad()
	c.b.Write(data)
	c.pad()
}

func (c *cpio) pad() {
	for c.b.Len()%4 != 0 {
		c.b.WriteByte(0)
	}
}
