package audit

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"millrace/activities"
)

// AuditObjects is the activity type of this package.
const AuditObjects activities.Type[Call, Progress] = "AuditObjects"

// Request says what to check, and within which limits. Every field is optional: {} samples
// the last hour.
type Request struct {
	// Share of the objects, up to 1; DefaultShare when zero. At least one object of each
	// shard is checked.
	Share float64 `json:"share,omitempty"`
	// All has every object checked, without limits but those that are given.
	All bool `json:"all,omitempty"`
	// Since is the arrival in the stream from whose hour on objects are checked; Within
	// before the start when zero.
	Since  time.Time      `json:"since,omitzero"`
	Within model.Duration `json:"within,omitempty"` // DefaultWithin when zero
	// Grace is how long before the start a record arrived at the latest, and how long after
	// the first look a missing one is looked for again; DefaultGrace when zero.
	Grace model.Duration `json:"grace,omitempty"`
	// Objects, Bytes and Records bound a run: it reads no other object once it has checked
	// as much. The defaults when zero; no limit then with All.
	Objects int64 `json:"objects,omitempty"`
	Bytes   int64 `json:"bytes,omitempty"` // compressed
	Records int64 `json:"records,omitempty"`
	// Rate is how many records a second are looked up; DefaultRate when zero.
	Rate float64 `json:"rate,omitempty"`
}

// Defaults of a Request.
const (
	// DefaultShare of the objects is checked every run.
	DefaultShare = 0.01
	// DefaultWithin covers several runs: an object that one left out is in the next.
	DefaultWithin = model.Duration(time.Hour)
	// DefaultGrace is twice what Temporal may take to list a ProcessBatch (see
	// launch.Launcher.OpenBatches). The index needs none: a look-up by id meets what a
	// search does not find yet.
	DefaultGrace = model.Duration(2 * time.Minute)
	// DefaultObjects, DefaultBytes and DefaultRecords keep a run at DefaultRate within the
	// ten minutes to the next.
	DefaultObjects = 200
	DefaultBytes   = 1 << 30
	DefaultRecords = 1_000_000
	// DefaultRate is ten look-ups a second, of lookUpRecords each.
	DefaultRate = 5000
)

// noLimit bounds what has no limit.
const noLimit = 1 << 62

// WithDefaults fills what is zero, for a run that starts at a time.
func (r Request) WithDefaults(start time.Time) Request {
	fill := func(limit *int64, usual int64) {
		if r.All {
			usual = noLimit
		}
		if *limit == 0 {
			*limit = usual
		}
	}
	fill(&r.Objects, DefaultObjects)
	fill(&r.Bytes, DefaultBytes)
	fill(&r.Records, DefaultRecords)
	if r.Share == 0 {
		r.Share = DefaultShare
	}
	if r.Rate == 0 {
		r.Rate = DefaultRate
	}
	if r.Grace == 0 {
		r.Grace = DefaultGrace
	}
	if r.Within == 0 {
		r.Within = DefaultWithin
	}
	if r.Since.IsZero() {
		r.Since = start.Add(-time.Duration(r.Within)).UTC()
	}
	return r
}

// leastRate is how many records a second are looked up at the least: at less, a full
// object takes longer than an activity may.
const leastRate = 10

// Validate reports what cannot be meant.
func (r Request) Validate() error {
	var errs []error
	if r.Share < 0 || r.Share > 1 {
		errs = append(errs, fmt.Errorf("share: %v is not from 0 to 1", r.Share))
	}
	if r.Rate != 0 && r.Rate < leastRate {
		errs = append(errs, fmt.Errorf("rate: %v is less than %d records a second", r.Rate, leastRate))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"within", int64(r.Within)}, {"grace", int64(r.Grace)}, {"objects", r.Objects}, {"bytes", r.Bytes}, {"records", r.Records}} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %d is negative", n.name, n.value))
		}
	}
	if r.All && r.Share != 0 && r.Share != 1 {
		errs = append(errs, errors.New("all, share: give one of them"))
	}
	return errors.Join(errs...)
}

// Call is a part of a run: the next objects.
type Call struct {
	// Request with its defaults; Objects, Bytes and Records are what is left of them.
	Request Request   `json:"request"`
	Run     string    `json:"run"`            // which objects are chosen follows from it
	Start   time.Time `json:"start"`          // of the run
	After   uint64    `json:"after,string"`   // the turn of the last object that was checked; see chosen
	Found   int64     `json:"found,omitzero"` // missing records so far
}

// Counts say where the records of objects are.
type Counts struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`   // of them, compressed
	Checked int64 `json:"checked"` // records: Indexed + Dead + Held + Missing
	Indexed int64 `json:"indexed"`
	Dead    int64 `json:"deadLetters"`       // in the ledger
	Held    int64 `json:"held"`              // by an open ProcessBatch
	Missing int64 `json:"missing"`           // nowhere: the residual
	Deleted int64 `json:"deleted,omitempty"` // by retention; not checked
	Damaged int64 `json:"damaged,omitempty"` // objects that were read only in part
	Unknown int64 `json:"unknown,omitempty"` // objects that were left out, since the checkpoint of their shard is not known
}

// Add adds what came next.
func (c *Counts) Add(o Counts) {
	c.Objects += o.Objects
	c.Bytes += o.Bytes
	c.Checked += o.Checked
	c.Indexed += o.Indexed
	c.Dead += o.Dead
	c.Held += o.Held
	c.Missing += o.Missing
	c.Deleted += o.Deleted
	c.Damaged += o.Damaged
	c.Unknown += o.Unknown
}

// Missing is a record that is nowhere. It does not name the tenant: everyone in the
// namespace can read histories.
type Missing struct {
	ID       string    `json:"id"` // of the document
	Index    string    `json:"index"`
	Shard    string    `json:"shard"`
	Sequence string    `json:"sequence"`
	Object   string    `json:"object"` // key of the backup object
	Arrived  time.Time `json:"arrived"`
	Note     string    `json:"note,omitempty"` // what could not be searched
}

// String names it in an error.
func (m Missing) String() string {
	text := fmt.Sprintf("document %s of %s, which is %s of %s in %s", m.ID, m.Index, m.Sequence, m.Shard, m.Object)
	if m.Note != "" {
		text += " (" + m.Note + ")"
	}
	return text
}

// Progress is how far a call is: its result, and meanwhile its heartbeat.
type Progress struct {
	Counts Counts `json:"counts"`
	After  uint64 `json:"after,string"`
	Done   bool   `json:"done"`
	Left   int64  `json:"left"` // chosen objects that the run has not checked
	// Skipped says why nothing was checked.
	Skipped   string    `json:"skipped,omitempty"`
	Examples  []Missing `json:"examples,omitempty"`
	Worker    string    `json:"worker"`
	LastError string    `json:"lastError,omitempty"`
}
