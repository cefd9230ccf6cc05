package recovery

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	drills = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_drills_total",
		Help: "Drills by result: complete, incomplete or failed.",
	}, []string{"result"})
	// lastDrill is not there before it is known.
	lastDrill = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_drill_last_success_timestamp_seconds",
		Help: "Start of the last complete drill.",
	}, nil)
)

func init() {
	for _, end := range []string{DrillComplete, DrillIncomplete, DrillFailed} { // an alarm sees the first of them, too
		drills.WithLabelValues(end)
	}
}
