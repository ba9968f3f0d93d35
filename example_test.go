package untorn_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"

	"github.com/untorn/untorn"
)

// The first thing a service does: open a directory, make a file, and write a page that survives a
// power cut whole, together with the record that explains it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "untorn-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	e, err := untorn.Open(ctx, untorn.Options{Dir: dir, SegmentBytes: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	accounts, err := e.OpenFile(ctx, "accounts", untorn.FileOptions{Create: true, Pages: 100})
	if err != nil {
		log.Fatal(err)
	}

	// First the record, then the page it changes, with the record's end as its LSN. There is no need
	// to wait in between: no copy of the page is written before the log is durable through its LSN.
	_, lsn, err := e.Append([]byte("account 7: +100"))
	if err != nil {
		log.Fatal(err)
	}
	page := make([]byte, accounts.PageSize())
	binary.LittleEndian.PutUint64(page[untorn.PageHeader:], 100)
	err = accounts.WritePages(ctx, []untorn.PageWrite{{No: 7, LSN: lsn, Data: page}}, untorn.Durable)
	if err != nil {
		log.Fatal(err)
	}

	got := make([]byte, accounts.PageSize())
	if err := accounts.ReadPages(ctx, []untorn.PageRead{{No: 7, Data: got}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("balance", binary.LittleEndian.Uint64(got[untorn.PageHeader:]))
	if err := e.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: balance 100
}

// The second: acknowledge a request as soon as its record is durable, write the pages later in
// batches, and let a checkpoint bound what the next open has to replay.
func ExampleEngine_Checkpoint() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "untorn-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	e, err := untorn.Open(ctx, untorn.Options{Dir: dir, SegmentBytes: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	f, err := e.OpenFile(ctx, "table", untorn.FileOptions{Create: true, Pages: 16})
	if err != nil {
		log.Fatal(err)
	}

	var last untorn.LSN
	for i := range 10 {
		if _, last, err = e.Append(fmt.Appendf(nil, "change %d", i)); err != nil {
			log.Fatal(err)
		}
	}
	if err := e.WaitDurable(ctx, last); err != nil { // one flush for all ten
		log.Fatal(err)
	}
	page := make([]byte, f.PageSize())
	copy(page[untorn.PageHeader:], "the outcome of ten changes")
	// Accepted promises nothing; the checkpoint waits for the page all the same.
	if err := f.WritePages(ctx, []untorn.PageWrite{{No: 0, LSN: last, Data: page}}, untorn.Accepted); err != nil {
		log.Fatal(err)
	}
	if err := e.Checkpoint(ctx, last, []byte("my notes")); err != nil {
		log.Fatal(err)
	}
	redo, notes := e.LastCheckpoint()
	fmt.Println(redo == last, string(notes))
	if err := e.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: true my notes
}

// The third: after a crash, see what the open did, and replay the records that pages have not seen.
func ExampleEngine_Replay() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "untorn-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := untorn.Options{Dir: dir, SegmentBytes: 1 << 20}
	e, err := untorn.Open(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	f, err := e.OpenFile(ctx, "table", untorn.FileOptions{Create: true, Pages: 16})
	if err != nil {
		log.Fatal(err)
	}
	page := make([]byte, f.PageSize())
	for i := range 3 {
		_, lsn, err := e.Append([]byte{byte(i)})
		if err != nil {
			log.Fatal(err)
		}
		if i == 0 { // only the first change has reached its page
			if err := f.WritePages(ctx, []untorn.PageWrite{{No: 0, LSN: lsn, Data: page}}, untorn.Durable); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := e.Close(ctx); err != nil { // a crash would leave the same records
		log.Fatal(err)
	}

	if e, err = untorn.Open(ctx, o); err != nil {
		log.Fatal(err)
	}
	if f, err = e.OpenFile(ctx, "table", untorn.FileOptions{}); err != nil {
		log.Fatal(err)
	}
	for r, err := range e.Replay(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		p := []untorn.PageRead{{No: 0, Data: page}}
		if err := f.ReadPages(ctx, p); err != nil {
			log.Fatal(err)
		}
		if p[0].LSN >= r.End {
			fmt.Println("record", r.Data[0], "is in the page")
			continue
		}
		fmt.Println("record", r.Data[0], "is applied again")
		err := f.WritePages(ctx, []untorn.PageWrite{{No: 0, LSN: r.End, Data: page}}, untorn.Accepted)
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("clean:", e.Report().Clean)
	if err := e.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// record 0 is in the page
	// record 1 is applied again
	// record 2 is applied again
	// clean: true
}
