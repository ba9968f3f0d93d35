package main

import "strings"

// usage is the part of a help text that says how to call it.
func usage(help string) string {
	_, rest, _ := strings.Cut(help, "\n\n")
	part, _, _ := strings.Cut(rest, "\n\n")
	return part + "\n"
}

const helpExit = `
Exit status: 0 fine, 1 what was read back is not what was acknowledged, 2 usage, 3 could not run.
`

const helpAll = `untornbench measures what protecting pages against torn writes costs on this drive.

usage: untornbench [-dir D] [-duration 1s] [-repeat 3] [-json FILE] [-html FILE] [FLAGS of run]
       untornbench run     [FLAGS]       one mode, one workload
       untornbench sweep   [FLAGS]       one workload at several values of one setting
       untornbench wal     [FLAGS]       the log alone
       untornbench limit   [FLAGS]       what the drive can do: the bounds
       untornbench recovery [FLAGS]      the open after a crash, by the size of the log
       untornbench compare A.json B.json two results, with their spread
       untornbench COMMAND -h

Without a command it compares all modes, here and now, in less than a minute: a table, and a report
in HTML (untornbench.html; -html FILE elsewhere, -html "" nowhere). Everything happens in a scratch
directory inside -dir (the current one), which is removed at the end, also after an interrupt.

Modes
  doublewrite  a batch of pages goes to the doublewrite file, is flushed, is written in place, is
               flushed; a torn page is repaired from its copy
  atomic       every write with RWF_ATOMIC; only where hwprobe proves that to be enough
  fullpage     the log holds the second copy: an image at the first write after a checkpoint, or at
               every write of pages without a log record (run -log)
  detect       checksums only: a torn page is found, not repaired
  none         nothing: the floor
  naive        baseline: page by page, copy, flush, in place, flush
  naive-batch  baseline: the same a batch at a time, through the page cache

Columns
  bound        what the drive can do at most for the work the mode cannot do without, measured right
               before and after each interval, in the same directory
  efficiency   pages/s as a share of it
  p50 ...      latency of one call of -batch pages, from wanting to write to the acknowledgement
  bytes/byte   what went to the device for each byte of a page

Defaults here: 16 clients x 64 pages of 16 KiB, 128 MiB working set, 3 rounds of 1 s a mode, every
page read back twice at the end. untornbench run -h explains the other flags; of those -mode, -unsafe,
-rate, -overload, -sweep, -ack, -series, -hgrm, -hlog and -cpuprofile are only run's. The baselines have
no log: with -log N they append nothing.

Examples
  untornbench                                the comparison, in the current directory
  untornbench -dir /srv/data -duration 5s    on another drive, and longer
  untornbench -clients 1 -html one.html      a single caller
  untornbench run -mode doublewrite -dir /srv/data -json a.json
  untornbench run -overload 120              more than can be done: who waits for what
  untornbench sweep -over clients -values 1,4,16,64 -html clients.html
  untornbench wal -sweep clients=1,4,16,64 -commit sync,async
  untornbench limit -sync                    what makes bytes durable here, and how fast
` + helpExit

