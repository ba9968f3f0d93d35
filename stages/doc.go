// Package stages holds what the pipeline's stages share: the messages they meet in, the index of
// pages in flight, the goroutines they run on, their meters and the fail-stop switch. It knows
// nothing of what any stage does.
//
//	callers ──Write, Read, Barrier──▶ dwbstage ──Batch (S2), Read──▶ datastage ──Batch (S4)──▶ reclaim
//	                                     ▲  ▲                           │                        │
//	                                     │  └── Refusal (a file moves) ─┘                        │
//	                                     └────── Credit (retired, watermark durable) ◀───────────┘
//
// Rules of the channels, which together exclude a cycle of full inboxes:
//
//   - the inbox of dwbstage and that of datastage are bounded and carry new work; a full one is
//     the backpressure;
//   - completions, credits, refusals and retired batches travel on channels with room for all that
//     can be outstanding, so whoever sends on them never waits;
//   - datastage sends on nothing else, so it always makes progress, and with it everyone upstream.
//
// A Batch and everything in it has one owner at a time: dwbstage from acceptance until it hands
// the flushed batch on, datastage until every page of it is at S4, reclaim until it is recycled.
package stages
