package queue

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	sentRecords = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_queue_sent_records_total",
		Help: "Records sent to the fallback queue, by result: taken, or the error code.",
	}, []string{"result"})
	sentMessages = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_queue_sent_messages_total",
		Help: "Messages sent to the fallback queue, by the place of their records: message, or overflow (in S3).",
	}, []string{"records"})
	receivedMessages = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_queue_received_messages_total",
		Help: "Messages received from the fallback queue: whole, damaged, gone (a second delivery whose overflow object is deleted), or unreadable at present.",
	}, []string{"result"})
	receivedRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_queue_received_records_total",
		Help: "Records in the messages received from the fallback queue.",
	})
	deletedMessages = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_queue_deleted_messages_total",
		Help: "Messages deleted from the fallback queue.",
	})
	deadLetters = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_queue_dead_letters_total",
		Help: "Messages sent to the dead-letter queue, by result: taken, or the error code.",
	}, []string{"result"})
)

func init() { sentRecords.WithLabelValues("taken") } // an alarm sees the first of them, too

// count enters how a parcel ended.
func (p parcel) count() {
	records := float64(p.to - p.from)
	if p.err != nil {
		sentRecords.WithLabelValues(code(p.err)).Add(records)
		return
	}
	sentRecords.WithLabelValues("taken").Add(records)
	where := "message"
	if p.overflow != "" {
		where = "overflow"
	}
	sentMessages.WithLabelValues(where).Inc()
}

// count enters a message that was received.
func (m Message) count() {
	receivedRecords.Add(float64(len(m.Records)))
	switch {
	case errors.Is(m.Damaged, ErrGone):
		receivedMessages.WithLabelValues("gone").Inc()
	case m.Damaged != nil:
		receivedMessages.WithLabelValues("damaged").Inc()
	default:
		receivedMessages.WithLabelValues("whole").Inc()
	}
}

// countLetter enters how a dead letter ended.
func countLetter(err error) {
	result := "taken"
	if err != nil {
		result = code(err)
	}
	deadLetters.WithLabelValues(result).Inc()
}

var receivedLetters = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "millrace_queue_received_dead_letters_total",
	Help: "Messages received from the dead-letter queue: letter, or unreadable. An unreadable one counts at each receipt.",
}, []string{"result"})

// countReceived enters a letter that was received.
func countReceived(damaged error) {
	result := "letter"
	if damaged != nil {
		result = "unreadable"
	}
	receivedLetters.WithLabelValues(result).Inc()
}
