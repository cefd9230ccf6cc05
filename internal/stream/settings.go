package stream

import "time"

// Quotas of Kinesis (API references of PutRecords and GetRecords; developer
// guide, 'Quotas and limits').
const (
	maxCallRecords = 500     // a PutRecords call
	maxCallBytes   = 5 << 20 // a PutRecords call, partition keys included

	// MaxPageRecords is the most that one GetRecords call returns.
	MaxPageRecords = 10_000
	// MaxPageBytes is the most that one GetRecords call returns.
	MaxPageBytes = 10 << 20
)

// UsualPageBytes is about how many bytes a poller lets a page have: what may be read of a shard in a second (API reference of
// GetRecords). After a larger page Kinesis refuses calls for as many seconds as it holds, and all of it has to lie in memory.
const UsualPageBytes = 2 << 20

// firstPageRecords is how many records a poller asks for while it does not know how large they are.
const firstPageRecords = 100

// Settings are how a process uses a stream. A zero field takes its default.
type Settings struct {
	// CallsPerSecond and BytesPerSecond are what this process may spend of a
	// shard's read quota. Negative: no limit, for servers that have none.
	CallsPerSecond float64 `help:"GetRecords calls a second and shard. AWS allows 5 to all readers together; negative: no limit." default:"5" env:"MILLRACE_STREAM_CALLS"`
	BytesPerSecond int     `help:"Bytes read a second and shard. AWS allows 2 MiB to all readers together; negative: no limit." default:"2097152" env:"MILLRACE_STREAM_BYTES"`
	// IdleWait is the least time from a page without records, at the tip of
	// the shard, to the next call. It matters where calls are not limited.
	IdleWait time.Duration `help:"Shortest time between calls while a shard is idle." default:"200ms" env:"MILLRACE_STREAM_IDLE_WAIT"`
	// LimitPerCall is the most records of a page. More than the default cost
	// memory and gain nothing: the head of a record alone is 200 bytes, and of
	// those 5 calls of 2,500 records are beyond what may be read in a second.
	LimitPerCall int `help:"Maximum records per GetRecords call, up to 10000." default:"2500" env:"MILLRACE_STREAM_LIMIT"`
	// GiveUpAfter is how long Next waits out throttling and failures before
	// it returns the error. The reader can still be used after that.
	GiveUpAfter time.Duration `help:"How long a read retries after throttling and failures before it fails." default:"1m" env:"MILLRACE_STREAM_GIVE_UP"`
	// AnswerWithin is how long a read waits for an answer, or by enhanced fan-out
	// for the next event, which Kinesis sends at least every few seconds. A full
	// page of 10 MiB has to arrive within it.
	AnswerWithin time.Duration `help:"How long a read waits for an answer before it is retried." default:"30s" env:"MILLRACE_STREAM_ANSWER_WITHIN"`
	// FanOut names the enhanced fan-out consumer with which this process reads.
	// It is registered if it is not there, and costs extra at AWS.
	FanOut string `name:"fan-out" help:"Name of an enhanced fan-out consumer to read with; empty: poll." env:"MILLRACE_STREAM_FAN_OUT"`
	// PutConcurrency is the most PutRecords calls that one Put has in flight.
	PutConcurrency int `help:"Maximum PutRecords calls in flight for one batch." default:"4" env:"MILLRACE_STREAM_PUTS"`
}

// Defaults of Settings.
const (
	DefaultCallsPerSecond = 5
	DefaultBytesPerSecond = 2 << 20
	DefaultIdleWait       = 200 * time.Millisecond
	DefaultLimitPerCall   = 2500
	DefaultGiveUpAfter    = time.Minute
	DefaultAnswerWithin   = 30 * time.Second
	DefaultPutConcurrency = 4
)

func (s Settings) withDefaults() Settings {
	if s.CallsPerSecond == 0 {
		s.CallsPerSecond = DefaultCallsPerSecond
	}
	if s.BytesPerSecond == 0 {
		s.BytesPerSecond = DefaultBytesPerSecond
	}
	if s.IdleWait == 0 {
		s.IdleWait = DefaultIdleWait
	}
	if s.LimitPerCall <= 0 || s.LimitPerCall > MaxPageRecords {
		s.LimitPerCall = DefaultLimitPerCall
	}
	if s.GiveUpAfter == 0 {
		s.GiveUpAfter = DefaultGiveUpAfter
	}
	if s.AnswerWithin <= 0 {
		s.AnswerWithin = DefaultAnswerWithin
	}
	if s.PutConcurrency <= 0 {
		s.PutConcurrency = DefaultPutConcurrency
	}
	return s
}
