package prom_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/prom"
)

//go:embed dashboard.json
var dashboard []byte

// scraped is the text of a real scrape of an engine that has done some of everything.
func scraped(t *testing.T) (string, *prometheus.Registry) {
	t.Helper()
	ctx := t.Context()
	e, err := untorn.Open(ctx, untorn.Options{Dir: t.TempDir(), Memory: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	f, err := e.OpenFile(ctx, "table", untorn.FileOptions{Create: true, Pages: 8})
	if err != nil {
		t.Fatal(err)
	}
	_, lsn, err := e.Append([]byte("a record"))
	if err != nil {
		t.Fatal(err)
	}
	hold, err := e.Hold("copy", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hold.Release)
	page := make([]byte, untorn.DefaultPageSize)
	if err := f.WritePages(ctx, []untorn.PageWrite{{No: 3, LSN: lsn, Data: page}}, untorn.Durable); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(ctx, lsn, nil); err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(prom.NewCollector(e, prom.Options{Labels: prometheus.Labels{"engine": "a"}})); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	t.Cleanup(srv.Close)
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v\n%s", resp.Status, err, b)
	}
	return string(b), r
}

func TestScrape(t *testing.T) {
	text, r := scraped(t)
	for _, want := range []string{
		`untorn_wal_records_total{engine="a"} `,
		`untorn_stage_pages_total{engine="a",stage="doublewrite"} 1`,
		`untorn_holder_lag_bytes{engine="a",holder="copy",kind="hold"} `,
		`untorn_checkpoints_total{engine="a",outcome="done"} 1`,
		`untorn_doublewrite_backlog_pages{engine="a"} 0`,
		`untorn_flush_duration_seconds_count{engine="a",stage="destination"} `,
		`untorn_poisoned{engine="a"} 0`, `untorn_io_stuck_seconds{engine="a"} 0`,
		`untorn_wal_bytes_written_total{`, `untorn_wal_syncs_total{`, `untorn_wal_sync_duration_seconds_count{`,
		`untorn_wal_size_bytes{`, `untorn_oldest_transaction_age_seconds{`, `untorn_checkpoint_duration_seconds{`,
		`untorn_page_images_total{`, `untorn_page_image_bytes_total{`, `untorn_flush_pages_count{`,
		`untorn_flush_files_count{`, `untorn_slot_waits_total{`, `untorn_blocked_seconds_total{cause="memory"`,
		`untorn_recovery_bytes{`, `untorn_checkpoint_backlog_pages{`, `untorn_atomic_refusals_total{`,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("the scrape lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

type broken struct{}

func (broken) Stats() untorn.Stats { return untorn.Stats{} }
func (broken) Err() error          { return untorn.ErrPoisoned }

// TestPoisoned: an engine that has stopped, or was never started, can be scraped, and says so.
func TestPoisoned(t *testing.T) {
	want := "# HELP x_poisoned 1 = a write or flush failed and the engine has stopped for good: reopen it.\n" +
		"# TYPE x_poisoned gauge\nx_poisoned 1\n"
	c := prom.NewCollector(broken{}, prom.Options{Namespace: "x"})
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "x_poisoned"); err != nil {
		t.Error(err)
	}
}

// TestDashboard: every name in the dashboard's queries is one that is exported.
func TestDashboard(t *testing.T) {
	text, _ := scraped(t)
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(dashboard, &d); err != nil {
		t.Fatal(err)
	}
	optional := regexp.MustCompile(`^untorn_(archive_|recovery_estimated_)`) // only where there is one
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			names := regexp.MustCompile(`untorn_[a-z_]+`).FindAllString(q.Expr, -1)
			if len(names) == 0 {
				t.Errorf("%s: no metric of ours in %q", p.Title, q.Expr)
			}
			for _, n := range names {
				if !strings.Contains(text, "\n"+n+"{") && !optional.MatchString(n) {
					t.Errorf("%s: %s is not exported", p.Title, n)
				}
			}
		}
	}
	if len(d.Panels) < 10 {
		t.Errorf("%d panels", len(d.Panels))
	}
}
