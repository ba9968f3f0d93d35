package ringtest

import (
	"os"

	"golang.org/x/sys/unix"
)

func openDirect(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
}
