package api

import (
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"millrace/internal/keyfile"
)

// Defaults of the quota. A collector on two cores takes about 25,000 records a
// second on the direct way: a fifth of that leaves room for four more tenants
// that use all they may. 1.6 KiB a record is more than agents send on average.
const (
	DefaultTenantRate  = 5000
	DefaultTenantBytes = 8 << 20
)

// quotaBurst is how much of its quota a tenant may use at once, in seconds:
// agents export every few seconds. At the defaults it covers one request of the
// largest size, in records and in bytes.
const quotaBurst = 2

// bucket holds tokens, which come at a rate, up to a burst. It may owe some:
// what comes in pays the debt first.
type bucket struct {
	rate, burst float64 // no limit while rate is 0
	tokens      float64
	at          time.Time // of tokens
}

// allow sets the rate. A bucket that had no limit before is full.
func (b *bucket) allow(rate, burst float64, now time.Time) {
	b.fill(now)
	if b.rate == 0 {
		b.tokens = burst
	}
	b.rate, b.burst, b.tokens = rate, burst, min(b.tokens, burst)
}

func (b *bucket) fill(now time.Time) {
	if elapsed := now.Sub(b.at).Seconds(); elapsed > 0 {
		b.tokens, b.at = min(b.burst, b.tokens+b.rate*elapsed), now
	}
}

// lacks returns how long it takes until there are so many tokens, or as many as
// there can be: what is larger than the burst could never come in otherwise, and
// makes a debt.
func (b *bucket) lacks(tokens float64) time.Duration {
	missing := min(tokens, b.burst) - b.tokens
	if b.rate == 0 || missing <= 0 {
		return 0
	}
	return time.Duration(min(missing/b.rate*float64(time.Second), math.MaxInt64/2))
}

// spend takes tokens, also those that are not there.
func (b *bucket) spend(tokens float64) { b.tokens -= tokens }

// cost is how many records of a quota a request spends: those that were judged,
// good and bad, and those that were left out. The latter were only counted, and
// there may be millions, so they cost no more than a request that is full.
func (b *batch) cost() int { return b.position + min(b.leftOut, b.limits.Records) }

// The two sides of a quota, as answers and metrics name them.
const (
	ofRecords = "records"
	ofBytes   = "bytes"
)

// account is what a tenant has left of its quota. It is safe for concurrent use.
type account struct {
	mu             sync.Mutex
	records, bytes bucket
	now            func() time.Time
}

// enter lets in a request of which so many bytes are announced, or says what is
// used up and how long to wait, before anything is read. The bytes are spent
// from now on, so that of many requests at once only those come in that the
// quota has room for; one alone may owe the most that a body may have.
func (a *account) enter(announced int64) (wait time.Duration, of string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	if wait := a.records.lacks(1); wait > 0 {
		return wait, ofRecords
	}
	if wait := a.bytes.lacks(1); wait > 0 {
		return wait, ofBytes
	}
	a.bytes.spend(float64(announced))
	return 0, ""
}

// arrived spends bytes that were not announced, or were made of a body. It is read
// on: one that was cut off would come again, and cost as much.
func (a *account) arrived(bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	a.bytes.spend(float64(bytes))
}

// spend spends the records of a request, all or none, and says how long to wait
// where it has none for them.
func (a *account) spend(records int) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	if wait = a.records.lacks(float64(records)); wait == 0 {
		a.records.spend(float64(records))
	}
	return wait
}

// waste spends the records of a request that was refused for its own fault, at
// least one: what cannot be used costs the collector no less.
func (a *account) waste(records int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	a.records.spend(float64(max(1, records)))
}

func (a *account) fill() {
	now := a.now()
	a.records.fill(now)
	a.bytes.fill(now)
}

// allow sets the quota.
func (a *account) allow(recordsRate, recordsBurst, bytesRate float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	a.records.allow(recordsRate, recordsBurst, now)
	a.bytes.allow(bytesRate, quotaBurst*bytesRate, now)
}

// accounts keep each tenant within its quota. Tenants are those of the key file,
// so they are few.
type accounts struct {
	limits  Limits
	quotas  func(tenant string) keyfile.Quota // of the key file
	now     func() time.Time
	tenants sync.Map // string to *account
}

// of returns a tenant's account, under the quota that it has now.
func (all *accounts) of(tenant string) *account {
	found, ok := all.tenants.Load(tenant)
	if !ok {
		found, _ = all.tenants.LoadOrStore(tenant, &account{now: all.now})
	}
	a, quota := found.(*account), all.quotas(tenant)
	records, burst, bytes := all.limits.TenantRate, float64(all.limits.TenantBurst), all.limits.TenantBytes
	if quota.RecordsRate != nil {
		records, burst = *quota.RecordsRate, float64(burstOf(*quota.RecordsRate))
	}
	if quota.BytesRate != nil {
		bytes = *quota.BytesRate
	}
	a.allow(records, burst, bytes)
	return a
}

// burstOf is how many records may come at once at a rate.
func burstOf(rate float64) int { return int(max(1, min(quotaBurst*rate, math.MaxInt32))) }

// bill is what a tenant pays for one body.
type bill struct {
	account *account
	paid    int64 // bytes, when it was announced
}

// billed is a reader of a body that is paid for as it arrives.
type billed struct {
	io.Reader
	bill *bill
}

// Read implements io.Reader.
func (b billed) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	covered := min(int64(n), b.bill.paid)
	b.bill.paid -= covered
	if rest := n - int(covered); rest > 0 {
		b.bill.account.arrived(rest)
	}
	return n, err
}

// overQuota refuses a request of a tenant that has used up its quota.
func overQuota(protocol, of string, wait time.Duration) *refusal {
	throttledRequests.WithLabelValues(protocol, of).Inc()
	return &refusal{status: http.StatusTooManyRequests, reason: "too many " + of + " a second", retry: wait}
}
