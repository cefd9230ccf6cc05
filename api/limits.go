package api

import (
	"errors"
	"fmt"

	"millrace/internal/keyfile"
	"millrace/internal/telemetry"
)

// Limits are how much a collector takes. A zero field takes its default, but
// for TenantRate and TenantBytes, where it means no limit. The key file may say
// otherwise of a tenant (Quota).
type Limits struct {
	BodyBytes    int     `name:"limit-body" help:"Largest request body in bytes, after decompression." default:"10485760" env:"MILLRACE_LIMIT_BODY"`
	RequestBytes int     `name:"limit-requests" help:"Memory in bytes for requests in progress and their records; beyond it, agents must retry. One tenant may hold a quarter, or one request of the largest size; the last quarter is kept for tenants that hold little." default:"402653184" env:"MILLRACE_LIMIT_REQUESTS"`
	Expansion    int     `name:"limit-expansion" help:"Size of one request's records, as a multiple of --limit-body: common members are copied into each record. At least 8, since honest resources repeat." default:"8" env:"MILLRACE_LIMIT_EXPANSION"`
	Connections  int     `name:"limit-connections" help:"Maximum connections of HTTP, and of gRPC; more wait. One tenant may have a quarter as many requests in progress." default:"4096" env:"MILLRACE_LIMIT_CONNECTIONS"`
	RecordBytes  int     `name:"limit-record" help:"Largest record in bytes, including the members that the collector adds. At most 1048536: Kinesis's 1 MiB less the partition key." default:"1048536" env:"MILLRACE_LIMIT_RECORD"`
	Records      int     `name:"limit-records" help:"Maximum records of one request." default:"10000" env:"MILLRACE_LIMIT_RECORDS"`
	Depth        int     `name:"limit-depth" help:"Deepest nesting of a record; the record itself is the first level." default:"64" env:"MILLRACE_LIMIT_DEPTH"`
	Values       int     `name:"limit-values" help:"Maximum values of one OpenTelemetry record: attributes, entries of lists and maps, events and links, with everything inside them. The limits of OpenTelemetry's SDKs let a span have 66048 (128 attributes, and 128 events and 128 links with 128 each)." default:"100000" env:"MILLRACE_LIMIT_VALUES"`
	TenantRate   float64 `name:"limit-rate" help:"Records a second that one tenant may send to this collector; 0: no limit. A rejected request counts as the records read from it, or as one." default:"5000" env:"MILLRACE_LIMIT_RATE"`
	TenantBurst  int     `name:"limit-burst" help:"Records that a tenant may send at once; 0: as many as its rate allows in two seconds." default:"0" env:"MILLRACE_LIMIT_BURST"`
	TenantBytes  float64 `name:"limit-bytes-rate" help:"Bytes of bodies a second, after decompression, that one tenant may send to this collector; 0: no limit." default:"8388608" env:"MILLRACE_LIMIT_BYTES_RATE"`

	IndexDaysBack  int `name:"index-days-back" help:"Days before its arrival up to which a record gets a daily index; older records go to the index of their year. From 1 to 366." default:"8" env:"MILLRACE_INDEX_DAYS_BACK"`
	IndexDaysAhead int `name:"index-days-ahead" help:"Days after its arrival up to which a record gets a daily index; later records go to the undated index. From 1 to 31." default:"1" env:"MILLRACE_INDEX_DAYS_AHEAD"`
}

// Defaults of Limits.
const (
	DefaultBodyBytes    = 10 << 20
	DefaultRequestBytes = 384 << 20 // a quarter is more than one request of the largest size and what is made of it
	DefaultExpansion    = 8
	DefaultConnections  = 4096
	DefaultRecordBytes  = telemetry.MaxRecordSize
	DefaultRecords      = 10_000
	DefaultDepth        = 64
	DefaultValues       = 100_000
)

// maxDepth is the deepest nesting that can be configured: OpenTelemetry's decoder
// walks nested values by recursion.
const maxDepth = 1000

// The widest window of daily indices: every day of it is an index of each type.
const (
	maxDaysBack  = 366
	maxDaysAhead = 31
)

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
	check(l.Expansion == 0 || l.Expansion >= DefaultExpansion && l.Expansion <= 1000, "--limit-expansion: not from 8 to 1000")
	check(l.Connections >= 0, "--limit-connections: negative")
	largest := l.withDefaults().largestRequest()
	check(l.RequestBytes == 0 || l.RequestBytes >= largest,
		fmt.Sprintf("--limit-requests: less than %d, what one request of --limit-body may take with --limit-expansion", largest))
	check(l.RecordBytes >= 0 && l.RecordBytes <= telemetry.MaxRecordSize, "--limit-record: not from 0 to 1048536")
	check(l.Records >= 0, "--limit-records: negative")
	check(l.Depth >= 0 && l.Depth <= maxDepth, "--limit-depth: not from 0 to 1000")
	check(l.Values >= 0, "--limit-values: negative")
	check(keyfile.UsableRate(l.TenantRate), "--limit-rate: not a number of records")
	check(keyfile.UsableRate(l.TenantBytes), "--limit-bytes-rate: not a number of bytes")
	check(l.TenantBurst >= 0, "--limit-burst: negative")
	check(l.IndexDaysBack >= 0 && l.IndexDaysBack <= maxDaysBack, "--index-days-back: not from 1 to 366")
	check(l.IndexDaysAhead >= 0 && l.IndexDaysAhead <= maxDaysAhead, "--index-days-ahead: not from 1 to 31")
	return errors.Join(errs...)
}

func (l Limits) withDefaults() Limits {
	if l.BodyBytes == 0 {
		l.BodyBytes = DefaultBodyBytes
	}
	if l.Expansion == 0 {
		l.Expansion = DefaultExpansion
	}
	if l.RequestBytes == 0 {
		l.RequestBytes = max(DefaultRequestBytes, tenantPart*l.largestRequest())
	}
	if l.Connections == 0 {
		l.Connections = DefaultConnections
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
	if l.Values == 0 {
		l.Values = DefaultValues
	}
	if l.TenantBurst == 0 {
		l.TenantBurst = burstOf(l.TenantRate)
	}
	if l.IndexDaysBack == 0 {
		l.IndexDaysBack = telemetry.DefaultDaysBack
	}
	if l.IndexDaysAhead == 0 {
		l.IndexDaysAhead = telemetry.DefaultDaysAhead
	}
	return l
}

// window is which records have a daily index.
func (l Limits) window() telemetry.Window {
	return telemetry.Window{DaysBack: l.IndexDaysBack, DaysAhead: l.IndexDaysAhead}
}

// mostMade is how many bytes may be made of one request, at the least a record.
func (l Limits) mostMade() int {
	return max(l.Expansion*l.BodyBytes, telemetry.MaxRecordSize+recordOverhead)
}

// largestRequest is what one request may take of the room: its body, and what is
// made of it.
func (l Limits) largestRequest() int { return l.BodyBytes + l.mostMade() }
