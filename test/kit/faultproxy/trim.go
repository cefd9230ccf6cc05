package faultproxy

import (
	"encoding/json"
	"math"
	"net/http"
	"time"
)

// Trim takes from the answers of GetRecords what arrived before a time, as a
// stream does whose retention was shortened. A page of which nothing is left says
// that the tip is still ahead.
type Trim struct{ Before time.Time }

func (t Trim) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	got := record(r, forward)
	if got.Code != http.StatusOK {
		replay(w, got, got.Body.Len())
		return nothing
	}
	var page map[string]json.RawMessage
	var records []json.RawMessage
	must(json.Unmarshal(got.Body.Bytes(), &page))
	must(json.Unmarshal(page["Records"], &records))
	kept := []json.RawMessage{}
	for _, one := range records {
		var told struct{ ApproximateArrivalTimestamp float64 } // seconds
		must(json.Unmarshal(one, &told))
		if arrived := time.UnixMilli(int64(math.Round(1000 * told.ApproximateArrivalTimestamp))); !arrived.Before(t.Before) {
			kept = append(kept, one)
		}
	}
	if len(kept) == len(records) {
		replay(w, got, got.Body.Len())
		return nothing
	}
	page["Records"] = encode(kept)
	if len(kept) == 0 {
		page["MillisBehindLatest"] = encode(time.Second.Milliseconds())
	}
	answer(w, r, page)
	return len(records) - len(kept)
}
