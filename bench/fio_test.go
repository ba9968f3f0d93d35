package bench

import (
	"math"
	"testing"
)

func TestParseFIO(t *testing.T) {
	out := `fio: this note stands in front
{"fio version":"fio-3.33","jobs":[{"jobname":"limit","write":{"iops":50000.5,"total_ios":25000,"runtime":500},
"usr_cpu":10.0,"sys_cpu":30.0,"job_runtime":500}]}`
	iops, cpu, err := parseFIO([]byte(out))
	// 40 % of 500 ms for 25000 writes are 8 us each.
	if err != nil || iops != 50000.5 || math.Abs(cpu-8) > 1e-9 {
		t.Fatalf("%v writes/s, %v us, %v", iops, cpu, err)
	}
	for _, bad := range []string{"", "{}", `{"jobs":[]}`, `{"jobs":[{"write":{"iops":1}}]}`, "fio: failed"} {
		if _, _, err := parseFIO([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
