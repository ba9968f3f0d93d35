// Package super keeps the root of an engine directory: four copies of one small state, each in a
// zone of its own, and the header every data file carries.
//
// A new state is written to two copies, flushed and read back, then to the other two, flushed and
// read back; the first pair is always the two copies with the lowest sequence (an invalid copy
// counts as lowest). So at every instant at least two copies hold the old state or two the new.
// The highest valid sequence wins. Fewer than two valid copies refuse to open; two copies of one
// sequence with different bytes are corruption. Whatever a state names is durable before it.
//
//	zone 0          zone 1          zone 2          zone 3        each Zone bytes
//	[copy|  zeros ] [copy|  zeros ] [copy|  zeros ] [copy|  zeros ]
//
// docs/format.md has the bytes of a copy.
package super
