package recovery

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/longcall"
)

// TestWaitingCallsCountUntilTheyEnd: those alone that have waited for longer than any answer takes.
func TestWaitingCallsCountUntilTheyEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &calls{stages: map[*longcall.Stall]string{}}
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		waiting := func(stage string) (n float64) {
			families, err := registry.Gather()
			if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 3 {
				t.Fatalf("%d families: %v", len(families), err)
			}
			for _, m := range families[0].GetMetric() {
				if strings.Contains(m.String(), stage) {
					n = m.GetGauge().GetValue()
				}
			}
			return n
		}
		var stuck, moves longcall.Stall
		end, other := c.begin(SweepBackfill, &stuck), c.begin(SweepBackfill, &moves)
		defer other()
		stuck.Set("read the backup", errors.New("S3 is away"))
		if n := waiting(SweepBackfill); n != 0 {
			t.Errorf("%g calls wait at once", n)
		}
		time.Sleep(waitingAfter + time.Second)
		if backfill, verify := waiting(SweepBackfill), waiting(SweepVerify); backfill != 1 || verify != 0 {
			t.Errorf("%g calls of backfill and %g of verify wait", backfill, verify)
		}
		stuck.Clear("read the backup")
		if n := waiting(SweepBackfill); n != 0 {
			t.Errorf("%g calls wait when nothing fails", n)
		}
		stuck.Set("read the backup", errors.New("S3 is away"))
		time.Sleep(waitingAfter + time.Second)
		end()
		if n := waiting(SweepBackfill); n != 0 {
			t.Errorf("%g calls wait after their end", n)
		}
	})
}
