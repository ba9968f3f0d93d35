// Package tablespace checks the data files of a PostgreSQL cluster or a MySQL or MariaDB server page
// by page, as pg_checksums and innochecksum do, without changing anything and without a lock.
//
// A survey lists the files and says how a page of each is checked; a run reads them all, in
// parallel, and judges each page with the formats of package page. A page that looks damaged is read
// again before it is reported, several times if the server may be running: a page that is whole once
// is whole. What no checksum covers is counted and named, never passed for sound.
//
//	Postgres   base, global and pg_tblspc of a data directory, or one file of a relation
//	InnoDB     ibdata*, undo*, *.ibd and *.ibu below a directory, or one file
package tablespace
