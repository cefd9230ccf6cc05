package load

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

func testSource() *Source {
	return &Source{Run: "run-1", Start: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Interval: time.Millisecond, BadShare: 0.1}
}

func TestSourceMakesJSONOfNumber(t *testing.T) {
	t.Parallel()
	source, total, bad := testSource(), 0, 0
	for n := range uint64(1000) {
		text := source.Append(nil, n)
		total += len(text)
		var record struct {
			ID, Type  string
			Timestamp time.Time
			Duration  any
		}
		if err := json.Unmarshal(text, &record); err != nil {
			t.Fatalf("record %d is not JSON: %v\n%s", n, err, text)
		}
		if number, ours := source.Number(record.ID); !ours || number != n {
			t.Errorf("id %q of record %d reads as %d, %v", record.ID, n, number, ours)
		}
		if record.Type != source.Type(n) || !record.Timestamp.Equal(source.Timestamp(n)) {
			t.Errorf("record %d is %+v, not of type %s at %v", n, record, source.Type(n), source.Timestamp(n))
		}
		if isBad := record.Duration == BadDuration; isBad != source.Bad(n) {
			t.Errorf("record %d: bad is %v, want %v", n, isBad, source.Bad(n))
		} else if isBad {
			bad++
		}
		if again := source.Append(nil, n); string(again) != string(text) {
			t.Errorf("record %d differs when it is made again:\n%s\n%s", n, text, again)
		}
	}
	if mean := total / 1000; mean < 400 || mean > 500 {
		t.Errorf("a record has %d bytes, want about 450", mean)
	}
	if bad < 70 || bad > 130 {
		t.Errorf("%d of 1000 records are bad, want about 100", bad)
	}
}

func TestForeignIDsHaveNoNumber(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "run-1", "run-1-", "run-1-x", "run-1-01", "run-1-+1", "run-1--1", "run-2-1", "run-1-99999999999999999999"} {
		if n, ours := testSource().Number(id); ours {
			t.Errorf("%q is taken for number %d", id, n)
		}
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	var set Set
	numbers := []uint64{0, 63, 64, 1000, 5}
	for _, n := range numbers {
		if !set.Add(n) {
			t.Errorf("%d is not new", n)
		}
		if set.Add(n) {
			t.Errorf("%d is new a second time", n)
		}
	}
	slices.Sort(numbers)
	if got := slices.Collect(set.All()); !slices.Equal(got, numbers) {
		t.Errorf("the set holds %v, want %v", got, numbers)
	}
	if set.Has(1) || !set.Has(1000) || set.Has(1<<40) || set.Len() != uint64(len(numbers)) {
		t.Error("the set does not know what it holds")
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Average() != 0 {
		t.Error("an empty histogram has durations")
	}
	for ms := range 1000 {
		h.Add(time.Duration(ms+1) * time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 1: 1000} {
		if got := h.Quantile(q).Seconds() * 1000; math.Abs(got-want) > want*0.02 {
			t.Errorf("quantile %v is %.1f ms, want %v", q, got, want)
		}
	}
	if h.Average() != 500500*time.Microsecond || h.Max() != time.Second || h.Count() != 1000 {
		t.Errorf("average %v, max %v, count %d", h.Average(), h.Max(), h.Count())
	}
}

// collector takes posts, refuses some attempts, and keeps what it answered 202.
type collector struct {
	mu       sync.Mutex
	attempts int
	accepted map[string]int
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var records []struct{ ID string }
	if r.Header.Get("Authorization") != "ApiKey secret" || json.Unmarshal(body, &records) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts++
	switch c.attempts % 7 {
	case 1:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case 2:
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case 3:
		panic(http.ErrAbortHandler) // the connection breaks
	}
	w.WriteHeader(http.StatusAccepted)
	for i, record := range records {
		if i == 0 && c.attempts%7 == 4 {
			_, _ = w.Write([]byte(`{"rejected":[{"position":0,"reason":"why not"}]}`))
			continue
		}
		c.accepted[record.ID]++
	}
}

func TestSenderKeepsAcceptedNumbers(t *testing.T) {
	t.Parallel()
	c := &collector{accepted: map[string]int{}}
	server := httptest.NewServer(c)
	defer server.Close()
	sender := NewSender(testSource(), Settings{URL: server.URL, Key: "secret", Records: 503, Connections: 4, Duplicates: 0.3})
	var told Set
	sender.Answered = func(n uint64, sent, answered time.Time) {
		if !told.Add(n) || answered.Before(sent) {
			t.Errorf("record %d is reported twice, or was answered before it was sent", n)
		}
	}
	if err := sender.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts, posted := sender.Counts(), 0
	for id, times := range c.accepted {
		n, _ := sender.Source.Number(id)
		if !sender.Accepted.Has(n) {
			t.Errorf("%s was answered 202 and is not kept", id)
		}
		posted += times
	}
	if told.Len() != counts.Accepted {
		t.Errorf("%d are reported, %d were accepted", told.Len(), counts.Accepted)
	}
	if int(counts.Accepted) != len(c.accepted) {
		t.Errorf("%d are kept, %d were accepted", counts.Accepted, len(c.accepted))
	}
	if counts.Posted != 503 || int(counts.Accepted+counts.Duplicates) != posted || counts.Duplicates < 100 || counts.Retries == 0 || counts.Refused == 0 {
		t.Errorf("counts are %+v, and %d records were answered 202", counts, posted)
	}
	if sender.Trouble() == "" {
		t.Error("attempts failed, and nothing says how")
	}
	if sender.Latency.Count() != counts.Posts {
		t.Errorf("%d latencies of %d posts", sender.Latency.Count(), counts.Posts)
	}
}

func TestSenderStopsAtUnknownKey(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&collector{})
	defer server.Close()
	sender := NewSender(testSource(), Settings{URL: server.URL, Key: "other", Records: 10})
	if err := sender.Run(t.Context()); err == nil {
		t.Error("a sender without a valid key reports no error")
	}
}

func TestSenderStartsAtAnyNumber(t *testing.T) {
	t.Parallel()
	c := &collector{accepted: map[string]int{}}
	server := httptest.NewServer(c)
	defer server.Close()
	sender := NewSender(testSource(), Settings{URL: server.URL, Key: "secret", Records: 100, First: 5000, Duplicates: 0.5})
	if err := sender.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id := range c.accepted {
		if n, _ := sender.Source.Number(id); n < 5000 || n >= 5100 {
			t.Errorf("record %d was posted", n)
		}
	}
	if counts := sender.Counts(); counts.Posted != 100 || counts.Duplicates == 0 {
		t.Errorf("counts are %+v", counts)
	}
}

// Two that take at the same time must not share the last post between them.
func TestSenderFillsPosts(t *testing.T) {
	t.Parallel()
	for range 2000 {
		sender := NewSender(testSource(), Settings{Records: 1003, PerPost: 500})
		var sizes [4][]int
		var posters sync.WaitGroup
		for i := range sizes {
			posters.Go(func() {
				for p := (poster{Sender: sender}); p.take(t.Context()); {
					sizes[i] = append(sizes[i], len(p.numbers))
				}
			})
		}
		posters.Wait()
		all := slices.Concat(sizes[:]...)
		slices.Sort(all)
		if !slices.Equal(all, []int{3, 500, 500}) || sender.Counts().Posted != 1003 {
			t.Fatalf("posts had %v records, counts are %+v", all, sender.Counts())
		}
	}
}

func TestSenderStopsInTime(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&collector{accepted: map[string]int{}})
	defer server.Close()
	sender := NewSender(testSource(), Settings{URL: server.URL, Key: "secret", For: 50 * time.Millisecond, Rate: 1000})
	if err := sender.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if posted := sender.Counts().Posted; posted == 0 || posted > 1000 {
		t.Errorf("%d records were posted in 50 ms at 1000 a second", posted)
	}
}

