//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "rivals: needs Linux: its hand-written contenders use RWF_DSYNC and O_DIRECT")
	os.Exit(3)
}
