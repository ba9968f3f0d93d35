package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Boot mounts what process 1 needs and loads the modules of vm.Initrd, with their parameters.
func Boot(parameters map[string]string) error {
	for _, m := range []struct{ fs, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs",
		"/dev"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fs, m.at, m.fs, 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	mods, _ := filepath.Glob("/modules/*.ko") // numbered: Glob sorts
	for _, m := range mods {
		f, err := os.Open(m)
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(m), ".ko"), "-")
		err = unix.FinitModule(int(f.Fd()), parameters[name], 0)
		f.Close()
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	return nil
}

// PowerOff ends the machine, if this is process 1: everybody else would end the wrong one.
func PowerOff() {
	if os.Getpid() != 1 {
		return
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("power off:", err)
	}
	select {}
}

// OpenSoon waits for devtmpfs to show a node: the kernel makes it on a thread of its own.
func OpenSoon(node string) (*os.File, error) {
	var err error
	for range 200 {
		var f *os.File
		if f, err = os.OpenFile(node, os.O_RDWR, 0); err == nil {
			return f, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}
