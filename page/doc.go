// Package page names pages and knows their formats: where a page image keeps its checksum and its
// LSN, and how to check both. It does no I/O.
package page
