package api

import (
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"millrace/internal/telemetry"
)

// Limits are how much a collector takes. A zero field takes its default, but
// for TenantRate, where it means no limit.
type Limits struct {
	BodyBytes    int     `name:"limit-body" help:"Largest request body in bytes, after decompression." default:"10485760" env:"MILLRACE_LIMIT_BODY"`
	RequestBytes int     `name:"limit-requests" help:"Most bytes of requests, after decompression, that are in hand at once; others are told to come again. At least one request of the largest size." default:"268435456" env:"MILLRACE_LIMIT_REQUESTS"`
	RecordBytes  int     `name:"limit-record" help:"Largest record in bytes, with what the collector adds. At most 1048536: Kinesis's 1 MiB less its partition key." default:"1048536" env:"MILLRACE_LIMIT_RECORD"`
	Records      int     `name:"limit-records" help:"Most records of one request." default:"10000" env:"MILLRACE_LIMIT_RECORDS"`
	Depth        int     `name:"limit-depth" help:"Deepest nesting of a record; the record itself is the first level." default:"64" env:"MILLRACE_LIMIT_DEPTH"`
	TenantRate   float64 `name:"limit-rate" help:"Records a second that one tenant may send to this collector, 0: no limit." default:"0" env:"MILLRACE_LIMIT_RATE"`
	TenantBurst  int     `name:"limit-burst" help:"Records that a tenant may send at once within its rate, 0: what the rate allows in two seconds." default:"0" env:"MILLRACE_LIMIT_BURST"`
}

// Defaults of Limits.
const (
	DefaultBodyBytes    = 10 << 20
	DefaultRequestBytes = 256 << 20
	DefaultRecordBytes  = telemetry.MaxRecordSize
	DefaultRecords      = 10_000
	DefaultDepth        = 64
)

// maxDepth is the deepest nesting that can be asked for: what is nested is
// walked by recursion where OpenTelemetry's protocol is decoded.
const maxDepth = 1000

// Validate reports limits that cannot be kept.
func (l Limits) Validate() error {
	var errs []error
	check := func(ok bool, problem string) {
		if !ok {
			errs = append(errs, errors.New(problem))
		}
	}
	check(l.BodyBytes >= 0, "--limit-body: negative")
	check(l.RequestBytes >= 0, "--limit-requests: negative")
	check(l.RequestBytes == 0 || l.RequestBytes >= l.withDefaults().BodyBytes, "--limit-requests: less than --limit-body, so that no request of that size could come in")
	check(l.RecordBytes >= 0 && l.RecordBytes <= telemetry.MaxRecordSize, "--limit-record: not from 0 to 1048536")
	check(l.Records >= 0, "--limit-records: negative")
	check(l.Depth >= 0 && l.Depth <= maxDepth, "--limit-depth: not from 0 to 1000")
	check(l.TenantRate >= 0 && !math.IsInf(l.TenantRate, 1), "--limit-rate: not a number of records")
	check(l.TenantBurst >= 0, "--limit-burst: negative")
	return errors.Join(errs...)
}

func (l Limits) withDefaults() Limits {
	if l.BodyBytes == 0 {
		l.BodyBytes = DefaultBodyBytes
	}
	if l.RequestBytes == 0 {
		l.RequestBytes = max(DefaultRequestBytes, l.BodyBytes)
	}
	if l.RecordBytes == 0 {
		l.RecordBytes = DefaultRecordBytes
	}
	if l.Records == 0 {
		l.Records = DefaultRecords
	}
	if l.Depth == 0 {
		l.Depth = DefaultDepth
	}
	if l.TenantBurst == 0 {
		l.TenantBurst = int(max(1, min(2*l.TenantRate, math.MaxInt32)))
	}
	return l
}

// tenantRates keeps each tenant within its rate. Tenants are those of the key
// file, so they are few.
type tenantRates struct {
	limits  Limits
	tenants sync.Map // string to *rate.Limiter
}

func (r *tenantRates) of(tenant string) *rate.Limiter {
	if found, ok := r.tenants.Load(tenant); ok {
		return found.(*rate.Limiter)
	}
	found, _ := r.tenants.LoadOrStore(tenant, rate.NewLimiter(rate.Limit(r.limits.TenantRate), r.limits.TenantBurst))
	return found.(*rate.Limiter)
}

// exhausted reports how long a tenant that has used up its rate should wait,
// before its request is so much as read.
func (r *tenantRates) exhausted(tenant string) time.Duration {
	if r.limits.TenantRate == 0 {
		return 0
	}
	if missing := 1 - r.of(tenant).Tokens(); missing > 0 {
		return time.Duration(missing / r.limits.TenantRate * float64(time.Second))
	}
	return 0
}

// spend takes the records of a request from a tenant's rate, all or none, and
// says how long to wait where it has none for them. A request larger than the
// burst takes the whole of it, since it could never come in otherwise.
func (r *tenantRates) spend(tenant string, records int) (wait time.Duration) {
	if r.limits.TenantRate == 0 {
		return 0
	}
	reservation := r.of(tenant).ReserveN(time.Now(), min(records, r.limits.TenantBurst))
	if wait = reservation.Delay(); wait > 0 {
		reservation.Cancel()
	}
	return wait
}
