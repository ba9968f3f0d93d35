//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// median of one figure over the rounds, and its least and most.
func median(rs []round, get func(round) float64) (mid, low, high float64) {
	if len(rs) == 0 {
		return 0, 0, 0
	}
	var x []float64
	for _, r := range rs {
		x = append(x, get(r))
	}
	slices.Sort(x)
	mid = x[len(x)/2]
	if n := len(x); n%2 == 0 {
		mid = (x[n/2-1] + x[n/2]) / 2
	}
	return mid, x[0], x[len(x)-1]
}

// table prints a load each, the quickest first, with its rate beside untorn's.
func (r *report) table(w io.Writer) {
	rate := func(x round) float64 { return x.PerSecond }
	h := &r.Host
	fmt.Fprintf(w, "on %s, %s %s, %d CPUs (%s), drive %s, %s, load %.1f; untorn %s\n",
		h.FileSystem, h.OS, h.Kernel, h.CPUs, h.CPU, strings.TrimSpace(h.Device+" "+h.Drive), cmp.Or(h.WriteCache, "write cache unknown"), h.Load, h.Revision)
	if h.FlushesOff != "" {
		fmt.Fprintf(w, "FLUSHES ARE OFF on this stack (%s): no figure below is of durable writes\n", h.FlushesOff)
	}
	fmt.Fprintf(w, "medians of %d rounds of %v s, in turns\n", r.Rounds, r.Seconds)
	for _, l := range r.Loads {
		what := fmt.Sprintf("%d x %d B records, each durable", l.Clients, l.Bytes)
		if l.Batch > 0 {
			what = fmt.Sprintf("%d x batches of %d random pages of %d KiB, durable and safe from tears",
				l.Clients, l.Batch, l.Bytes>>10)
		}
		fmt.Fprintf(w, "\n%s: %s\n", l.Load, what)
		var ours float64
		for _, c := range l.Contenders {
			if c.Name == "untorn" {
				ours, _, _ = median(c.Rounds, rate)
			}
		}
		list := slices.Clone(l.Contenders)
		slices.SortStableFunc(list, func(a, b *contenders) int {
			x, _, _ := median(a.Rounds, rate)
			y, _, _ := median(b.Rounds, rate)
			return int(y - x)
		})
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "\t%s/s\tleast\tmost\tuntorn is\tp50 us\tp99 us\tCPU us each\tdevice flushes an ack\t\n", l.Unit)
		for _, c := range list {
			if len(c.Rounds) == 0 {
				continue
			}
			mid, low, high := median(c.Rounds, rate)
			p50, _, _ := median(c.Rounds, func(x round) float64 { return x.P50 })
			p99, _, _ := median(c.Rounds, func(x round) float64 { return x.P99 })
			cpu, _, _ := median(c.Rounds, func(x round) float64 { return x.CPU })
			fl, _, _ := median(c.Rounds, func(x round) float64 { return x.Flushes })
			flushes := "not counted here"
			if fl >= 0 {
				flushes = fmt.Sprintf("%.3f", fl)
			}
			beside := "-"
			if ours > 0 && c.Name != "untorn" {
				beside = fmt.Sprintf("%.2f x", ours/mid)
			}
			fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%s\t%.0f\t%.0f\t%.1f\t%s\t\n", c.Name, mid, low, high, beside, p50, p99, cpu, flushes)
		}
		t.Flush()
	}
}
