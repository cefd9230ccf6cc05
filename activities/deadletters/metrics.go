package deadletters

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var unreadableLetters = promauto.NewGauge(prometheus.GaugeOpts{
	Name: "millrace_dead_letters_unreadable",
	Help: "Unreadable messages, which stay in the dead-letter queue, as this worker last saw them.",
})
