package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/activities/recovery"
	"millrace/internal/backup"
	"millrace/internal/load"
	"millrace/internal/telemetry"
	"millrace/test/kit/audit"
)

// stored is an object of the backup, as it was before it was damaged.
type stored struct {
	key  string
	size int64
	body []byte
	meta map[string]string
}

// damagedBackup: of two objects that the recovery needs one is corrupt, and one
// is empty. It says so, brings back all the rest, and these too when it is
// started again after the objects' earlier versions are back.
func damagedBackup(ctx context.Context, r *rehearsal) error {
	if err := r.prepare()(ctx); err != nil {
		return err
	}
	// At a pause the backup writes what it holds.
	for _, command := range []string{"pause", "resume"} {
		if _, err := r.pipeline.Starter(ctx, "backup", command, "--wait", "1m"); err != nil {
			return err
		}
	}
	damaged, err := r.newest(ctx, 2)
	if err != nil {
		return err
	}
	half := slices.Clone(damaged[0].body[:len(damaged[0].body)/2])
	if err := do(ctx, r.strike(""), r.put(damaged[0], half), r.put(damaged[1], nil), r.recover("--backup-wait", "1m")); err != nil {
		return err
	}
	r.say("%s is cut in the middle, %s is empty", damaged[0].key, damaged[1].key)
	result, err := r.conclude(ctx)
	if err != nil {
		return err
	}
	if result.Complete || !result.Verified || result.Backfill.Damaged != 2 {
		return fmt.Errorf("of a damaged backup it says %+v", result)
	}
	for _, object := range damaged {
		if !slices.ContainsFunc(result.Missing, func(g recovery.Gap) bool { return g.Object == object.key && g.Reason != "" }) {
			err = errors.Join(err, fmt.Errorf("%s is not listed in %+v", object.key, result.Missing))
		}
	}
	if err != nil {
		return err
	}
	if _, err := r.pipeline.Starter(ctx, "recover", "status"); err == nil {
		return errors.New("what is not complete does not fail the operator's command")
	}
	report, err := audit.Run(ctx, r.stores, r.upTo(r.struck)...)
	if err != nil {
		return err
	}
	if report.Lost == 0 || report.Lost > report.Accepted/2 {
		return fmt.Errorf("%d of %d records are missing while two objects are damaged", report.Lost, report.Accepted)
	}
	r.say("%d of %d records are missing, as it says; the objects are put back", report.Lost, report.Accepted)
	if err := do(ctx, r.put(damaged[0], damaged[0].body), r.put(damaged[1], damaged[1].body), r.recover()); err != nil {
		return err
	}
	_, err = r.complete(ctx)
	return err
}

// upTo is what had been accepted by a time.
func (r *rehearsal) upTo(at time.Time) (sent []audit.Sent) {
	for _, t := range r.loads {
		sent = append(sent, audit.Sent{Source: t.Source, Accepted: t.acceptedBy(at)})
	}
	return sent
}

// newest returns the largest objects of the backup that were begun after the
// snapshot: what they have is nowhere else.
func (r *rehearsal) newest(ctx context.Context, count int) ([]stored, error) {
	listed, err := r.stores.S3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &r.stores.Bucket, Prefix: aws.String(backup.Prefix)})
	if err != nil {
		return nil, fmt.Errorf("list the backup: %w", err)
	}
	var found []stored
	for _, object := range listed.Contents {
		got, err := r.stores.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &r.stores.Bucket, Key: object.Key})
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", *object.Key, err)
		}
		body, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", *object.Key, err)
		}
		meta, err := backup.ParseMeta(got.Metadata)
		if err != nil {
			return nil, fmt.Errorf("read the metadata of %s: %w", *object.Key, err)
		}
		if meta.Oldest.After(r.snapped) {
			found = append(found, stored{*object.Key, *object.Size, body, got.Metadata})
		}
	}
	slices.SortFunc(found, func(a, b stored) int { return cmp.Compare(b.size, a.size) })
	if len(found) < count {
		return nil, fmt.Errorf("%d objects of the backup came after the snapshot", len(found))
	}
	return found[:count], nil
}

// put writes an object of the backup anew, with other content.
func (r *rehearsal) put(object stored, body []byte) step {
	return func(ctx context.Context) error {
		if _, err := r.stores.S3.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &r.stores.Bucket, Key: &object.key, Body: bytes.NewReader(body), Metadata: object.meta,
		}); err != nil {
			return fmt.Errorf("put %s: %w", object.key, err)
		}
		return nil
	}
}

// refusesAll is a mapping that no record fits: the region is a name.
var refusesAll = map[string]any{"mappings": map[string]any{"properties": map[string]any{"region": map[string]string{"type": "long"}}}}

// deadLettersHome: events are refused, and brought home from the ledger after
// the snapshot. They are in no snapshot, and what is in the backup of them is
// from long before it.
func deadLettersHome(ctx context.Context, r *rehearsal) error {
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -7).Add(8 * time.Hour) // the live load has none of it
	events := telemetry.IndexName("event", day)
	if err := r.stores.Ask(ctx, http.MethodPut, "/"+events, refusesAll, nil); err != nil {
		return err
	}
	refused := r.traffic("refused", day, load.Settings{Records: max(leastRecords, r.options.Records/20)})
	refused.start(ctx)
	if err := <-refused.ended; err != nil {
		return err
	}
	sent := audit.Sent{Source: refused.Source, Accepted: &refused.Accepted, Dead: func(n uint64) bool {
		return refused.Source.Bad(n) || refused.Source.Type(n) == "event"
	}}
	var report audit.Report
	if err := r.until(ctx, "the events to be in the ledger", func() (_ bool, err error) {
		report, err = audit.Run(ctx, r.stores, sent)
		return report.Lost == 0, err
	}); err != nil {
		return err
	}
	if report.DeadLettered != report.Bad || report.Bad < report.Accepted/50 {
		return fmt.Errorf("%d of %d records are in the ledger", report.DeadLettered, report.Accepted)
	}
	r.say("%d of %d records are in the ledger; the mapping is mended", report.DeadLettered, report.Accepted)
	if _, err := r.deleteIndices(ctx, events); err != nil {
		return err
	}
	if err := r.snapshot()(ctx); err != nil {
		return err
	}
	said, err := r.pipeline.Starter(ctx, "dlq", "reprocess", "--direct", "--error", "region", "--wait")
	if err != nil {
		return err
	}
	if left := refused.unsaved(); left > 0 {
		return fmt.Errorf("%d records are not home: %s", left, said)
	}
	r.say("all events are brought home from the ledger")
	if err := do(ctx, r.strike(""), r.recover()); err != nil {
		return err
	}
	result, err := r.complete(ctx)
	if err == nil && result.Plan.Entries == 0 {
		err = fmt.Errorf("the recovery knows nothing of the ledger: %+v", result.Plan)
	}
	return err
}