const helpRun = `untornbench run measures one way of protecting pages under one workload.

usage: untornbench run [-dir D] [-mode M] [-unsafe]
         [-page 16KiB] [-size 1GiB] [-duration 10s] [-warmup 1s] [-repeat 1] [-clients 32] [-batch 64]
         [-dist uniform|zipf|hot|seq] [-hot 10] [-rate R] [-overload P] [-reads P]
         [-ack durable|protected|logged|accepted] [-sweep SETTING=V,V...]
         [-backend auto|uring|threads|buffered] [-depth N] [-cores N]
         [-dwb-batch N] [-dwb-batches N] [-dwb-sync flush|dsync]
         [-log BYTES] [-zeros P] [-seed 1] [-bound 250ms] [-wal-dir W] [-dwb-dir B]
         [-verify] [-keep] [-json FILE] [-html FILE] [-series FILE] [-hgrm FILE] [-hlog FILE]
         [-gobench FILE] [-cpuprofile FILE]

Where
  -dir D           a scratch directory is made in here, and removed at the end; D is made, and
                   removed again, if it is not there (default: the current directory)
  -wal-dir W       the engine's log elsewhere, -dwb-dir B its doublewrite file: other devices
  -keep            leave the scratch directories
What
  -mode M          doublewrite (default), atomic, fullpage, detect, none, naive or naive-batch: see
                   untornbench -h; auto takes atomic in hardware or else doublewrite; shadow is
                   doublewrite with an image in the log beside it, for comparing them
  -unsafe          allows mode none, which can lose pages by design
  -ack LEVEL       what a call waits for: durable in place, protected by a copy, its log record, or
                   only acceptance (default durable; the baselines know no other)
  -page N          page size, 4KiB to 64KiB (default 16KiB)
  -size N          working set (default 1GiB)
  -dist D          pages are chosen uniform, zipf (YCSB's, theta 0.99), hot (nine tenths of the calls
                   go to -hot percent of the pages, default 10) or seq (default uniform); clients
                   have ranges of their own, and no batch names a page twice
  -log N           append a log record of N bytes before each call; its pages carry its LSN and are
                   not written before it is durable (default 0: no record)
  -reads P         percent of calls, 0 to 99, that read a batch of the client's own pages and check
                   it; their latency and throughput are shown beside those of writes
  -zeros P         percent of a page that compresses away (default 0)
How much
  -clients N       callers (default 32), -batch N pages in each call (default 64)
  -rate R          open loop: R pages a second in all, whatever the answers; latency counts from when
                   a call was meant to begin (default: closed loop)
  -overload P      open loop at P percent of what a closed loop does right before: callers fall
                   behind, and what blocks them is shown by cause
  -sweep S=V,V...  the same workload at several values of a setting: as untornbench sweep
  -duration D      of a measured interval (default 10s), -warmup D before each (default 1s; 0: none)
  -repeat N        intervals; the median is shown, with the spread (default 1)
  -bound D         how long each part of the bound is measured, before and after each interval
                   (default 250ms; 0: not at all, and no efficiency)
  -seed N          of contents and choices (default 1)
Engine
  -backend B       io_uring, threads, or buffered through the page cache (default auto)
  -depth N         writes in place in flight (default: the engine's; 128 for the bound)
  -cores N         GOMAXPROCS during the measured intervals (default: as it is)
  -checkpoint N    bytes of log between two checkpoints (default 192MiB); a page that is written in
                   between again logs no second image in mode fullpage, if -log gives it records
  -image-codec C   compress page images: lz4, zstd or none (default none)
  -dwb-batch N     bytes of a doublewrite batch, -dwb-batches N of them in flight (default: the
                   engine's)
  -dwb-sync W      how a batch is made durable: one flush for what has been written, or DSYNC writes
                   (default: the engine's)
Result
  -verify          read every page at the end, close, open again, read every page once more; each
                   must be whole and the version acknowledged last
  -json FILE       everything; of this and the files below one can be "-", standard output in place of
                   the table. What cannot be written is refused before anything is measured
  -html FILE       the report, one file that needs no network
  -series FILE     the time series as CSV (it is in the JSON, too)
  -hgrm FILE       the latency distribution as HdrHistogram's plotter reads it; that of reads goes to
                   FILE.reads
  -hlog FILE       the latencies of each step as a HdrHistogram interval log; reads have the tag read
  -gobench FILE    the figures as go test -bench prints them, for benchstat
  -cpuprofile FILE a CPU profile of the last measured interval, for go tool pprof

cpu_us_per_page is user and system time of the whole process, the clients' own work included; what
filling a page takes of it is stated beside it.

Examples
  untornbench run -dir /srv/data -verify
  untornbench run -mode none -unsafe -ack durable -json none.json
  untornbench run -clients 1 -batch 1 -ack protected          one page, one caller
  untornbench run -rate 20000 -duration 60s -html steady.html an open loop
  untornbench run -mode naive-batch -clients 16 -repeat 5
  untornbench run -overload 120 -ack protected -html overload.html
` + helpExit

