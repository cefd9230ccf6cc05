package circuit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// WindowRecords is how many of the last records of a tenant a judgement looks
	// at.
	WindowRecords = 1000
	// Least is how many there must be for a judgement: fewer dead letters
	// than that are no flood. A probe judges by what there is, since it follows
	// many that were bad.
	Least = 100
	// MostBad is the share of bad ones above which a tenant is an offender.
	MostBad = 0.5
	// recent is how long a tenant counts after its last record: one that
	// sends no more says nothing about a deployment.
	recent = time.Minute
	// mostTenants bounds the tenants that a shard remembers; the one that sent
	// least recently is forgotten first.
	mostTenants = 256
	// leastOffenders is how many tenants must be offenders before a shard
	// stands still. One alone is no evidence against a deployment, and tenants
	// behind it would wait.
	leastOffenders = 2
	// mostTold bounds the tenants that a call hands over to the next, about
	// 120 bytes each in a history: offenders first.
	mostTold = 20

	// sampleRecords is how many records a sample has at the least before the next
	// one is begun: it bounds the samples of a window.
	sampleRecords = WindowRecords / 20
)

// TenantState is how the last records of a tenant did in a shard.
type TenantState struct {
	Tenant  string    `json:"tenant"`
	Records int       `json:"records"` // the last ones, about a thousand
	Refused float64   `json:"refused"` // of those, as far as one can say
	Seen    time.Time `json:"seen"`    // when the last of them was judged
	// Since is when most of them began to be refused: the tenant is an offender,
	// and its refused records go to the ledger in large entries. Zero: it is none.
	Since time.Time `json:"since,omitzero"`
	// DeadLetters is how many of its records have gone to the ledger since.
	DeadLetters int64 `json:"buried,omitempty"`
}

// Offends reports whether most of the tenant's records are refused.
func (s TenantState) Offends() bool { return !s.Since.IsZero() }

// OffendsNow reports whether it offends, and has not stopped sending.
func (s TenantState) OffendsNow(now time.Time) bool { return s.Offends() && now.Sub(s.Seen) <= recent }

// Share is the share of records that were refused.
func (s TenantState) Share() float64 { return Sample{s.Records, s.Refused}.Share() }

// String says it to an operator.
func (s TenantState) String() string {
	return fmt.Sprintf("%s: %.0f %% of its last %d records are refused, since %s; %d of them went to the ledger",
		cmp.Or(s.Tenant, "records that no collector wrote"), 100*s.Share(), s.Records, s.Since.UTC().Format(time.RFC3339), s.DeadLetters)
}

// Sample is what became of some records.
type Sample struct {
	Records int
	Bad     float64 // of those, as far as one can say
}

// Share is the share of bad records.
func (s Sample) Share() float64 { return s.Bad / float64(max(s.Records, 1)) }

// Window has the last WindowRecords records of something, in samples. The zero value
// is empty. It is not safe for concurrent use.
type Window struct{ samples []Sample }

// Add enters a sample and lets go of those behind the window.
func (w *Window) Add(of Sample) {
	last := len(w.samples) - 1
	if last >= 0 && w.samples[last].Records < sampleRecords {
		w.samples[last].Records += of.Records
		w.samples[last].Bad += of.Bad
	} else {
		w.samples = append(w.samples, of)
	}
	kept := len(w.samples)
	for records := 0; kept > 0 && records < WindowRecords; {
		kept--
		records += w.samples[kept].Records
	}
	w.samples = w.samples[kept:]
}

// Sum is what became of all records in the window.
func (w *Window) Sum() (sum Sample) {
	for _, s := range w.samples {
		sum.Records, sum.Bad = sum.Records+s.Records, sum.Bad+s.Bad
	}
	return sum
}

// standing is a tenant with the records that its state is made of.
type standing struct {
	TenantState
	last Window
}

// enter adds a sample and judges.
func (s *standing) enter(of Sample, least int, now time.Time) {
	s.last.Add(of)
	sum := s.last.Sum()
	s.Records, s.Refused, s.Seen = sum.Records, sum.Bad, now
	switch offends := s.Records >= least && s.Share() > MostBad; {
	case !offends:
		s.Since, s.DeadLetters = time.Time{}, 0
	case s.Since.IsZero():
		s.Since = now
	}
}

// tenants are those that a shard has seen lately.
type tenants map[string]*standing

// seed begins with what an earlier call has handed over.
func (t tenants) seed(states []TenantState) {
	for _, s := range states {
		t[s.Tenant] = &standing{s, Window{[]Sample{{s.Records, s.Refused}}}}
	}
}

// enter enters what became of a tenant's records in a chunk. Anew: what is known
// of it from before does not count.
func (t tenants) enter(tenant string, of Sample, least int, anew bool, now time.Time) {
	s := t[tenant]
	if s == nil {
		t.makeRoom()
		s = &standing{TenantState: TenantState{Tenant: tenant}}
		t[tenant] = s
	}
	if anew {
		s.last = Window{}
	}
	s.enter(of, least, now)
}

func (t tenants) makeRoom() {
	if len(t) < mostTenants {
		return
	}
	oldest := ""
	for name, s := range t {
		if first := t[oldest]; first == nil || s.Seen.Before(first.Seen) {
			oldest = name
		}
	}
	delete(t, oldest)
}

// mostOffend reports whether most of the tenants that have sent lately are
// offenders, and more than one: then it is rather the deployment, or a mapping.
// Of those of which too little is known, only the ones that do well count.
func (t tenants) mostOffend(now time.Time) bool {
	offenders, good := 0, 0
	for name, s := range t {
		switch {
		case name == "" || now.Sub(s.Seen) > recent: // the writer of foreign records is no tenant
		case s.Offends():
			offenders++
		case s.Share() <= MostBad:
			good++
		}
	}
	return offenders >= leastOffenders && offenders > good
}

// told are the states that are handed over: offenders first, then those that
// have sent last.
func (t tenants) told() []TenantState {
	if len(t) == 0 {
		return nil
	}
	states := make([]TenantState, 0, len(t))
	for _, s := range t {
		states = append(states, s.TenantState)
	}
	slices.SortFunc(states, func(a, b TenantState) int {
		if a.Offends() != b.Offends() {
			return map[bool]int{true: -1, false: 1}[a.Offends()]
		}
		return cmp.Or(b.Seen.Compare(a.Seen), strings.Compare(a.Tenant, b.Tenant))
	})
	return states[:min(len(states), mostTold)]
}
