package vm

import (
	"context"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Machine is the command that runs a guest: two emulated processors, its console on standard output,
// and whatever the qemu arguments add. It ends when the guest powers off.
func (p Parts) Machine(ctx context.Context, initrd string, mib int, args ...string) *exec.Cmd {
	argv := p.loader("qemu-system-x86_64",
		"-L", filepath.Join(p.root, "usr/share/qemu"), "-L", filepath.Join(p.root, "usr/share/seabios"),
		"-nodefaults", "-no-user-config", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", "2", "-m", strconv.Itoa(mib), "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", p.kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1")
	argv = append(argv, args...)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

// Format runs a mkfs command (its name and flags) on a file; where the command is missing that is an
// ErrSkip.
func Format(ctx context.Context, file string, command ...string) error {
	tool, err := exec.LookPath(command[0])
	if err != nil {
		// Not in everybody's PATH.
		if tool, err = exec.LookPath(filepath.Join("/usr/sbin", command[0])); err != nil {
			return Skip("no %s on this machine", command[0])
		}
	}
	args := append(append([]string{}, command[1:]...), file)
	if out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command[0], err, out)
	}
	return nil
}

// MBR is a partition table with Linux partitions at these sectors, each up to the next.
func MBR(starts []uint32, end uint32) []byte {
	b := make([]byte, 512)
	for i, s := range starts {
		e := b[446+16*i:]
		e[4] = 0x83
		next := end
		if i+1 < len(starts) {
			next = starts[i+1]
		}
		binary.LittleEndian.PutUint32(e[8:], s)
		binary.LittleEndian.PutUint32(e[12:], next-s)
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}
