//go:build linux

// Command guest is process 1 of the power-cut proof's virtual machine: it mounts the recorded disk,
// runs the torture workload on it, round after round, some of them killed, and tells the tape what it
// starts and what the engine acknowledged. Its last line is "powercut: DONE" or "powercut: FAIL ...".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/powercut/tape"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/torture"
	"github.com/untorn/untorn/vm/inside"
)

const (
	mountPoint = "/mnt"
	exitFull   = 9 // the tape is: enough has been told
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "work" {
		os.Exit(work(os.Args[2]))
	}
	if err := run(); err != nil {
		fmt.Println("powercut: FAIL", err)
	} else {
		fmt.Println("powercut: DONE")
	}
	inside.PowerOff()
}

func readJob() (tape.Job, error) {
	var j tape.Job
	b, err := os.ReadFile("/job.json")
	if err == nil {
		err = json.Unmarshal(b, &j)
	}
	return j, err
}

func run() error {
	if err := inside.Boot(nil); err != nil {
		return err
	}
	j, err := readJob()
	if err != nil {
		return err
	}
	if j.Pull {
		return pulled(j)
	}
	disk, undo, err := place(j)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(mountPoint, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(disk.fs, mountPoint, j.FS, 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", disk.fs, err)
	}
	for round := 1; round <= j.Rounds; round++ {
		more, err := live(j, disk, round)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if !more {
			break
		}
	}
	if err := unix.Unmount(mountPoint, 0); err != nil {
		return err
	}
	return undo()
}

// nodes of the recorded disk.
type nodes struct{ fs, tape string }

// place finds the disk, or puts dm-log-writes between it and us.
func place(j tape.Job) (nodes, func() error, error) {
	const disk = "/dev/vda"
	f, err := inside.OpenSoon(disk + "2")
	if err != nil {
		return nodes{}, nil, err
	}
	f.Close()
	if err := stablePages("vda"); err != nil {
		return nodes{}, nil, err
	}
	if j.Recorder != "dm" {
		return nodes{disk + "1", disk + "2"}, func() error { return nil }, nil
	}
	return record(disk, "/dev/vdb")
}

// stablePages makes file systems of a disk leave alone what is being written to it, as they do for disks
// with checksums. Otherwise a page of the page cache may change between the moment the disk takes it and
// the moment it is logged, and the log tells of contents that the disk did not have yet.
func stablePages(disk string) error {
	return os.WriteFile("/sys/block/"+disk+"/queue/stable_writes", []byte("1"), 0)
}

// record maps the disk through dm-log-writes, and its partitions above that.
func record(disk, log string) (nodes, func() error, error) {
	sectors := func(name string) (start, n uint64, err error) {
		dir := "/sys/class/block/" + strings.TrimPrefix(name, "/dev/")
		b, err := os.ReadFile(dir + "/size")
		if err == nil {
			n, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		}
		if b, e := os.ReadFile(dir + "/start"); e == nil && err == nil {
			start, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		}
		return start, n, err
	}
	_, n, err := sectors(disk)
	if err != nil {
		return nodes{}, nil, err
	}
	logged, err := inside.MapDevice("logged", inside.Segment{Sectors: n, Target: "log-writes", Params: disk + " " + log})
	if err != nil {
		return nodes{}, nil, err
	}
	part := func(name, node string) (string, error) {
		start, n, err := sectors(node)
		if err != nil {
			return "", err
		}
		to, err := inside.MapDevice(name, inside.Segment{Sectors: n, Target: "linear", Params: fmt.Sprintf("%s %d", logged, start)})
		if err != nil {
			return "", err
		}
		f, err := inside.OpenSoon(to)
		if err == nil {
			err = f.Close()
		}
		return to, err
	}
	fs, err := part("fs", disk+"1")
	if err != nil {
		return nodes{}, nil, err
	}
	tp, err := part("tape", disk+"2")
	if err != nil {
		return nodes{}, nil, err
	}
	undo := func() error {
		return errors.Join(inside.UnmapDevice("fs"), inside.UnmapDevice("tape"), inside.UnmapDevice("logged"))
	}
	return nodes{fs, tp}, undo, nil
}

// live runs one round in a process of its own. Every other one is killed in the middle.
func live(j tape.Job, disk nodes, round int) (more bool, err error) {
	killed := round%2 == 1 && round < j.Rounds
	c := exec.Command("/init", "work", strconv.Itoa(round))
	c.Env = append(os.Environ(), "TAPE="+disk.tape)
	c.Stdout, c.Stderr = os.Stdout, os.Stdout
	if err := c.Start(); err != nil {
		return false, err
	}
	if killed {
		t := time.AfterFunc(time.Duration(j.Millis)*time.Millisecond, func() { _ = c.Process.Kill() })
		defer t.Stop()
	}
	err = c.Wait()
	var e *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &e) && e.ExitCode() == exitFull:
		return false, nil
	case errors.As(err, &e) && killed && !e.Exited():
	default:
		return false, err
	}
	fmt.Printf("powercut: round %d of %d is over\n", round, j.Rounds)
	return true, nil
}

// work is a round.
func work(arg string) int {
	err := workRound(arg)
	if err != nil {
		fmt.Println("powercut: the workload:", err)
		return 1
	}
	return 0
}

func workRound(arg string) error {
	j, err := readJob()
	if err != nil {
		return err
	}
	round, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	var mutants stages.Mutant
	if j.Mutant != "" {
		if mutants, err = stages.ParseMutant(j.Mutant); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(os.Getenv("TAPE"), os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	mem, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	t, err := tape.NewWriter(f, size, mem)
	if err != nil {
		return err
	}
	put := func(k tape.Kind, b []byte, first bool) {
		err := t.Put(k, uint32(round), b)
		// dm-log-writes logs what has FUA before what completed earlier without: only a flush keeps the
		// order of what has to be known first.
		if err == nil && first && j.Recorder == "dm" {
			err = f.Sync()
		}
		if errors.Is(err, tape.ErrFull) {
			os.Exit(exitFull)
		}
		if err != nil {
			fmt.Println("powercut: the tape:", err)
			os.Exit(1)
		}
	}
	put(tape.Begin, nil, true)
	ctx, stop := context.WithTimeout(context.Background(), time.Duration(j.Millis)*time.Millisecond)
	defer stop()
	backends := []ring.Backend{ring.Auto, ring.Threads, ring.Auto, ring.Buffered}
	w := &torture.Work{
		Dir: mountPoint + "/d", Mode: j.Mode, Mutants: mutants, Seed: j.Seed, Round: uint32(round),
		Shape: j.Shape, Backend: backends[round%len(backends)], DSync: round%3 == 0,
		Tell: func(b []byte, first bool) { put(tape.Events, b, first) },
	}
	return w.Run(ctx)
}