func TestSenderStopsWhenTold(t *testing.T) {
	t.Parallel()
	c := &collector{accepted: map[string]int{}}
	server := httptest.NewServer(c)
	defer server.Close()
	sender := NewSender(testSource(), Settings{URL: server.URL, Key: "secret", For: time.Hour, Rate: 1000})
	sender.Answered = func(uint64, time.Time, time.Time) { sender.Stop() }
	if err := sender.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if counts := sender.Counts(); counts.GivenUp > 0 || int(counts.Accepted) != len(c.accepted) || counts.Accepted == 0 {
		t.Errorf("%d were accepted, and counts are %+v", len(c.accepted), counts)
	}
}

func TestPaddingHasRequestedSize(t *testing.T) {
	t.Parallel()
	plain, padded := testSource(), testSource()
	padded.Padding = func(n uint64) int { return int(n) * 1000 }
	for n := range uint64(3) {
		text := padded.Append(nil, n)
		var record struct{ Padding string }
		if err := json.Unmarshal(text, &record); err != nil || len(record.Padding) != int(n)*1000 {
			t.Errorf("record %d has %d bytes of padding: %v", n, len(record.Padding), err)
		}
		if n == 0 && string(text) != string(plain.Append(nil, n)) {
			t.Errorf("without padding record 0 is %s", text)
		}
	}
}

func TestSetDifference(t *testing.T) {
	t.Parallel()
	var all, some Set
	for n := range uint64(200) {
		all.Add(n)
		if n%3 == 0 {
			some.Add(n)
		}
	}
	some.Add(1000)
	for n := range all.Without(&some).All() {
		if n%3 == 0 {
			t.Errorf("%d is left", n)
		}
	}
	if left := all.Without(&some).Len(); left != 133 || all.Len() != 200 {
		t.Errorf("%d of %d are left", left, all.Len())
	}
}
