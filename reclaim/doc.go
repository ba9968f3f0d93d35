// Package reclaim decides when a doublewrite region may be used again: the slot states of DESIGN
// section 1 as a plain value type (Regions), and the stage that recycles batches and lets super
// carry the watermark when no header can.
//
//	          Assign            Reaped           FlushStart          FlushDone          Retire
//	(free) ───────────▶ writing ───────▶ reaped ───────────▶ covered ───────────▶ flushed ──────▶ (retired)
//	        S1 submitted          S1               S1                   S2, S3             S4
//
// Retired regions become usable again only when a durable header or super carries a watermark at
// or above the sequence they hold (I2). Regions keeps:
//
//	F        the newest sequence such that it and all before it are flushed (I6)
//	W        the newest sequence such that it and all before it are retired (I2, I7)
//	durable  the newest W that is known to be on the medium: a header carrying it was flushed, or super
//
// With P batches in flight of which D are not flushed, P + D regions never wait for super, if F
// and W go into the header at submission: the model in the design's folder checks the bound.
package reclaim
