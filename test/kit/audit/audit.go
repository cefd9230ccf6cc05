// Package audit says what became of the records that a sender was told are
// safe. It reads Elasticsearch, the ledger in S3 and the dead-letter queue with
// no code of the pipeline but the names of things, and believes no counter:
// sets of ids decide.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/internal/load"
)

// Stores is where records end.
type Stores struct {
	Elasticsearch string // address
	Index         string // to look into, or a pattern; empty: all telemetry
	Tenant        string // whose documents and ledger entries count; empty: all
	S3            *s3.Client
	Bucket        string

	// DeadLetters is the address of the dead-letter queue, which must report
	// each record of the ledger that counts. Empty: it is not asked. It can be
	// asked only while KeepDeadLetters is paused, which deletes each letter whose
	// entry the ledger has and leaves no trace of it.
	DeadLetters string
	Queues      *sqs.Client
}

// Sent is what a sender keeps: a load.Sender's Source and Accepted.
type Sent struct {
	Source   *load.Source
	Accepted *load.Set

	// Dead tells which records belong into the ledger. Default: the source's
	// bad ones.
	Dead func(n uint64) bool
	// Excused: a good record may be in the ledger instead, since an operator has
	// given it up.
	Excused bool
}

func (s Sent) dead(n uint64) bool {
	if s.Dead != nil {
		return s.Dead(n)
	}
	return s.Source.Bad(n)
}

// Report is what an audit found. Records that no sender of ours made are in
// Others and nowhere else, but for Duplicated and Delay.
type Report struct {
	Accepted     uint64 // distinct
	Indexed      uint64 // of the accepted
	DeadLettered uint64 // of the accepted, in the ledger with error and payload, reported, and not indexed
	Lost         uint64 // of the accepted, neither
	Duplicated   uint64 // documents whose tenant, type and id another one has
	Altered      uint64 // documents that differ from what was posted
	Misjudged    uint64 // good records that were dead-lettered, bad ones that were indexed
	Unanswered   uint64 // indexed or dead-lettered, though no answer had promised it: no fault
	Bad          uint64 // of the accepted, those that belong into the ledger
	Excused      uint64 // good records that were dead-lettered, and may be: no fault
	Others       uint64 // documents of other senders, distinct
	OthersDead   uint64 // ledger records of other senders, distinct and not indexed

	// Delay is indexed_at less received_at of every document.
	Delay *load.Histogram

	// Findings describe the first of what is wrong, by id and without bodies.
	Findings []string
}

// Clean reports whether every accepted record ended as it must.
func (r Report) Clean() error {
	var wrong []error
	for what, n := range map[string]uint64{
		"lost": r.Lost, "duplicated": r.Duplicated, "altered": r.Altered, "misjudged": r.Misjudged,
	} {
		if n > 0 {
			wrong = append(wrong, fmt.Errorf("%d %s", n, what))
		}
	}
	if r.Accepted != r.Indexed+r.DeadLettered+r.Lost {
		wrong = append(wrong, fmt.Errorf("the audit itself is wrong: %d accepted, %d indexed, %d dead-lettered, %d lost", r.Accepted, r.Indexed, r.DeadLettered, r.Lost))
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("%w; among them:\n  %s", errors.Join(wrong...), strings.Join(r.Findings, "\n  "))
}

// maxFindings is how many findings a report describes.
const maxFindings = 20

// Run reads all there is and compares. Nothing may be in flight: a record that
// is indexed while Run reads may be called lost.
func Run(ctx context.Context, stores Stores, sent ...Sent) (Report, error) {
	a := &audit{senders: sent, others: map[string]bool{}, othersDead: map[string]bool{}, amiss: map[string]string{}}
	a.Delay = new(load.Histogram)
	for range sent {
		a.indexed = append(a.indexed, new(load.Set))
		a.dead = append(a.dead, new(load.Set))
	}
	if err := stores.documents(ctx, a.document); err != nil {
		return a.Report, fmt.Errorf("audit Elasticsearch: %w", err)
	}
	if stores.DeadLetters != "" {
		var err error
		if a.told, err = stores.tales(ctx); err != nil {
			return a.Report, fmt.Errorf("audit the dead-letter queue: %w", err)
		}
	}
	if err := stores.deadLetters(ctx, a.deadLetter); err != nil {
		return a.Report, fmt.Errorf("audit the ledger: %w", err)
	}
	a.conclude()
	return a.Report, nil
}

type audit struct {
	Report
	senders       []Sent
	indexed, dead []*load.Set // by sender
	others        map[string]bool
	othersDead    map[string]bool
	told          map[tale]bool     // by the dead-letter queue; nil if that is not asked
	amiss         map[string]string // why a record of the ledger does not count, by id
}

// identity is what tells records apart.
type identity struct {
	ID, Type, Tenant string
}

// identify reads the identity of a record. encoding/json would take members whose
// names differ in case, too, and the last of them: those are the client's own.
func identify(text []byte) (i identity, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return i, fmt.Errorf("read an object: %w", err)
	}
	for name, to := range map[string]*string{"id": &i.ID, "type": &i.Type, "tenant": &i.Tenant} {
		if value := members[name]; value != nil {
			if err := json.Unmarshal(value, to); err != nil {
				return i, fmt.Errorf("read %s: %w", name, err)
			}
		}
	}
	return i, nil
}

func (i identity) key() string { return i.Tenant + "\x00" + i.Type + "\x00" + i.ID }

// sender finds who made a record, or -1.
func (a *audit) sender(id string) (sender int, n uint64) {
	for i, s := range a.senders {
		if n, ours := s.Source.Number(id); ours {
			return i, n
		}
	}
	return -1, 0
}

