package activities

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// circuitWindow is how many of the last records of a tenant a judgement looks
	// at.
	circuitWindow = 1000
	// circuitLeast is how many there must be for a judgement: fewer dead letters
	// than that are no flood. A probe judges by what there is, since it follows
	// many that were bad.
	circuitLeast = 100
	// circuitShare is the share of bad ones above which a tenant is an offender.
	circuitShare = 0.5
	// circuitRecent is how long a tenant counts after its last record: one that
	// sends no more says nothing about a deployment.
	circuitRecent = time.Minute
	// circuitTenants bounds the tenants that a shard remembers; the one that sent
	// least recently is forgotten first.
	circuitTenants = 256
	// circuitOffenders is how many tenants must be offenders before a shard
	// stands still. One alone is no evidence against a deployment, and tenants
	// behind it would wait.
	circuitOffenders = 2
	// mostTenantsTold bounds the tenants that a call hands over to the next, about
	// 120 bytes each in a history: offenders first.
	mostTenantsTold = 20

	// sampleRecords is how many records a sample has at the least before the next
	// one is begun: it bounds the samples of a window.
	sampleRecords = circuitWindow / 20
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
	// Buried is how many of its records have gone to the ledger since.
	Buried int64 `json:"buried,omitempty"`
}

// Offends reports whether most of the tenant's records are refused.
func (s TenantState) Offends() bool { return !s.Since.IsZero() }

// Share is the share of records that were refused.
func (s TenantState) Share() float64 { return s.Refused / float64(max(s.Records, 1)) }

// String says it to an operator.
func (s TenantState) String() string {
	return fmt.Sprintf("%s: %.0f %% of its last %d records are refused, since %s; %d of them went to the ledger",
		cmp.Or(s.Tenant, "records that no collector wrote"), 100*s.Share(), s.Records, s.Since.UTC().Format(time.RFC3339), s.Buried)
}

// sample is what became of some records.
type sample struct {
	records int
	bad     float64
}

// standing is a tenant with the samples that its state is made of.
type standing struct {
	TenantState
	samples []sample
}

// enter adds a sample, lets go of those behind the window, and judges.
func (s *standing) enter(records int, bad float64, least int, now time.Time) {
	last := len(s.samples) - 1
	if last >= 0 && s.samples[last].records < sampleRecords {
		s.samples[last].records += records
		s.samples[last].bad += bad
	} else {
		s.samples = append(s.samples, sample{records, bad})
	}
	s.Records, s.Refused = 0, 0
	kept := len(s.samples)
	for kept > 0 && s.Records < circuitWindow {
		kept--
		s.Records, s.Refused = s.Records+s.samples[kept].records, s.Refused+s.samples[kept].bad
	}
	s.samples, s.Seen = s.samples[kept:], now
	switch offends := s.Records >= least && s.Share() > circuitShare; {
	case !offends:
		s.Since, s.Buried = time.Time{}, 0
	case s.Since.IsZero():
		s.Since = now
	}
}

// tenants are those that a shard has seen lately.
type tenants map[string]*standing

// seed begins with what an earlier call has handed over.
func (t tenants) seed(states []TenantState) {
	for _, s := range states {
		t[s.Tenant] = &standing{s, []sample{{s.Records, s.Refused}}}
	}
}

// enter enters what became of a tenant's records in a chunk. Anew: what is known
// of it from before does not count.
func (t tenants) enter(tenant string, of sample, least int, anew bool, now time.Time) {
	s := t[tenant]
	if s == nil {
		t.makeRoom()
		s = &standing{TenantState: TenantState{Tenant: tenant}}
		t[tenant] = s
	}
	if anew {
		s.samples = nil
	}
	s.enter(of.records, of.bad, least, now)
}

func (t tenants) makeRoom() {
	if len(t) < circuitTenants {
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
		case name == "" || now.Sub(s.Seen) > circuitRecent: // the writer of foreign records is no tenant
		case s.Offends():
			offenders++
		case s.Share() <= circuitShare:
			good++
		}
	}
	return offenders >= circuitOffenders && offenders > good
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
	return states[:min(len(states), mostTenantsTold)]
}
