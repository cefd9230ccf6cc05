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
	redrivePace = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_redrive_pace_records",
		Help: "Limit of records redriven a second; 0 if there is none.",
	})
)
