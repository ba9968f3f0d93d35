package walstage

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkLanes asks whether one stream of groups leaves the drive idle: 64 appenders on one log, with
// one or more groups in flight, against the same appenders spread over logs of their own. Those share
// nothing and merge nothing: it is the most that parallel lanes could bring.
func BenchmarkLanes(b *testing.B) {
	for _, lanes := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			var a spread
			for range lanes {
				a.logs = append(a.logs, openBenchLog(b))
			}
			benchAppend(b, &a, 64, 1024)
		})
	}
}

// spread deals appends out to several logs.
type spread struct {
	logs []appender
	next atomic.Uint64
}

func (s *spread) commit(rec []byte) error {
	return s.logs[s.next.Add(1)%uint64(len(s.logs))].commit(rec)
}

func (s *spread) close() error {
	for _, l := range s.logs {
		if err := l.close(); err != nil {
			return err
		}
	}
	return nil
}