const helpSweep = `untornbench sweep measures one workload at several values of one setting, in turns, so that all of
them see the same disk: a table, and a curve in the report.

usage: untornbench sweep -over SETTING -values V,V,... [-mode M,M...] [-html FILE] [-json FILE]
         [-gobench FILE] [FLAGS of run]

  -over SETTING    checkpoint (MiB of log between two), clients, batch, cores, depth, page, rate or reads
  -values V,V,...  its values, up to 64 points in all; sizes take KiB and MiB
  -mode M,M...     a curve for each of these modes (default doublewrite); none needs -unsafe

All other flags are those of untornbench run, without -hgrm, -hlog, -series and -cpuprofile, which
are of one run. Defaults here: a working set of 256 MiB for each point, and three rounds of 2 s. An
interrupt keeps the points that were measured.

Examples
  untornbench sweep -over clients -values 1,2,4,8,16,32,64 -html clients.html
  untornbench sweep -over batch -values 1,4,16,64,256 -mode doublewrite,none -unsafe
  untornbench sweep -over rate -values 5000,10000,20000,30000 -batch 8    latency against load
  untornbench sweep -over checkpoint -values 32,128,512 -mode doublewrite,fullpage -log 128
  untornbench sweep -over page -values 4KiB,8KiB,16KiB,32KiB,64KiB
` + helpExit

const helpWAL = `untornbench wal measures the log alone: clients append a record and wait until it is durable.

usage: untornbench wal [-dir D] [-record 1024] [-clients 64] [-duration 10s] [-warmup 1s] [-repeat 1]
         [-commit sync|async|never[,...]] [-sweep SETTING=V,V...] [-rate R] [-overload P]
         [-method auto|dsync|flush] [-groups N] [-cores N] [-zeros P] [-bound 250ms]
         [-backend auto|uring|threads|buffered] [-verify] [-keep] [-json FILE] [-html FILE]
         [-series FILE] [-hgrm FILE] [-hlog FILE] [-gobench FILE] [-cpuprofile FILE]

  -record N        bytes of a record (default 1024), 16 to 256KiB
  -clients N       callers, each with one record at a time (default 64)
  -commit C        sync: every append waits until its record is durable (default); async: it waits
                   only where more than 1 MiB or 10 ms of records would be at risk; never: nothing is
                   flushed but for checkpoints, and a crash may take all since: shows what flushes cost.
                   Several, with commas between them, are measured in turns, and compared
  -sweep S=V,V...  the same at several values of a setting, in turns, with a curve for each -commit:
                   clients, record, groups, cores or rate; up to 32 points, 512 MiB of disk each
  -rate R          open loop: R records a second in all, whatever the answers; latency counts from when
                   an append was meant to begin (default: closed loop)
  -overload P      open loop at P percent of what a closed loop does right before: callers fall behind,
                   and what blocks them is shown by cause
  -method M        how groups are made durable: DSYNC writes, a write and a flush, or what is faster
                   here (default auto)
  -groups N        most groups in flight (default: the engine's 4; it starts with one and adapts)
  -cores N         GOMAXPROCS during the measured intervals (default: as it is)
  -zeros P         percent of a record that compresses away (default 0)
  -bound D         how long the bound is measured, before and after each interval (default 250ms;
                   0: not at all, and no efficiency)
  -verify          close, open again, and check every record the log still has: contents, order, and
                   that the last ones acknowledged are there
  -dir, -duration, -warmup, -repeat, -backend, -keep, -json, -html, -series, -hgrm, -hlog,
  -gobench, -cpuprofile   as in untornbench run -h; a sweep has no -series, -hgrm, -hlog, -cpuprofile

Segments are recycled by a checkpoint every 192 MiB, as in a service that runs for long. The bound is
what bare writes through the engine's ring do with the records that all callers have under way at
once: in one write or divided among two or four, by DSYNC or a write and a flush; the best of these.
(With commit async and never: 1 MiB at a time.) A bare DSYNC write of one block is timed beside it:
what a lone appender cannot beat.

Examples
  untornbench wal -dir /srv/data
  untornbench wal -clients 1 -json one.json
  untornbench wal -commit async -record 200
  untornbench wal -commit sync,async,never -repeat 3 -html commit.html
  untornbench wal -sweep clients=1,2,4,8,16,32,64 -duration 2s -repeat 3 -html clients.html
  untornbench wal -sweep record=128,1KiB,8KiB,64KiB -commit sync,async -duration 2s
  untornbench wal -overload 120
` + helpExit

