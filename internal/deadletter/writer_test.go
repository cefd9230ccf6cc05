package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/testsuite"

	"millrace/internal/archive"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/test/kit/deadletters"
	"millrace/test/kit/made"
)

var (
	_ intake.DeadLetters = (*Writer)(nil)
	_ queue.Overflow     = (*archive.Bucket)(nil)
)

// secret stands for what only the ledger may show.
const secret = deadletters.Secret

// stores are a ledger and a dead-letter queue of their own, with what writes to both.
type stores struct {
	*deadletters.Stores
	writer *Writer
	teller *Teller
}

func newStores(t *testing.T) *stores {
	t.Helper()
	s := deadletters.New(t)
	// No attempt is bounded: a busy machine is no outage.
	return &stores{s, NewWriter(s.Ledger, s.Queue).Patient(), &Teller{board: s.Ledger, notifier: notifier{dlq: s.Queue}}}
}

func refusal() outcome.Error {
	return outcome.Error{
		Type: "document_parsing_exception", Status: 400,
		Reason: "[1:9] failed to parse field [password] of type [long] in document with id 'x'. Preview of field's value: '" + secret + "'",
		Cause:  &outcome.Error{Type: "number_format_exception", Reason: `For input string: "` + secret + `"`},
	}
}

// twoRecords has one record of ours and a foreign one.
func twoRecords(first, last string) Group {
	return Group{
		Range: made.Range(first, last, 2),
		Records: []stream.Record{
			{Sequence: first, Arrived: made.Arrival, Data: made.Record(1)},
			{Sequence: last, Arrived: made.Arrival.Add(time.Second), Data: []byte(`{"password":"` + secret + `"}`)},
		},
		Causes: []outcome.Error{refusal(), {Type: "foreign_record", Reason: "the head is missing"}},
	}
}

func TestDeadLettersAreInTheLedgerAndTheQueue(t *testing.T) {
	t.Parallel()
	g := newStores(t)
	var env testsuite.WorkflowTestSuite
	activities := env.NewTestActivityEnvironment()
	write := func(ctx context.Context) error {
		return g.writer.Write(ctx, []Group{twoRecords("10", "20"), twoRecords("40", "50")})
	}
	activities.RegisterActivity(write)
	if _, err := activities.ExecuteActivity(write); err != nil {
		t.Fatal(err)
	}

	entries := g.Entries()
	if len(entries) != 2 {
		t.Fatalf("%d entries: %v", len(entries), entries)
	}
	letters := g.Letters()
	if len(letters) != 2 {
		t.Fatalf("%d letters: %+v", len(letters), letters)
	}
	for i, run := range []Group{twoRecords("10", "20"), twoRecords("40", "50")} {
		e := entries[letters[i].Millrace.Ledger]
		if e.Kind != ledger.Bulk || e.Range != run.Range || !strings.Contains(e.Source, "workflow") || time.Since(e.At).Abs() > time.Minute || len(e.Records) != 2 {
			t.Fatalf("entry %+v", e)
		}
		for n, r := range e.Records {
			if !bytes.Equal(r.Data, run.Records[n].Data) || r.Sequence != run.Records[n].Sequence || !r.Arrived.Equal(run.Records[n].Arrived) {
				t.Errorf("record %d is %+v", n, r)
			}
		}
		ours := e.Records[0]
		if ours.ID != "1" || ours.Type != "span" || ours.Tenant != "acme" || ours.DocID == "" || ours.Index == "" {
			t.Errorf("record %+v", ours)
		}
		if want := refusal(); ours.Error.Reason != want.Reason || ours.Error.Status != 400 || ours.Error.Cause == nil || ours.Error.Cause.Reason != want.Cause.Reason {
			t.Errorf("the ledger keeps the error as %+v", ours.Error)
		}

		l := letters[i]
		wantBatch := &queue.KinesisBatchInfo{
			ShardID: run.Range.Shard, First: run.Range.First, Last: run.Range.Last, Size: 2, StreamARN: run.Range.StreamARN,
			FirstArrival: queue.Time{Time: made.Arrival}, LastArrival: queue.Time{Time: made.Arrival.Add(time.Second)},
		}
		if !reflect.DeepEqual(l.Batch, wantBatch) {
			t.Errorf("the letter points at %+v, want %+v", l.Batch, wantBatch)
		}
		if l.Version != "1.0" || l.RequestContext.Condition != "RetryAttemptsExhausted" || l.RequestContext.RequestID == "" ||
			l.ResponseContext.FunctionError != "document_parsing_exception" || !l.Timestamp.Equal(e.At) {
			t.Errorf("letter %+v", l)
		}
		told := l.Millrace.Records
		if len(told) != 2 || told[0].ID != "1" || told[0].Type != "span" || told[0].Tenant != "acme" || told[1].Error.Type != "foreign_record" ||
			!strings.Contains(told[0].Error.Reason, "[password]") {
			t.Errorf("the letter reports %+v", told)
		}
	}
	if letters[0].RequestContext.RequestID == letters[1].RequestContext.RequestID {
		t.Error("two letters about different entries have one request id")
	}
}

