// Package pageimage is the record of a page image in the log: what modes fullpage and shadow write
// there before they overwrite a page, and what recovery restores. It does no I/O.
//
//	page in memory ──hole, codec──▶ record ──log──▶ Decode ──Restore──▶ page, byte for byte
//
// # Layout
//
// An image is the data of one log record whose kind is Kind. All fields are little endian.
//
//	offset size field
//	     0    1 version, 1
//	     1    1 codec: 0 = bytes as they are, 1 = lz4 block, 2 = zstd frame
//	     2    2 flags: 1 = the LSN belongs to another log, 2 = every change of the page is logged
//	     4    4 file id
//	     8    8 page number
//	    16    8 page LSN
//	    24    4 image CRC of the whole page (page.ImageCRC)
//	    28    4 page length
//	    32    4 hole: offset in the page
//	    36    4 hole: length, 0 = none
//	    40      the page without its hole, through the codec
//
// The hole is the longest run of zero bytes, on 8-byte boundaries; the unused space of a page is one
// as a rule. What is restored is checked against the image CRC, so a codec that errs is noticed.
// Record and group carry their own checksums: damage on the medium is the log's to find.
package pageimage
