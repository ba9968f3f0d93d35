package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
	"github.com/untorn/untorn/vm"
)

// errFell tells that the guest ran and something fell short.
var errFell = errors.New("something fell short")

// drives makes the images and returns the qemu arguments that attach them.
func drives(ctx context.Context, work string) ([]string, error) {
	var args []string
	for i, d := range spec.Drives() {
		img := filepath.Join(work, d.Serial)
		if err := image(ctx, img, d); err != nil {
			return nil, err
		}
		args = append(args,
			"-drive", fmt.Sprintf("if=none,id=d%d,file=%s,format=raw,cache=unsafe", i, img),
			"-device", fmt.Sprintf("nvme,id=c%d,serial=%s,model=%s,firmware-version=%s,atomic.awun=%d,atomic.awupf=%d",
				i, d.Serial, spec.Model(), spec.Firmware(), d.AWUN, d.AWUPF),
		)
		ns := fmt.Sprintf("nvme-ns,bus=c%d,nsid=1,drive=d%d,logical_block_size=%d,physical_block_size=%d", i, i, d.LBA, d.LBA)
		for _, a := range []struct {
			name string
			v    int
		}{{"nawun", d.NAWUN}, {"nawupf", d.NAWUPF}, {"nabsn", d.NABSN}, {"nabspf", d.NABSPF},
			{"nabo", d.NABO}} {
			if a.v > 0 {
				ns += fmt.Sprintf(",atomic.%s=%d", a.name, a.v)
			}
		}
		args = append(args, "-device", ns)
	}
	return args, nil
}

func image(ctx context.Context, name string, d spec.Drive) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(int64(d.MiB) << 20); err != nil {
		return err
	}
	if len(d.Parts) > 0 {
		if _, err := f.Write(vm.MBR(d.Parts, uint32(d.MiB)<<11)); err != nil {
			return err
		}
	}
	if d.Format == nil {
		return nil
	}
	return vm.Format(ctx, name, d.Format...)
}

// boot runs the guest, shows what it prints, and judges by its last line.
func boot(ctx context.Context, p vm.Parts, initrd string, drives []string) error {
	cmd := p.Machine(ctx, initrd, 384, drives...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	said := show(out)
	err = cmd.Wait()
	last := said.verdict
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && said.complaints == 0 && time.Since(said.at) < silence:
		return vm.Skip("the guest was still going when its time was over, and nothing had fallen short by then: this machine is too slow (-timeout)")
	case ctx.Err() != nil:
		return fmt.Errorf("the guest did not finish in time, its last line is %s old: %w", time.Since(said.at).Round(time.Second), ctx.Err())
	case err != nil:
		return fmt.Errorf("qemu: %w", err)
	case last == "nvmebed: PASS":
		return nil
	case strings.HasPrefix(last, "nvmebed: FAIL"):
		return errFell
	}
	return errors.New("the guest ended without a verdict")
}

// silence is how long a guest that works may say nothing: mounting an XFS under emulation takes
// ten seconds on a busy machine.
const silence = time.Minute

// console is what the guest said.
type console struct {
	verdict    string    // its last line about the bed
	at         time.Time // when it last said anything
	complaints int
}

// show copies the guest's console until it ends.
func show(r io.Reader) console {
	said := console{at: time.Now()}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := strings.TrimRight(sc.Text(), "\r")
		if i := strings.Index(line, "nvmebed: "); i >= 0 {
			said.verdict = line[i:]
		}
		if strings.Contains(line, complaint) {
			said.complaints++
		}
		said.at = time.Now()
		fmt.Println(line)
	}
	return said
}

// complaint is how the guest begins what fell short (see bed.fail).
const complaint = "falls short: "
