// Package recovery brings a directory back after a power cut or a kill: it collects the evidence
// of the doublewrite file, decides page by page which image may be trusted (I6, I7), and rolls
// forward so that a crash during recovery leaves the same decision to be made again (I8).
//
//	Scan ──▶ Evidence ──▶ Plan (Decide, page by page) ──▶ Apply ──▶ Report
//	headers  F, W, heads   reads slots, destinations      1 rewrite the regions used, flush
//	                                                      2 write destinations, flush
//	                                                      then the engine retires all regions in super
//
// The caller has locked every file, raised the epoch in super and flushed everything before Scan:
// what is read may still be lost from the page cache of a failed flush, and is never taken for
// durable. Decide is pure and literal; TestDecideTable walks it over all inputs.
package recovery