const helpLimit = `untornbench limit asks the drive what it can do, through the engine's ring and nothing else of it.

usage: untornbench limit [-dir D] [-page 16KiB] [-batch N] [-depth 32] [-depths 1,8,32,128]
         [-size 512MiB] [-duration 400ms] [-repeat 3] [-sync] [-no-fio]
         [-backend auto|uring|threads|buffered] [-seed 1] [-keep] [-json FILE] [-html FILE]
         [-gobench FILE]

  -page N          bytes of a random write (default 16KiB)
  -batch N         pages a flush, and pages of a sequential write (default: 1 MiB of them)
  -depth N         random writes in flight (default 32)
  -depths N,N...   random and sequential writes, flushed and not, with each of these in flight: a curve
                   (default 1,8,32,128; a quarter of -duration for each)
  -size N          of the file random writes go to (default and most 512MiB)
  -duration D      of each measurement (default 400ms), -repeat N rounds of all of them (default 3);
                   medians are shown
  -sync            also every way to make 4KiB to 1MiB durable, with its latency; what only looks
                   durable is marked
  -no-fio          leave fio out. Where it is installed it does the same writes to the same files in
                   the same rounds: a second opinion
  -dir, -backend, -seed, -keep, -json, -html, -gobench   as in untornbench run -h

The bounds
  free             1 / (1/random + 1/sequential): every page is written once in sequence and once in
                   place, nothing is flushed, and the drive's time is shared between the two
  flushed          the same of random writes flushed every -batch pages and of sequential writes each
                   flushed, with as many batches in flight as the engine has
  overlapped       the two at the same time in the order protection demands, measured: a doublewrite
                   without checksums, index or clients

Examples
  untornbench limit -dir /srv/data
  untornbench limit -page 4KiB -depth 128 -json limit.json
  untornbench limit -depths 1,2,4,8,16,32,64,128,256 -html depth.html
  untornbench limit -sync -no-fio
` + helpExit

const helpCompare = `untornbench compare sets two results side by side, with the spread of their repeats.

usage: untornbench compare [-force] [-json FILE] A.json B.json

  -force           compare results of different hosts or configurations; what differs is listed
  -json FILE       the comparison as JSON ("-" = standard output, in place of the table)

A difference is only called one where the ranges of at least three repeats each do not overlap; then
the least it can be is given as well. Without -force, results of different hosts or configurations
are refused with status 3.

Examples
  untornbench run -repeat 5 -json before.json
  untornbench run -repeat 5 -json after.json
  untornbench compare before.json after.json
` + helpExit

const helpRecovery = `untornbench recovery measures the open after a crash, by how large the log has become since the last
checkpoint: pages and records are written, the engine is left as a crash leaves it, and opened.

usage: untornbench recovery [-dir D] [-mode M,M...] [-logs N,N...] [-page 16KiB] [-image-codec C]
         [-repeat 1] [-backend auto|uring|threads|buffered] [-keep] [-json FILE] [-html FILE]
         [-gobench FILE]

  -dir D           a scratch directory is made in here, and removed at the end (default: the current
                   directory)
  -mode M,M...     doublewrite, fullpage, shadow or detect (default doublewrite,fullpage); where pages
                   are not logged, records of a page's size fill the log
  -logs N,N...     bytes of log to recover from (default 32MiB,128MiB,512MiB)
  -page N          page size (default 16KiB)
  -image-codec C   compress page images: lz4, zstd or none (default none)
  -backend B       io_uring, threads, or buffered through the page cache (default auto)
  -repeat N        crashes of each kind, all shown (default 1)
  -keep            leave the scratch directories
  -json FILE       everything ("-" = standard output, in place of the table)
  -html FILE       the report, one file that needs no network: time by phase, and the log a second beside
                   plain reads of the same files
  -gobench FILE    the figures as go test -bench prints them, for benchstat

Examples
  untornbench recovery -dir /srv/data
  untornbench recovery -mode fullpage -logs 64MiB,1GiB -repeat 3
` + helpExit
