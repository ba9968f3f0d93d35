package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress is one line that is written over and over, on a terminal only.
type progress struct {
	w    io.Writer
	on   bool
	mu   sync.Mutex
	last time.Time
}

func (p *progress) show(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

func (p *progress) clear() {
	if p.on {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// bytes returns a callback that shows how far a long read has come.
func (p *progress) bytes() func(done, total int64) {
	begun := time.Now()
	return func(done, total int64) { p.show(bar(done, total, time.Since(begun))) }
}

// barWidth is the number of characters of a full bar.
const barWidth = 24

// bar is a line like "[######------------------]  25 %  1.0 of 4.0 GiB, 512 MiB/s, 6 s left".
func bar(done, total int64, took time.Duration) string {
	done = max(0, min(done, total))
	share := 1.0
	if total > 0 {
		share = float64(done) / float64(total)
	}
	n := int(share * barWidth)
	unit, name := float64(1<<20), "MiB"
	if total >= 10<<30 {
		unit, name = 1<<30, "GiB"
	}
	line := fmt.Sprintf("[%s%s] %3.0f %%  %.1f of %.1f %s", strings.Repeat("#", n), strings.Repeat("-", barWidth-n),
		share*100, float64(done)/unit, float64(total)/unit, name)
	if took < 500*time.Millisecond || done == 0 {
		return line // too early to tell
	}
	rate := float64(done) / took.Seconds()
	left := time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s, %.0f MiB/s, %s left", line, rate/(1<<20), left)
}
