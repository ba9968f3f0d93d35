package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// FIO is what fio measured beside us: the same writes, the same files, in turns.
type FIO struct {
	Version string `json:"version"`
	Engine  string `json:"ioengine"`
	// RandomPages is random writes at the same depth, nothing flushed; RandomSynced with an fdatasync
	// every batch, for which fio waits until nothing is in flight.
	RandomPages     float64  `json:"random_pages_per_second"`
	RandomCPU       float64  `json:"random_cpu_us_per_page"`
	RandomSynced    float64  `json:"random_fdatasync_pages_per_second"`
	SequentialBytes float64  `json:"sequential_bytes_per_second"`
	Command         []string `json:"command"` // of the random writes
}

// fio runs its jobs once. A fio that is not installed is left out; one that fails is an error, for
// a missing column must mean that there is no fio.
func (l *limiter) fio(ctx context.Context, r *LimitResult) error {
	path, err := exec.LookPath("fio")
	if err != nil {
		return nil
	}
	if r.FIO == nil {
		r.FIO = &FIO{Engine: "io_uring"}
		if b, err := exec.CommandContext(ctx, path, "--version").Output(); err == nil {
			r.FIO.Version = strings.TrimSpace(string(b))
		}
		if r.Backend != "uring" {
			r.FIO.Engine = "psync" // one at a time; io_uring is not to be had here
		}
	}
	direct := "1"
	if !r.DirectIO {
		direct = "0"
	}
	base := func(file string, size int64) []string {
		return []string{
			"--name=limit", "--ioengine=" + r.FIO.Engine, "--direct=" + direct, "--filename=" + file,
			"--size=" + strconv.FormatInt(size, 10), "--time_based", "--overwrite=1", "--allow_file_create=0",
			fmt.Sprintf("--runtime=%dms", l.c.Duration.Milliseconds()), "--output-format=json",
		}
	}
	random := append(base(l.d.rand.Name(), l.d.c.bytes), "--rw=randwrite",
		fmt.Sprintf("--bs=%d", l.c.PageBytes), fmt.Sprintf("--iodepth=%d", l.c.Depth), "--norandommap")
	run := l.c.PageBytes * l.c.Batch
	sequential := append(base(l.d.seq.Name(), l.d.seqBytes()), "--rw=write",
		fmt.Sprintf("--bs=%d", run), fmt.Sprintf("--iodepth=%d", batchesInFlight))
	synced := append(append([]string{}, random...), fmt.Sprintf("--fdatasync=%d", l.c.Batch))
	r.FIO.Command = append([]string{"fio"}, random...)
	for _, j := range []struct {
		key  string
		args []string
	}{{"fio_random", random}, {"fio_synced", synced}, {"fio_sequential", sequential}} {
		iops, cpu, err := runFIO(ctx, path, j.args)
		if err != nil {
			return err
		}
		l.values[j.key] = append(l.values[j.key], iops)
		l.values[j.key+"_cpu"] = append(l.values[j.key+"_cpu"], cpu)
		if j.key == "fio_sequential" {
			l.values["fio_bytes"] = append(l.values["fio_bytes"], iops*float64(run))
		}
	}
	return nil
}

func (f *FIO) finish(v map[string][]float64) {
	f.RandomPages = minMedMax(v["fio_random"]).Median
	f.RandomCPU = minMedMax(v["fio_random_cpu"]).Median
	f.RandomSynced = minMedMax(v["fio_synced"]).Median
	f.SequentialBytes = minMedMax(v["fio_bytes"]).Median
}

// runFIO returns writes a second and microseconds of CPU a write.
func runFIO(ctx context.Context, path string, args []string) (iops, cpu float64, err error) {
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if ctx.Err() != nil {
		return 0, 0, ctx.Err()
	}
	if err != nil {
		var x *exec.ExitError
		if errors.As(err, &x) {
			err = fmt.Errorf("%w: %s", err, firstLine(string(x.Stderr)))
		}
		return 0, 0, fmt.Errorf("fio (-no-fio leaves it out): %w", err)
	}
	return parseFIO(out)
}

func parseFIO(out []byte) (iops, cpu float64, err error) {
	// fio may put notes in front of its JSON.
	if i := strings.IndexByte(string(out), '{'); i > 0 {
		out = out[i:]
	}
	var doc struct {
		Jobs []struct {
			Write struct {
				IOPS    float64 `json:"iops"`
				Total   float64 `json:"total_ios"`
				Runtime float64 `json:"runtime"` // ms
			} `json:"write"`
			User    float64 `json:"usr_cpu"` // percent of the job's run time
			System  float64 `json:"sys_cpu"`
			Runtime float64 `json:"job_runtime"` // ms
		} `json:"jobs"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return 0, 0, fmt.Errorf("fio's output: %w", err)
	}
	if len(doc.Jobs) != 1 || doc.Jobs[0].Write.Total == 0 {
		return 0, 0, errors.New("fio's output has no writes")
	}
	j := doc.Jobs[0]
	return j.Write.IOPS, (j.User + j.System) / 100 * j.Runtime * 1e3 / j.Write.Total, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