func (a *audit) find(format string, args ...any) {
	if len(a.Findings) < maxFindings {
		a.Findings = append(a.Findings, fmt.Sprintf(format, args...))
	}
}

// document takes one document of Elasticsearch.
func (a *audit) document(index string, source json.RawMessage) error {
	d, err := identify(source)
	if err != nil {
		return fmt.Errorf("decode a document of %s: %w", index, err)
	}
	var times struct {
		ReceivedAt time.Time `json:"received_at"`
		IndexedAt  time.Time `json:"indexed_at"`
	}
	if err := json.Unmarshal(source, &times); err != nil {
		return fmt.Errorf("decode the times of a document of %s: %w", index, err)
	}
	a.Delay.Add(times.IndexedAt.Sub(times.ReceivedAt))
	sender, n := a.sender(d.ID)
	if sender < 0 {
		if a.others[d.key()] {
			a.Duplicated++
			a.find("duplicated: %s %s in %s", d.Type, d.ID, index)
		}
		a.others[d.key()] = true
		return nil
	}
	if !a.indexed[sender].Add(n) {
		a.Duplicated++
		a.find("duplicated: %s in %s", d.ID, index)
		return nil
	}
	if what := difference(a.senders[sender].Source.Append(nil, n), source); what != "" {
		a.Altered++
		a.find("altered: %s in %s: %s", d.ID, index, what)
	}
	if a.senders[sender].dead(n) {
		a.Misjudged++
		a.find("bad, but indexed: %s in %s", d.ID, index)
	}
	return nil
}

// deadLetter takes one record of the ledger. It counts only with its error, as
// it was posted, and if the dead-letter queue reports it.
func (a *audit) deadLetter(g deadRecord) {
	sender, n := a.sender(g.ID)
	if sender < 0 {
		if g.cause != "" {
			a.othersDead[g.key()] = true
		}
		return
	}
	altered := difference(a.senders[sender].Source.Append(nil, n), g.payload)
	switch {
	case g.cause == "":
		a.amiss[g.ID] = "without its error"
	case altered != "":
		a.amiss[g.ID] = "with another " + altered
	case a.told != nil && !a.told[tale{g.entry, g.ID}] && !a.told[tale{entry: g.entry}]:
		a.amiss[g.ID] = "but the dead-letter queue does not report it"
	default:
		a.dead[sender].Add(n)
	}
}

func (a *audit) conclude() {
	for i, s := range a.senders {
		for n := range s.Accepted.All() {
			a.Accepted++
			if s.dead(n) {
				a.Bad++
			}
			switch {
			case a.indexed[i].Has(n):
				a.Indexed++
			case a.dead[i].Has(n):
				a.DeadLettered++
				switch {
				case s.dead(n):
				case s.Excused:
					a.Excused++
				default:
					a.Misjudged++
					a.find("good, but dead-lettered: %s", s.Source.ID(n))
				}
			default:
				a.Lost++
				if amiss := a.amiss[s.Source.ID(n)]; amiss != "" {
					a.find("lost: %s is in the ledger, %s", s.Source.ID(n), amiss)
				} else {
					a.find("lost: %s", s.Source.ID(n))
				}
			}
		}
		for _, ended := range []*load.Set{a.indexed[i], a.dead[i]} {
			for n := range ended.All() {
				if !s.Accepted.Has(n) && (ended == a.indexed[i] || !a.indexed[i].Has(n)) {
					a.Unanswered++
				}
			}
		}
	}
	a.Others = uint64(len(a.others))
	for key := range a.othersDead {
		if !a.others[key] {
			a.OthersDead++
		}
	}
}

// difference names a member of what was posted that the document does not
// have, or has otherwise; none is empty.
func difference(posted, document []byte) string {
	var want, got map[string]any
	if err := errors.Join(json.Unmarshal(posted, &want), json.Unmarshal(document, &got)); err != nil {
		return err.Error()
	}
	renameTime(want, got)
	for key, value := range want {
		if !reflect.DeepEqual(got[key], value) {
			return key
		}
	}
	return ""
}

// aheadFrom is how far ahead of its arrival a time is in no daily index, wherever
// midnight lies between.
const aheadFrom = 48 * time.Hour

// renameTime gives the time that was posted the name that the document has it
// under, and no other member: deploy/schema.md.
func renameTime(posted, document map[string]any) {
	posted["@timestamp"] = posted["timestamp"]
	delete(posted, "timestamp")
	own, received := timeOf(posted, "@timestamp"), timeOf(document, "received_at")
	if own.Sub(received) < aheadFrom || !timeOf(document, "@timestamp").Equal(received) {
		return
	}
	posted["original_timestamp"], posted["@timestamp"] = posted["@timestamp"], document["@timestamp"]
}

// timeOf is zero where there is none.
func timeOf(of map[string]any, name string) time.Time {
	text, _ := of[name].(string)
	at, _ := time.Parse(time.RFC3339Nano, text)
	return at
}

// Indexed returns the numbers of the records of a source that are documents.
func Indexed(ctx context.Context, stores Stores, by *load.Source) (*load.Set, error) {
	found := new(load.Set)
	err := stores.documents(ctx, func(index string, source json.RawMessage) error {
		d, err := identify(source)
		if err != nil {
			return fmt.Errorf("decode a document of %s: %w", index, err)
		}
		if n, ours := by.Number(d.ID); ours {
			found.Add(n)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is indexed: %w", err)
	}
	return found, nil
}
