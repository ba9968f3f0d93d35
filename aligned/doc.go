// Package aligned is memory for direct I/O: page-aligned, outside the Go heap, fixed in size, and
// registered with a ring once.
//
// The kernel reads and writes these bytes while no Go pointer to them may be in use, and the
// collector must neither free nor move them nor pay for scanning them: so a Slab is one anonymous
// mapping, asked to be made of huge pages, that lives until Close. Where there is no mmap it is an
// over-allocated piece of the heap, which does not move in today's Go either.
//
// # Pool
//
// A Pool hands out frames of 4 KiB to 64 KiB from one Slab. The memory is divided into 64 KiB
// chunks; a chunk holds frames of one size, and goes back to the common list when all of its
// frames are free:
//
//	slab   | chunk 0       | chunk 1       | chunk 2       | chunk 3       | ...
//	        16K 16K 16K 16K  64K             free            4K 4K 4K 4K ...
//
// Rules a Pool keeps, each with a test:
//
//   - All or nothing: a Get takes all of its frames in one step or none, so that two callers can
//     never hold half of what the other waits for.
//   - First come, first served: who waits is served in order, and nobody overtakes the queue. A
//     large Get is therefore not starved by small ones.
//   - Neighbours: frames of one Get are adjacent and ascending where the memory allows, so that
//     writes of them merge into few pieces.
//   - Nobody waits unheard: Wants and Wanted tell whoever holds frames longer than they must.
//   - Fixed memory: the pool never grows. A Get of more than all of it is ErrTooLarge at once.
//   - Single owner: a frame belongs to who got it until Put. Putting it twice panics.
//
// Neither Get nor Put allocates, except that a Get that has to wait makes its waiter the first
// time.
package aligned
