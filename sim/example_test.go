package sim_test

import (
	"fmt"
	"unsafe"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// A workload writes a page of two sectors twice, and acknowledges each version after a flush. The
// power is then cut wherever it matters, every state that may be left is made, and each is held
// against what had been acknowledged.
func Example() {
	disk := sim.New(sim.Config{Seed: 1})
	if err := disk.WriteFile("/data", make([]byte, 1024)); err != nil {
		panic(err)
	}
	disk.Record()

	file, err := disk.FS().Open("/data", fsys.OpenFlags{Direct: true})
	if err != nil {
		panic(err)
	}
	r := disk.Ring()
	for version := byte(1); version <= 2; version++ {
		page := page(version)
		write := ring.Op{Kind: ring.Write, File: file, Buf: page}
		flush := ring.Op{Kind: ring.DataSync, File: file}
		if r.Do(&write) != nil || r.Do(&flush) != nil {
			panic("no faults were injected")
		}
		disk.Mark(version)
	}
	r.Close()

	log := disk.Log()
	states, older, torn := 0, 0, 0
	for at, point := range log.Points(log.Cuts()) {
		acknowledged := byte(0)
		for _, mark := range log.Marks(at) {
			acknowledged = mark.(byte)
		}
		for _, crashed := range point.States(sim.Explore{NoGarbage: true}) {
			// An engine would be opened here, on crashed.FS() and crashed.Ring().
			got, err := crashed.ReadFile("/data")
			if err != nil {
				panic(err)
			}
			states++
			if got[0] < acknowledged || got[512] < acknowledged {
				older++
			}
			if got[0] != got[512] {
				torn++
			}
		}
	}
	fmt.Printf("%d states: %d older than acknowledged, %d torn\n", states, older, torn)
	// Output: 9 states: 0 older than acknowledged, 4 torn
}

// page is 1024 bytes at an address direct I/O accepts.
func page(fill byte) []byte {
	b := make([]byte, 2048)
	for uintptr(unsafe.Pointer(&b[0]))%512 != 0 {
		b = b[1:]
	}
	b = b[:1024]
	for i := range b {
		b[i] = fill
	}
	return b
}