func TestWritingAgainAddsOnlyALetter(t *testing.T) {
	t.Parallel()
	g := newStores(t)
	for range 2 {
		if err := g.writer.Write(t.Context(), []Group{twoRecords("10", "20")}); err != nil {
			t.Fatal(err)
		}
	}
	if entries := g.Entries(); len(entries) != 1 {
		t.Errorf("%d entries", len(entries))
	}
	if l := g.Letters(); len(l) != 2 || l[0].RequestContext.RequestID != l[1].RequestContext.RequestID || l[0].Millrace.Ledger != l[1].Millrace.Ledger {
		t.Errorf("letters %+v", l)
	}
	if err := g.writer.Write(t.Context(), nil); err != nil || len(g.Letters()) > 0 {
		t.Errorf("writing nothing: %v", err)
	}
}

// Every error is told, in as many letters as that takes, each with the range of
// its records; the entry is one.
func TestLettersShareWhatDoesNotFitIntoOne(t *testing.T) {
	t.Parallel()
	g := newStores(t)
	const limit, records = 4096, 100
	if _, err := g.SQS.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &g.URL, Attributes: map[string]string{"MaximumMessageSize": strconv.Itoa(limit)},
	}); err != nil {
		t.Fatal(err)
	}
	dlq, err := queue.OpenDeadLetters(t.Context(), g.SQS, path.Base(g.URL))
	if err != nil {
		t.Fatal(err)
	}
	g.writer = NewWriter(g.Ledger, dlq).Patient()
	run := Group{Range: made.Range("1000", "1099", records)}
	for n := range records {
		run.Records = append(run.Records, stream.Record{Sequence: strconv.Itoa(1000 + n), Arrived: made.Arrival, Data: made.Record(n)})
		run.Causes = append(run.Causes, refusal())
	}
	for range 2 { // again: as many letters more, and no entry
		if err := g.writer.Write(t.Context(), []Group{run}); err != nil {
			t.Fatal(err)
		}
		letters := g.Letters()
		slices.SortFunc(letters, func(a, b queue.DeadLetter) int { return strings.Compare(a.Batch.First, b.Batch.First) })
		next := 0
		for _, l := range letters {
			told := l.Millrace.Records
			if l.Batch.Size != len(told) || l.Batch.First != strconv.Itoa(1000+next) || l.Batch.Last != strconv.Itoa(1000+next+len(told)-1) || l.Millrace.Omitted > 0 {
				t.Errorf("behind %d records a letter reports %d, at %+v", next, len(told), l.Batch)
			}
			for _, r := range told {
				if r.ID != strconv.Itoa(next) || r.Error.Type != refusal().Type {
					t.Errorf("in the place of record %d the letters report %+v", next, r)
				}
				next++
			}
			if l.RequestContext.RequestID != letters[0].RequestContext.RequestID || l.Millrace.Ledger != letters[0].Millrace.Ledger {
				t.Errorf("letters of one entry differ: %+v", l)
			}
		}
		if next != records || len(letters) < 2 {
			t.Errorf("%d letters report %d records", len(letters), next)
		}
		if entries := g.Entries(); len(entries) != 1 || entries[letters[0].Millrace.Ledger].Range != run.Range {
			t.Errorf("entries %+v", entries)
		}
	}
}

func TestLostRangeIsReportedWithoutRecords(t *testing.T) {
	t.Parallel()
	g := newStores(t)
	r := made.Range("10", "20", 0)
	if err := g.writer.WriteLoss(t.Context(), r, outcome.Error{Type: outcome.TypePossibleLoss, Reason: "trimmed"}); err != nil {
		t.Fatal(err)
	}
	// The records turn up after all: they have an entry of their own.
	if err := g.writer.Write(t.Context(), []Group{twoRecords("10", "20")}); err != nil {
		t.Fatal(err)
	}
	letters, entries := g.Letters(), g.Entries()
	if len(letters) != 2 || len(entries) != 2 {
		t.Fatalf("%d letters, %d entries", len(letters), len(entries))
	}
	lost := letters[1] // loss-… comes behind the numbers
	if e := entries[lost.Millrace.Ledger]; e.Kind != ledger.Loss || e.Range != r || e.Cause == nil || e.Cause.Type != outcome.TypePossibleLoss || e.Cause.Reason != "trimmed" || len(e.Records) > 0 {
		t.Errorf("entry %+v", e)
	}
	if lost.RequestContext.Condition != "RecordAgeExceeded" || lost.ResponseContext.FunctionError != outcome.TypePossibleLoss || lost.Batch == nil || lost.Batch.First != "10" || lost.Batch.Last != "20" {
		t.Errorf("letter %+v", lost)
	}
}

