// Command nvmebed runs hwprobe against a real Linux NVMe stack: a small virtual machine whose
// emulated drives have different atomic write limits. It needs no NVMe, no root and no KVM.
//
//	go run ./hwprobe/nvmebed              fetch what is missing, boot, test: a minute
//	go run ./hwprobe/nvmebed -no-fetch    use only what is there
//
// qemu (11 or newer, for limits by namespace), a kernel and its modules are fetched as packages
// by the machine's own apt, from the archive it already uses, into a cache folder; nothing is
// installed. Where that is not possible it says "SKIP" with the reason, and exits 0. The exit
// status is 0 for a pass or a skip, 1 if anything fell short, 3 if the bed itself did not work. A
// guest that is still going when its time is over, without a complaint by then, is a skip: the
// machine is too slow for it. One that has fallen silent is not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/untorn/untorn/vm"
)

// config is the command line.
type config struct {
	cache   string
	noFetch bool
	timeout time.Duration
	fetch   time.Duration
	keep    bool
}

func main() {
	var c config
	flag.StringVar(&c.cache, "cache", vm.DefaultCache(),
		"folder for packages and what is unpacked of them")
	flag.BoolVar(&c.noFetch, "no-fetch", false, "fetch nothing; skip if something is missing")
	flag.DurationVar(&c.timeout, "timeout", 5*time.Minute, "bound on the guest's whole run")
	flag.DurationVar(&c.fetch, "fetch-timeout", 3*time.Minute, "bound on fetching packages")
	flag.BoolVar(&c.keep, "keep", false, "keep the images and the initramfs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, c)
	switch {
	case errors.Is(err, vm.ErrSkip):
		fmt.Println("nvmebed:", err)
	case errors.Is(err, errFell):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "nvmebed:", err)
		os.Exit(3)
	}
}

func run(ctx context.Context, c config) error {
	from := vm.Source{Cache: c.cache, NoFetch: c.noFetch, Timeout: c.fetch}
	parts, err := from.Find(ctx, func(s string) { fmt.Println("nvmebed:", s) })
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	work, err := os.MkdirTemp("", "nvmebed-*")
	if err != nil {
		return err
	}
	if c.keep {
		fmt.Println("nvmebed: kept in", work)
	} else {
		defer os.RemoveAll(work)
	}
	began := time.Now()
	initrd := filepath.Join(work, "initrd")
	r := vm.Initrd{
		Init: "github.com/untorn/untorn/hwprobe/nvmebed/guest",
		// What it wants beyond what its kernel has built in.
		Modules: []string{"dm-mod", "md-mod", "raid0", "raid1", "xfs", "sd-mod", "scsi-debug"},
	}
	if err := r.Build(ctx, parts, initrd); err != nil {
		return err
	}
	args, err := drives(ctx, work)
	if err != nil {
		return err
	}
	if err := boot(ctx, parts, initrd, args); err != nil {
		return err
	}
	fmt.Printf("nvmebed: %.0f s\n", time.Since(began).Seconds())
	return nil
}
