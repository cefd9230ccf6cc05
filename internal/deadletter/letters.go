package deadletter

import (
	"github.com/google/uuid"

	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/telemetry"
)

// namedInSparse bounds the records that the letter about a sparse entry names: it is
// one letter, and the ledger has them all.
const namedInSparse = 100

// letters reports an entry: its halves, and theirs, where there are more
// errors than fit into a message. Each points at the range of its own records.
func (n *notifier) letters(e ledger.Entry, key string) []queue.DeadLetter {
	if e.Kind == ledger.Parked { // it comes home without anybody's help
		return nil
	}
	if e.Sparse {
		return []queue.DeadLetter{sparseLetter(e, key)}
	}
	l, half := letter(e, key), len(e.Records)/2
	if half == 0 || n.dlq.Fits(l) {
		return []queue.DeadLetter{l}
	}
	first, second := e, e
	first.Records, second.Records = e.Records[:half], e.Records[half:]
	first.Range.Last, first.Range.Count = e.Records[half-1].Sequence, half
	second.Range.First, second.Range.Count = e.Records[half].Sequence, len(second.Records)
	return append(n.letters(first, key), n.letters(second, key)...)
}

// sparseLetter reports an entry whose range has other records, too.
func sparseLetter(e ledger.Entry, key string) queue.DeadLetter {
	named := e
	named.Records = e.Records[:min(len(e.Records), namedInSparse)]
	l := letter(named, key)
	l.Millrace.Sparse, l.Millrace.Omitted = true, len(e.Records)-len(named.Records)
	if n := len(e.Records); n > 0 {
		l.Batch.LastArrival = queue.Time{Time: e.Records[n-1].Arrived}
	}
	return l
}

// letter reports an entry, or a part of it. It has no bodies.
func letter(e ledger.Entry, key string) queue.DeadLetter {
	l := queue.DeadLetter{
		RequestContext: queue.RequestContext{
			RequestID:   uuid.NewSHA1(uuid.NameSpaceURL, []byte(key)).String(),
			FunctionARN: "millrace", Condition: queue.RetriesExhausted, ApproximateInvokeCount: 1,
		},
		ResponseContext: queue.ResponseContext{StatusCode: 200, ExecutedVersion: "$LATEST"},
		Version:         "1.0",
		Timestamp:       queue.Time{Time: e.At},
		Millrace:        &queue.DeadRecords{Ledger: key, Records: []queue.DeadRecord{}},
	}
	for _, r := range e.Records {
		shown := outcome.Error{Type: r.Error.Type, Reason: r.Error.Reason}.Redacted()
		l.Millrace.Records = append(l.Millrace.Records, queue.DeadRecord{
			ID: r.ID, Type: r.Type, Tenant: r.Tenant, Error: queue.Reason{Type: shown.Type, Reason: shown.Reason},
		})
	}
	l.ResponseContext.FunctionError = causeOf(e)
	if e.Kind == ledger.Loss {
		l.RequestContext.Condition = queue.RecordTooOld
	}
	if e.Kind != ledger.Ingest {
		l.Batch = batchInfo(e)
		if l.Batch.First != e.Range.First || l.Batch.Last != e.Range.Last {
			l.Millrace.First, l.Millrace.Last = e.Range.First, e.Range.Last
		}
	}
	return l
}

// causeOf is the type of the first error of an entry.
func causeOf(e ledger.Entry) string {
	switch {
	case e.Cause != nil:
		return e.Cause.Type
	case len(e.Records) > 0:
		return e.Records[0].Error.Type
	}
	return ""
}

// batchInfo points at the records of an entry.
func batchInfo(e ledger.Entry) *queue.KinesisBatchInfo {
	info := &queue.KinesisBatchInfo{
		ShardID: e.Range.Shard, First: telemetry.SequenceOf(e.Range.First), Last: telemetry.SequenceOf(e.Range.Last), Size: e.Range.Count, StreamARN: e.Range.StreamARN,
	}
	if n := len(e.Records); n > 0 {
		info.FirstArrival, info.LastArrival = queue.Time{Time: e.Records[0].Arrived}, queue.Time{Time: e.Records[n-1].Arrived}
	}
	return info
}
