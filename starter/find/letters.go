package find

import (
	"context"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// Letter is a record in an entry of the ledger.
type Letter struct {
	Key  string      `json:"key"`
	Kind ledger.Kind `json:"kind"`
	Open bool        `json:"open"`
	At   time.Time   `json:"at"` // when the entry was written
	// ReceivedAt is when a collector received the record.
	ReceivedAt time.Time     `json:"receivedAt,omitzero"`
	Tenant     string        `json:"tenant"`
	ID         string        `json:"id"`
	Doc        string        `json:"doc"`
	Type       string        `json:"type"`
	Index      string        `json:"index"`
	Error      outcome.Error `json:"error"`
	// Shard and Sequence are empty for what never reached the stream.
	Shard    string `json:"shard,omitempty"`
	Sequence string `json:"sequence,omitempty"`
	// Held names the ProcessBatch that is at work on it: the entry is a copy.
	Held string `json:"held,omitempty"`
	// Ended is how the record ended, where the entry is open for others of it.
	Ended string `json:"ended,omitempty"`
	// Resolution is how the entry ended.
	Resolution *ledger.Resolution `json:"resolution,omitempty"`
}

func letterOf(h ledger.Hit) Letter {
	l := Letter{
		Key: h.Key, Kind: h.Entry.Kind, Open: h.Entry.Resolution == nil, At: h.Entry.At,
		Tenant: h.Record.Tenant, ID: h.Record.ID, Doc: h.Record.DocID, Type: h.Record.Type, Index: h.Record.Index,
		Error: h.Record.Error, Shard: h.Entry.Range.Shard, Sequence: h.Record.Sequence,
		Ended: h.Record.Ended, Resolution: h.Entry.Resolution,
	}
	if h.Entry.Held != nil {
		l.Held = h.Entry.Held.By
	}
	if r, err := telemetry.Parse(h.Record.Data); err == nil {
		l.ReceivedAt = r.ReceivedAt
	}
	return l
}

func (f *Finder) inLedger(ctx context.Context, q Question) Search[Letter] {
	if q.ID == "" && q.Doc == "" && q.Trace == "" {
		return notSearched[Letter](noName)
	}
	if q.Trace != "" {
		return notSearched[Letter]("the ledger knows records by tenant and id, or by document id, not by trace")
	}
	finding, err := f.Ledger.Find(ctx, ledger.Name{Tenant: q.Tenant, ID: q.ID, DocID: q.Doc}, q.Most)
	if err != nil {
		return failed[Letter](err)
	}
	var found []Letter
	for _, h := range finding.Hits {
		if q.Tenant == "" || h.Record.Tenant == q.Tenant {
			found = append(found, letterOf(h))
		}
	}
	return searched(found, finding.More, finding.Gaps)
}
