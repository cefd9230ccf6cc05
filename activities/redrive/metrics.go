package redrive

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	redrivenRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_records_total",
		Help: "Records moved from the fallback queue into the stream.",
	})
	redriveThrottled = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_throttled_total",
		Help: "Calls in which the stream rejected some records of the fallback queue.",
	})
	redriveOldest = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_redrive_oldest_seconds",
		Help: "Age of the oldest record that is being redriven, since its collector received it; 0 while the fallback queue is empty. The worker that redrives reports it.",
	}, []string{"queue"})
	redrivePace = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_redrive_pace_records",
		Help: "Limit of records redriven a second; 0 if there is none.",
	})
)
