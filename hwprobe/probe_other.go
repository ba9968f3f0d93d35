//go:build !linux

package hwprobe

import (
	"context"
	"fmt"
	"os"
	"runtime"
)

// Probe on anything but Linux tells only whether the path is there: RWF_ATOMIC and all it rests on
// are Linux's, so every verdict on the Report is unknown, with that reason. Captures taken on
// Linux can be decided anywhere.
func Probe(ctx context.Context, path string, opts Options) (*Report, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("hwprobe: %w", err)
	}
	opts = opts.withDefaults()
	r := &Report{Schema: SchemaCapture, Path: path, Time: stamp(), Masked: !opts.Serials,
		Host: Host{OS: Known(runtime.GOOS, ""), Arch: Known(runtime.GOARCH, "")}}
	switch {
	case info.Mode().IsRegular():
		r.File.Kind = FileRegular
	case info.IsDir():
		r.File.Kind = FileDirectory
	default:
		r.File.Kind = "special file"
	}
	return r, nil
}

// BlockDevices is not known how to do here.
func BlockDevices() ([]string, error) {
	return nil, fmt.Errorf("hwprobe: listing block devices is not supported on %s", runtime.GOOS)
}