func TestRecordsTheStreamRefusesAreKept(t *testing.T) {
	t.Parallel()
	g := newStores(t)
	foreign := intake.Refused{Position: 3, Data: []byte(`{"password":"` + secret + `"}`), Code: outcome.TypeForeignPut, Reason: "the head is missing"}
	refused := intake.Refused{Position: 7, Data: made.Record(7), Code: "InvalidArgumentException", Reason: "no"}
	for _, of := range [][]intake.Refused{{foreign}, {foreign, refused}, {foreign, refused}} { // more of them, and again
		if err := g.writer.WriteIngest(t.Context(), "ingest/batch", of); err != nil {
			t.Fatal(err)
		}
	}
	entries, letters := g.Entries(), g.Letters()
	if len(entries) != 2 || len(letters) != 3 {
		t.Fatalf("%d entries, %d letters", len(entries), len(letters))
	}
	for _, l := range letters {
		e, want := entries[l.Millrace.Ledger], []intake.Refused{foreign, refused}
		if len(e.Records) == 1 {
			want = want[:1]
		}
		if e.Kind != ledger.Ingest || e.Batch != "ingest/batch" || e.Position != 3 || len(e.Records) != len(want) {
			t.Fatalf("entry %+v", e)
		}
		for n, r := range e.Records {
			if !bytes.Equal(r.Data, want[n].Data) || r.Error.Type != want[n].Code || r.Error.Reason != want[n].Reason {
				t.Errorf("record %+v", r)
			}
		}
		told := l.Millrace.Records
		if l.Batch != nil || l.ResponseContext.FunctionError != outcome.TypeForeignPut || len(told) != len(want) || told[len(told)-1].Error.Type != want[len(want)-1].Code {
			t.Errorf("letter %+v", l)
		}
	}
}

func TestLargeBatchesHaveSeveralEntries(t *testing.T) {
	t.Parallel()
	s := &steps{}
	w := &Writer{ledger: serially{s, make(chan struct{}, 1)}, notifier: notifier{dlq: s}}
	var refused []intake.Refused
	for n := range 21 {
		refused = append(refused, intake.Refused{Position: n, Data: make([]byte, 1<<20)})
	}
	if err := w.WriteIngest(t.Context(), "batch", refused); err != nil {
		t.Fatal(err)
	}
	if s.entries != 3 || s.letters != 3 || s.records != 21 {
		t.Errorf("%d records in %d entries, %d letters", s.records, s.entries, s.letters)
	}
}

// steps notes what a Writer does, and lets it fail.
type steps struct {
	ledgerErr, queueErr error
	entries, letters    int
	records             int
	untold              []string
}

func (s *steps) NoteUntold(_ context.Context, key string) error {
	s.untold = append(s.untold, key)
	return nil
}

func (s *steps) Add(_ context.Context, e ledger.Entry) (string, error) {
	if s.ledgerErr != nil && e.Range.First == "40" {
		return "", s.ledgerErr
	}
	if s.letters > 0 {
		panic("a letter was sent before its entry was written")
	}
	s.entries++
	s.records += len(e.Records)
	return "key", nil
}

func (s *steps) Fits(queue.DeadLetter) bool { return true }

func (s *steps) Send(_ context.Context, letters []queue.DeadLetter) (untaken []int, err error) {
	s.letters += len(letters)
	if s.queueErr != nil {
		for at := range letters {
			untaken = append(untaken, at)
		}
	}
	return untaken, s.queueErr
}

func TestLedgerComesFirst(t *testing.T) {
	t.Parallel()
	failed := errors.New("cannot be reached")
	for name, c := range map[string]struct {
		steps   steps
		letters int
		untold  int
		err     error
	}{
		"all well":         {steps{}, 2, 0, nil},
		"ledger cannot be": {steps{ledgerErr: failed}, 0, 0, failed},
		"queue cannot be":  {steps{queueErr: failed}, 2, 2, nil},
	} {
		w := &Writer{ledger: serially{&c.steps, make(chan struct{}, 1)}, notifier: notifier{dlq: &c.steps}}
		err := w.Write(t.Context(), []Group{twoRecords("10", "20"), twoRecords("40", "50")})
		if !errors.Is(err, c.err) || c.steps.letters != c.letters || len(c.steps.untold) != c.untold {
			t.Errorf("%s: %d letters, %d untold entries, error %v", name, c.steps.letters, len(c.steps.untold), err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows a body: %v", name, err)
		}
	}
}

// serially makes one call after the other.
type serially struct {
	entries
	turn chan struct{}
}

func (s serially) Add(ctx context.Context, e ledger.Entry) (string, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.entries.Add(ctx, e)
}

// It replaces the default logger, and so runs alone.
func TestLogsShowNoBody(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	w := &Writer{ledger: serially{&steps{}, make(chan struct{}, 1)}, notifier: notifier{dlq: &steps{}}}
	if err := w.Write(t.Context(), []Group{twoRecords("10", "20")}); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil || line["key"] != "key" {
		t.Errorf("the log says %s, %v", log.String(), err)
	}
	if strings.Contains(log.String(), secret) || strings.Contains(log.String(), "password") {
		t.Errorf("the log shows a body: %s", log.String())
	}
}
