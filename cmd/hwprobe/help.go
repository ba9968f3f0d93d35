package main

const usage = `usage: hwprobe [-page LIST] [-live] [-v] [-json FILE] [-capture FILE] PATH|DEVICE...
       hwprobe [-page LIST] [-v] [-json FILE] -all
       hwprobe [-page LIST] [-v] [-json FILE] -from FILE...
       hwprobe -h
`

const help = `hwprobe answers one question with its reasons: on this path, for this page size, may
doublewrite be relaxed? Anything that is not proven is "unknown", and unknown keeps doublewrite.

` + usage + `
The answer is for a writer whose every page write carries RWF_ATOMIC, which makes the kernel
refuse what it would have to split. It is no permission to turn off innodb_doublewrite or
full_page_writes: what it means for such writers is printed beside it.

  -page LIST       page sizes, in bytes or as 16KiB, separated by commas
                   (default 4096,8192,16384,32768,65536)
  -live            also try three RWF_ATOMIC writes for each page size, on a nameless scratch file
                   beside PATH; the only thing that writes
  -all             every block device of this machine, as a table
  -v               list every rule's outcome; with a table, everything about each line as well
  -json FILE       everything as JSON ("-" = standard output, in place of the table)
  -capture FILE    everything that was read, raw Identify pages included, as JSON, to decide from
                   elsewhere ("-" = standard output, in place of the table)
  -from FILE...    decide from captures ("-" = standard input); several make a table of a fleet
  -serials         keep serial numbers and unique ids, which are masked otherwise
  -no-probe-file   in a directory, look at a file that is there; make no nameless empty one
  -hardware-only   do not accept copy-on-write in software (XFS) as relaxed
  -trust-awupf     take the controller's AWUPF for a promise (rule 11g): only if its maker says so
  -trust-emulated  take an emulated drive's numbers for a promise (rules 8, 11b, 12): test beds only

Exit status. With several paths and page sizes the first line that holds counts:
  2  wrong usage
  3  unknown for one at least, or one could not be looked at (a message is on standard error)
  1  protection is required for one at least
  0  relaxed for every page size asked about, on every path
So ask about the page size you use: the default list holds sizes few drives take whole.
-from gives the status the probe itself gave, for the same -page and policy.

It works without root, and says what it could not see. Identify needs read permission on the
device node (root, or group disk); device-mapper tables need root.

Examples
  hwprobe -page 16384 /var/lib/mysql         may a 16 KiB page go without doublewrite here?
  hwprobe -v -page 16384 /dev/nvme0n1        every rule, for a raw device
  hwprobe -live -page 16384 /srv/data        and try it
  hwprobe -all                               every device of this machine
  hwprobe -capture host7.json /srv/data      take it along ...
  hwprobe -page 16384 -from host*.json       ... and decide for the whole fleet elsewhere
  hwprobe -page 16384 -json - /srv/data | jq '.results[].verdicts[].answer'
`
