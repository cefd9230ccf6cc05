package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/deploy/pipeline"
	"millrace/internal/control"
	"millrace/internal/load"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
)

// isolation is of what is one tenant's, or one index's, and must delay no other.
var isolation = []scenario{
	{
		number: 27, name: "one-tenant-only-poison", alarms: alarms.Expected{Must: []string{"DeadLettersRise", "TenantsOffend"}, May: alarms.Late}, spans: 20 * time.Second,
		fault: sendOnlyPoison, settle: awaitPoison, check: checkPoison,
	},
	{number: 28, name: "index-closed", alarms: alarms.Expected{Must: alarms.AndLate("RecordsParked", "ShardLags", "ShardWaiting")}, ownDay: true, lasts: 45 * time.Second, fault: closeIndex, settle: awaitHome},
}

// closeIndex closes one index for longer than records wait for it
// (process.DefaultParkAfter): they are parked, and the others are indexed.
func closeIndex(ctx context.Context, s *running) error {
	path := "/" + s.index("log")
	if err := s.until(ctx, func() (bool, error) { // until it is there
		_, err := s.ask(ctx, http.MethodPost, path+"/_close", "")
		var refused *refusal
		if errors.As(err, &refused) {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		return fmt.Errorf("the index that is to be closed is not there: %w", err)
	}
	if err := s.until(ctx, func() (bool, error) {
		running, err := s.list(ctx, "WorkflowType='DrainIndex' AND ExecutionStatus='Running'")
		return len(running) > 0, err
	}); err != nil {
		return found("nothing is parked for a closed index: %v", err)
	}
	others := func() (count uint64) {
		for n := range s.sender.Accepted.All() {
			if s.sent.Source.Type(n) != "log" {
				count++
			}
		}
		return count
	}
	if err := s.until(ctx, func() (bool, error) {
		indexed, err := s.stores.Indexed(ctx)
		return s.sender.Accepted.Len() == s.options.Records && indexed >= others(), err
	}); err != nil {
		return found("a closed index holds up the records of others: %v", err)
	}
	if err := s.hold(ctx, 0, "RecordsParked", "ShardLags", "ShardWaiting"); err != nil {
		return err
	}
	_, err := s.ask(ctx, http.MethodPost, path+"/_open", "")
	return err
}

// awaitHome waits until all that was parked is home.
func awaitHome(ctx context.Context, s *running) error {
	if err := s.until(ctx, func() (bool, error) {
		running, err := s.list(ctx, "WorkflowType='DrainIndex' AND ExecutionStatus='Running'")
		return len(running) == 0, err
	}); err != nil {
		return found("DrainIndex does not end: %v", err)
	}
	return nil
}

// besides is a second load, of the stranger.
type besides struct {
	sent    audit.Sent
	sender  *load.Sender
	began   time.Time
	ended   time.Time
	stopped map[string]string // states of shards that stood still meanwhile
}

// loadOf posts records of the stranger as fast as the scenario's own are posted,
// on the same day, until stop is called.
func (s *running) loadOf(ctx context.Context, bad float64) (b *besides, stop func() error) {
	b = &besides{began: time.Now(), stopped: map[string]string{}, sent: audit.Sent{Source: &load.Source{
		Run: s.tenant() + "-other-" + strings.ToLower(rand.Text()[:8]), Start: s.sent.Source.Start, Interval: time.Millisecond, BadShare: bad,
	}}}
	b.sender = load.NewSender(b.sent.Source, load.Settings{
		URL: s.collector.URL, Key: s.keys[stranger], Records: s.options.Records, Rate: s.rate(), Connections: connections, PerPost: perPost,
	})
	b.sent.Accepted = &b.sender.Accepted
	ctx, cancel := context.WithCancel(ctx)
	var posting sync.WaitGroup
	var err error
	posting.Go(func() { err = b.sender.Run(ctx) })
	return b, func() error {
		cancel()
		posting.Wait()
		b.ended = time.Now()
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
}

// sendOnlyPoison has the stranger send nothing but poison, and looks at the
// shards meanwhile.
func sendOnlyPoison(ctx context.Context, s *running) error {
	b, stop := s.loadOf(ctx, 1)
	s.other = b
	offends := false
	err := s.until(ctx, func() (bool, error) {
		states, err := s.shards(ctx)
		if err != nil {
			return false, err
		}
		for shard, state := range states {
			if state != control.StateRunning && state != control.StateDrained { // an earlier scenario's, that was split
				b.stopped[shard] = state
			}
		}
		if !offends {
			listed, err := s.pipeline.Starter(ctx, "shards")
			if err != nil {
				return false, err
			}
			offends = strings.Contains(listed, "has an offender, "+stranger)
		}
		return b.sender.Accepted.Len() >= s.options.Records*9/10, nil
	})
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	if !offends {
		return found("no shard calls the stranger an offender")
	}
	return nil
}

// awaitPoison waits until each of the stranger's records is in the ledger.
func awaitPoison(ctx context.Context, s *running) error {
	stores := s.stores
	stores.Tenant = stranger
	var report audit.Report
	if err := s.until(ctx, func() (bool, error) {
		var err error
		report, err = audit.Run(ctx, stores, s.other.sent)
		return report.Lost == 0 && report.DeadLettered == report.Bad && report.Bad > 0, err
	}); err != nil {
		return found("of %d bad records of the stranger %d are in the ledger, %d are lost: %v", report.Bad, report.DeadLettered, report.Lost, err)
	}
	return nil
}

const (
	// entriesASecond is how many ledger entries a flood of poison may make, for
	// each shard.
	entriesASecond = 2
	// entriesBefore is how many more there may be for each shard, until its
	// tenants are judged: 100 records, in chunks with at most 8 entries each.
	entriesBefore = 50
)

// checkPoison asks that no shard stood still, and that the ledger has grown
// slowly.
func checkPoison(ctx context.Context, s *running, report audit.Report) error {
	if len(s.other.stopped) > 0 {
		return found("shards stood still: %v", s.other.stopped)
	}
	if report.DeadLettered > 0 {
		return found("%d good records are in the ledger", report.DeadLettered)
	}
	objects := s3.NewListObjectsV2Paginator(pipeline.S3(s.stack), &s3.ListObjectsV2Input{Bucket: &s.resources.Bucket, Prefix: aws.String("ledger/open/")})
	entries := 0
	for objects.HasMorePages() {
		page, err := objects.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list the ledger: %w", err)
		}
		for _, object := range page.Contents {
			if !aws.ToTime(object.LastModified).Before(s.other.began.Truncate(time.Second)) {
				entries++
			}
		}
	}
	states, err := s.shards(ctx)
	if err != nil {
		return err
	}
	open := 0
	for _, state := range states {
		if state != control.StateDrained {
			open++
		}
	}
	seconds := int(time.Since(s.other.began)/time.Second) + 1
	if most := open * (entriesASecond*seconds + entriesBefore); entries > most {
		return found("%d bad records made %d ledger entries in %d s, more than %d", s.other.sender.Accepted.Len(), entries, seconds, most)
	}
	return nil
}
