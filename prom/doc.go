// Package prom exports an engine's Stats to Prometheus. The engine does not import it: what a
// service does not scrape it does not link.
//
//	c := prom.NewCollector(e, prom.Options{})
//	prometheus.MustRegister(c)
//	http.Handle("/metrics", promhttp.Handler())
//
// A scrape takes one snapshot and holds nothing up. Names carry the prefix of Options.Namespace,
// durations are in seconds, sizes in bytes. metrics.go is the list; dashboard.json is a Grafana
// dashboard of it.
package prom
