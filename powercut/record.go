package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/untorn/untorn/powercut/tape"
	"github.com/untorn/untorn/vm"
)

const (
	mib       = 1 << 20
	diskStart = 1 * mib // of the first partition
	tapeSize  = 96 * mib
	module    = "github.com/untorn/untorn/"
)

// fsSize is the file system's partition: mkfs.xfs wants 300 MiB.
func fsSize(fs string) int64 {
	if fs == "xfs" {
		return 304 * mib
	}
	return 96 * mib
}

// recording is what a guest left: the disk's log and what the file system held before.
type recording struct {
	job   tape.Job
	base  string // the file system's partition after mkfs
	log   string
	disk  string // what it held in the end
	order string // what the disk itself took, in its order
}

// recordingIn names the files of a recording.
func recordingIn(dir string, j tape.Job) *recording {
	return &recording{job: j, base: filepath.Join(dir, "base"), log: filepath.Join(dir, "log"),
		disk: filepath.Join(dir, "disk"), order: filepath.Join(dir, "order")}
}

func mkfs(fs string) []string {
	if fs == "xfs" {
		return []string{"mkfs.xfs", "-q", "-f"}
	}
	return []string{"mkfs.ext4", "-q", "-F", "-b", "4096"}
}

// record runs the job in a guest whose disk is recorded.
func record(ctx context.Context, p vm.Parts, j tape.Job, dir string, say func(string)) (*recording, error) {
	r := recordingIn(dir, j)
	initrd := filepath.Join(dir, "initrd")
	if err := makeFile(r.base, fsSize(j.FS)); err != nil {
		return nil, err
	}
	if err := vm.Format(ctx, r.base, mkfs(j.FS)...); err != nil {
		return nil, err
	}
	if err := makeDisk(r.disk, r.base, j.FS); err != nil {
		return nil, err
	}
	b, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	rd := vm.Initrd{Init: module + "powercut/guest", Modules: modules(j), Files: map[string][]byte{"job.json": b}}
	if err := rd.Build(ctx, p, initrd); err != nil {
		return nil, err
	}
	slow, socket, err := newSlowDisk(r.disk, dir)
	if err != nil {
		return nil, err
	}
	args := []string{"-blockdev", "driver=nbd,node-name=f,server.type=unix,server.path=" + socket}
	if j.Recorder == "dm" {
		if err := makeFile(r.log, 8<<30); err != nil { // sparse
			return nil, errors.Join(err, slow.close())
		}
		args = append(args,
			"-blockdev", "driver=raw,node-name=d,file=f", "-device", "virtio-blk-pci,drive=d",
			"-blockdev", "driver=file,node-name=l,filename="+r.log+",cache.no-flush=on",
			"-device", "virtio-blk-pci,drive=l")
	} else {
		if err := makeFile(r.log, 0); err != nil {
			return nil, errors.Join(err, slow.close())
		}
		args = append(args,
			"-blockdev", "driver=file,node-name=l,filename="+r.log+",cache.no-flush=on",
			"-blockdev", "driver=blklogwrites,node-name=d,file=f,log=l,log-sector-size=512,log-super-update-interval=1",
			"-device", "virtio-blk-pci,drive=d")
	}
	err = watch(p.Machine(ctx, initrd, 512, args...), say)
	if err := errors.Join(err, slow.close()); err != nil {
		return nil, err
	}
	return r, errors.Join(writeStrokes(r.order, slow.order), os.Remove(initrd))
}

func modules(j tape.Job) []string {
	m := []string{"virtio-pci", "virtio-blk", j.FS}
	if j.Recorder == "dm" {
		m = append(m, "dm-mod", "dm-log-writes")
	}
	return m
}

func makeFile(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// makeDisk puts the file system into the first of two partitions; the second is the tape.
func makeDisk(name, base, fs string) error {
	end := diskStart + fsSize(fs)
	if err := makeFile(name, end+tapeSize); err != nil {
		return err
	}
	to, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	from, err := os.Open(base)
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := to.Write(vm.MBR([]uint32{diskStart / 512, uint32(end / 512)}, uint32((end+tapeSize)/512))); err != nil {
		return err
	}
	return chunks(from, func(off int64, b []byte) error {
		_, err := to.WriteAt(b, diskStart+off)
		return err
	})
}

// chunkSize is the grain of sparse copies.
const chunkSize = 64 << 10

// chunks calls f for every chunk that is not zeros.
func chunks(r io.Reader, f func(off int64, b []byte) error) error {
	b := make([]byte, chunkSize)
	for off := int64(0); ; off += chunkSize {
		n, err := io.ReadFull(r, b)
		if n > 0 && !zeros(b[:n]) {
			if err := f(off, b[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// watch runs a guest to its end, and passes on what it says of us.
func watch(cmd *exec.Cmd, say func(string)) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	last := ""
	var tail []string
	err = eachLine(out, func(line string) {
		if tail = append(tail, line); len(tail) > 30 {
			tail = tail[1:]
		}
	}, func(msg string) {
		last = msg
		say(msg)
	})
	if err := errors.Join(cmd.Wait(), err); err != nil {
		return fmt.Errorf("qemu: %w: %s", err, errs.String())
	}
	if last != "DONE" {
		return fmt.Errorf("the guest did not finish its work:\n%s", strings.Join(tail, "\n"))
	}
	return nil
}

// eachLine calls all for every line of a console, and ours with what follows our name in one.
func eachLine(r io.Reader, all, ours func(string)) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		line := strings.TrimRight(sc.Text(), "\r")
		all(line)
		if _, msg, ok := strings.Cut(line, "powercut: "); ok {
			ours(msg)
		}
	}
	return sc.Err()
}
