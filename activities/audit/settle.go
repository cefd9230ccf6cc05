package audit

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/ledger"
)

// settle looks again for what was nowhere: once the grace is over, in a new list of open
// batches, in the whole ledger, and at last in the index. False if the call was stopped.
func (r *run) settle() bool {
	if len(r.suspects) == 0 {
		return true
	}
	if !backoff.Sleep(r.call.Going, time.Duration(r.in.Request.Grace)) {
		return false
	}
	if skip, known := r.recovering(); skip || !known {
		return known
	}
	if !r.look() {
		return false
	}
	var c Counts
	var left []suspect
	for _, one := range r.suspects {
		where, ok := r.place(one)
		if ok && where == nowhere {
			where, ok = r.inDoneLedger(&one)
		}
		if !ok {
			return false
		}
		if !c.enter(where) {
			left = append(left, one)
		}
	}
	var missing []Missing
	for chunk := range slices.Chunk(left, lookUpRecords) {
		there, ok := r.exist(chunk)
		if !ok {
			return false
		}
		for i, one := range chunk {
			if there[i] {
				c.Indexed++
				continue
			}
			missing = append(missing, one.Missing)
		}
	}
	c.Missing = int64(len(missing))
	c.Checked = c.Indexed + c.Held + c.Dead + c.Missing
	r.progress.count(c)
	for _, one := range missing[:min(len(missing), mostLogged)] {
		slog.Warn("a record is missing: it is in neither index nor ledger nor an open batch",
			"doc", one.ID, "index", one.Index, "shard", one.Shard, "sequence", one.Sequence, "object", one.Object, "arrived", one.Arrived, "note", one.Note)
	}
	r.progress.change(func(p *Progress) { p.Examples = missing[:min(len(missing), MostExamples)] })
	return true
}

// mostEntries is how many entries of the ledger are read for a record.
const mostEntries = 10

// inDoneLedger looks for a record in entries that are resolved: an operator has discarded
// it, or it came back under another sequence number and was refused again. What an entry
// says to be indexed must be in the index.
func (r *run) inDoneLedger(one *suspect) (at where, ok bool) {
	var found ledger.Finding
	find := func() (err error) {
		found, err = r.auditor.Ledger.Find(r.call.Work, ledger.Name{DocID: one.ID}, mostEntries)
		return err
	}
	if !r.call.Retry("search the ledger", find) {
		return nowhere, false
	}
	for _, hit := range found.Hits {
		e := hit.Entry
		if e.IsIndexed(hit.Record) || e.Held != nil || e.Resolution != nil && e.Resolution.How == ledger.HowSuperseded {
			continue
		}
		return inLedger, true
	}
	one.Note = strings.Join(found.Gaps, "; ")
	return nowhere, true
}
