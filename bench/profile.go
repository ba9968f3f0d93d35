package bench

import (
	"io"
	"runtime/pprof"
)

// profiled runs f with a CPU profile going to w, if there is a w.
func profiled(w io.Writer, f func() error) error {
	if w == nil {
		return f()
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}
