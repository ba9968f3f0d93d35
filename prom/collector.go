package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/stages"
)

// Source is what a Collector reads; *untorn.Engine is one.
type Source interface {
	Stats() untorn.Stats
	// Err is the engine's poison, nil while it is healthy.
	Err() error
}

// Options of a Collector.
type Options struct {
	// Namespace is the prefix of every name. "" = "untorn".
	Namespace string
	// Labels are added to every metric: the engine's name, where a process has several.
	Labels prometheus.Labels
}

// Collector is a prometheus.Collector of one engine.
type Collector struct {
	src   Source
	descs []*prometheus.Desc // one for each of metrics
}

// NewCollector returns a collector that reads src at every scrape.
func NewCollector(src Source, o Options) *Collector {
	if o.Namespace == "" {
		o.Namespace = "untorn"
	}
	c := &Collector{src: src}
	for _, m := range metrics {
		c.descs = append(c.descs, prometheus.NewDesc(o.Namespace+"_"+m.name, m.help, m.labels, o.Labels))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := snapshot{Stats: c.src.Stats(), poisoned: c.src.Err() != nil}
	for i, m := range metrics {
		m.read(&s, emitter{c.descs[i], m.kind, ch})
	}
}

// snapshot is what one scrape sees.
type snapshot struct {
	untorn.Stats
	poisoned bool
}

// emitter sends values of one metric.
type emitter struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	ch   chan<- prometheus.Metric
}

func (e emitter) value(v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.desc, e.kind, v, labels...)
}

// summary sends a distribution whose values are multiplied by scale. Its sum and count are those
// since the distributions began (untorn.Engine.ResetDistributions).
func (e emitter) summary(q stages.Quantiles, scale float64, labels ...string) {
	e.ch <- prometheus.MustNewConstSummary(e.desc, uint64(q.Count), q.Mean*float64(q.Count)*scale, map[float64]float64{
		0.5: float64(q.P50) * scale, 0.9: float64(q.P90) * scale, 0.99: float64(q.P99) * scale,
		0.999: float64(q.P999) * scale, 1: float64(q.Max) * scale,
	}, labels...)
}
