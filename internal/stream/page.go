package stream

import "time"

// Record is one record of a shard.
type Record struct {
	Sequence string
	Arrived  time.Time // when Kinesis took it, approximately
	Data     []byte
	// Replayed: a recovery has put it, as a copy of one that was in the stream
	// before. It counts in no delay.
	Replayed bool
	// Continues: the next document is of the same container. See Documents.
	Continues bool
}

// Page is what one call of Next returned. Its records are the caller's.
type Page struct {
	Records []Record // none while the shard is idle
	// BehindLatest is how far the end of the page is from the tip of the
	// shard. Some emulators always say 0.
	BehindLatest time.Duration
	// ReadUpTo is the ReadUpTo of a checkpoint behind this page.
	ReadUpTo time.Time
	// End: the shard is closed and drained; Children are the shards that go on
	// after it. Next returns the same, without records, from then on.
	End      bool
	Children []string
	// Loss is set on the page before whose records some may be missing.
	Loss *Loss

	memory *memory
}

// Release gives the memory of the records back, for a later page. It need not
// be called, and at most once: the caller must not use any of the records or their data
// afterwards. Their sequence numbers stay.
func (p Page) Release() {
	if p.memory != nil {
		p.memory.release()
	}
}

// Loss is a possible loss: the record at the checkpoint is gone, and the shard was
// not read for longer than a stream is sure to keep records, or as far as is known
// never; or that record is younger. Whether there were others between After and Before, only the backup
// can tell.
type Loss struct {
	After  string    // the checkpoint's sequence number; empty if nothing had ever come
	Before string    // of the first record that is there; empty if there is none
	From   time.Time // up to when the shard had been read; zero if it never was, or that is not known
	To     time.Time // arrival of Before, or the time up to which it was seen that there is none
	// Anew is set where the stream itself was deleted, and made anew then.
	Anew time.Time
}

// String says it to people.
func (l Loss) String() string {
	if !l.Anew.IsZero() {
		return "the stream was deleted, and made anew at " + l.Anew.UTC().Format(time.RFC3339) + ": look into the backup for what came behind that record"
	}
	began := ", and the stream goes on at " + l.To.Format(time.RFC3339)
	if l.From.IsZero() {
		return "no checkpoint says that its beginning was ever read" + began
	}
	return "it was read up to " + l.From.Format(time.RFC3339) + ", the record up to which it was done is gone" + began
}
