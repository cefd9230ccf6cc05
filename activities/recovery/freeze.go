package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

const (
	// pageObjects and pageBytes bound a page of the list: what one activity
	// works on, over several calls.
	pageObjects, pageBytes = 1000, 1 << 30
	// samples is how many objects are asked how many records they have, for the
	// estimate; bytesPerRecord is assumed of objects that do not say.
	samples, bytesPerRecord = 16, 100
	// assumedRate is how many records a second are indexed, for the estimate,
	// where no rate is given and live traffic decides.
	assumedRate = 10_000
	clockSkew   = backup.ClockSkew
	// longestSilence is how long after the last of its papers a recovery may have
	// indexed something: it reports on objects while it goes through them. One that
	// was terminated has no result, and must not count for ever.
	longestSilence = 24 * time.Hour
)

// window says which records came after a snapshot, up to where the shards stand
// now. Without checkpoints time decides. Shards of earlier streams of the name stand
// nowhere any more: of them all is wanted that came after the snapshot.
func window(r RecoverRequest, stream telemetry.StreamID, from snapshot.Record, found bool, now map[string]telemetry.Checkpoint, retention time.Duration, at time.Time) backup.Window {
	w := backup.Window{From: r.From, To: r.To, Stream: stream.Name, Created: stream.Created}
	if w.To.IsZero() {
		w.To = at
	}
	if !r.From.IsZero() || !r.To.IsZero() {
		return w
	}
	w.Shards = map[string][]backup.Span{}
	before := map[string]telemetry.Checkpoint{}
	isEarlier := func(created time.Time) bool { return created.Unix() != stream.Created.Unix() }
	var unread []time.Time // when the earlier streams were made of which no record was read by the snapshot
	if found {
		w.From = from.Started
		for _, shard := range from.Shards {
			if shard.Stream != stream.Name {
				continue
			}
			if read := shard.Checkpoint.ReadUpTo; !read.IsZero() && !shard.Checkpoint.Closed && read.Before(w.From) {
				w.From = read
			}
			if !isEarlier(shard.Created) {
				before[shard.Shard] = shard.Checkpoint
				continue
			}
			w.OfStream(shard.Created)[shard.Shard] = behindOf(shard.Checkpoint)
			if shard.Checkpoint.Sequence == "" && !shard.Checkpoint.Closed {
				unread = append(unread, shard.Created)
			}
		}
	}
	for shard, reached := range now {
		start := before[shard]
		if reached.Sequence == "" || start.Closed || start.Sequence == reached.Sequence {
			w.Shards[shard] = []backup.Span{} // nothing of it was processed since
			continue
		}
		if start.Sequence == "" {
			w.Reach = retention
		}
		w.Shards[shard] = []backup.Span{{After: start.Sequence, Until: reached.Sequence}}
	}
	for _, open := range from.Open {
		if !found {
			continue
		}
		shards := w.OfStream(open.StreamCreated)
		shards[open.Shard] = append(shards[open.Shard], backup.Span{After: before1(telemetry.SequenceOf(open.First)), Until: open.Last})
		if isEarlier(open.StreamCreated) {
			unread = append(unread, open.StreamCreated)
		} else {
			w.Reach = retention
		}
	}
	for _, created := range unread { // whatever it kept, nothing had come before it was made
		w.Reach = max(w.Reach, w.From.Sub(created))
	}
	return w
}

// behindOf is what of a shard lies behind a checkpoint.
func behindOf(at telemetry.Checkpoint) []backup.Span {
	if at.Closed {
		return []backup.Span{}
	}
	return []backup.Span{{After: at.Sequence}}
}

// before1 is the number before a sequence number.
func before1(sequence string) string {
	n, ok := new(big.Int).SetString(sequence, 10)
	if !ok || n.Sign() <= 0 {
		return ""
	}
	return n.Sub(n, big.NewInt(1)).String()
}

// objects is the backup below the plan's prefix, as it is listed.
func (r *Recoverer) objects(ctx context.Context, plan Plan, inventory string) (backup.Objects, error) {
	below := r.Backup(plan.Prefix)
	if inventory == "" {
		return below, nil
	}
	where, key := backup.Objects(r.Backups), inventory
	if rest, elsewhere := strings.CutPrefix(inventory, "s3://"); elsewhere {
		bucket, path, _ := strings.Cut(rest, "/")
		if bucket == "" || path == "" {
			return nil, invalid("inventory: %q is not s3://bucket/key", inventory)
		}
		where, key = r.Other(bucket), path
	}
	known, err := backup.OpenInventory(ctx, where, key, r.BucketName, plan.Prefix, plan.Window.Since(), below)
	var useless *backup.InventoryError
	if errors.As(err, &useless) {
		return nil, invalid("inventory: %v", err)
	}
	return known, err
}

// frozen writes a list, page by page, or only counts it.
type frozen struct {
	bucket Bucket
	prefix string // of the pages; empty: count only
	stage  string
	seen   map[string]bool // sources that may come twice: those that are not of the window

	page  []Listed
	bytes int64
	Plan  Plan // its counts
}

func (f *frozen) add(ctx context.Context, l Listed) error {
	if f.seen[l.Key] {
		return nil
	}
	if len(f.page) == pageObjects || len(f.page) > 0 && f.bytes+l.Size > pageBytes {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.page, f.bytes = append(f.page, l), f.bytes+l.Size
	f.Plan.Objects++
	f.Plan.Bytes += l.Size
	return nil
}

func (f *frozen) flush(ctx context.Context) error {
	if len(f.page) == 0 {
		return nil
	}
	if f.prefix != "" {
		body, err := json.Marshal(f.page)
		if err == nil {
			err = f.bucket.Put(ctx, listKey(f.prefix, f.stage, f.Plan.Pages), body)
		}
		if err != nil {
			return fmt.Errorf("write the list of objects: %w", err)
		}
	}
	f.page, f.bytes = f.page[:0], 0
	f.Plan.Pages++
	return nil
}

// freeze lists what a plan's window needs. With write it becomes the list of a
// stage; the plan's figures are those of that list. breaks, unless nil, looks for
// what is missing in it.
func (r *Recoverer) freeze(ctx context.Context, plan Plan, inventory, stage string, write bool, breaks *backup.Breaks) (Plan, error) {
	f := &frozen{bucket: r.Bucket, stage: stage, Plan: plan, seen: map[string]bool{}}
	f.Plan.Objects, f.Plan.Entries, f.Plan.Foreign, f.Plan.Bytes, f.Plan.Records, f.Plan.Pages = 0, 0, 0, 0, 0, 0
	if write {
		f.prefix = plan.Papers
	}
	entries, err := r.extras(ctx, plan, f)
	if err != nil {
		return plan, err
	}
	from, err := r.objects(ctx, plan, inventory)
	if err != nil {
		return plan, err
	}
	var sample []Listed
	for object, err := range backup.Follow(ctx, from, plan.Window) {
		if err != nil {
			return plan, err
		}
		if breaks != nil {
			if err := breaks.Add(ctx, object); err != nil {
				return plan, err
			}
		}
		if !object.Wanted {
			continue
		}
		if object.Foreign() {
			f.Plan.Foreign++
		}
		source := Listed{Key: plan.Prefix + object.Key, Size: object.Size}
		if err := f.add(ctx, source); err != nil {
			return plan, err
		}
		if f.Plan.Objects&(f.Plan.Objects-1) == 0 && len(sample) < samples { // the 1st, 2nd, 4th, 8th, …
			sample = append(sample, source)
		}
	}
	if err := f.flush(ctx); err != nil {
		return plan, err
	}
	f.Plan.Entries = entries
	f.Plan.Records = r.estimate(ctx, f.Plan.Bytes, sample)
	if plan.Rate > 0 { // a plan of an earlier version has none
		f.Plan.Seconds = float64(f.Plan.Records) / plan.Rate
	}
	return f.Plan, nil
}

// extras adds what is not in the window, and yet came after the snapshot, or at any
// time where there is none: what was indexed from the ledger since, and what earlier
// recoveries and replays wrote.
func (r *Recoverer) extras(ctx context.Context, plan Plan, f *frozen) (entries int64, err error) {
	if plan.Replay {
		return 0, nil
	}
	var since time.Time
	if !plan.Began.IsZero() {
		since = plan.Began.Add(-backup.ClockSkew)
	}
	for _, state := range []string{"open/", "done/"} { // in this order: one that is resolved meanwhile is in both
		more, err := r.entries(ctx, f, ledgerPrefix+state+plan.Window.Stream+"/", since)
		if err != nil {
			return 0, err
		}
		entries += more
	}
	for _, papers := range plan.More {
		if err := r.listedEarlier(ctx, papers, f); err != nil {
			return 0, err
		}
	}
	return entries, nil
}

// listedEarlier adds what an earlier recovery, or a replay, went through: also what
// only its verify listed, which came while it ran, and was indexed by that.
func (r *Recoverer) listedEarlier(ctx context.Context, papers string, f *frozen) error {
	earlier, err := readPlan(ctx, r.Bucket, papers)
	if err != nil {
		return err
	}
	for page := range earlier.Pages {
		if err := r.addPage(ctx, papers, SweepBackfill, page, f); err != nil {
			return err
		}
	}
	for page := 0; ; page++ { // the plan does not say how many it has
		err := r.addPage(ctx, papers, SweepVerify, page, f)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// addPage adds a page of the list of another recovery.
func (r *Recoverer) addPage(ctx context.Context, papers, stage string, page int, f *frozen) error {
	sources, err := readPage(ctx, r.Bucket, papers, stage, page)
	if err != nil {
		return err
	}
	for _, source := range sources {
		source.Whole = true
		if err := f.add(ctx, source); err != nil {
			return err
		}
		f.seen[source.Key] = true
	}
	return nil
}

// entries adds the ledger entries below a prefix of which records were indexed
// after a time.
func (r *Recoverer) entries(ctx context.Context, f *frozen, prefix string, since time.Time) (count int64, err error) {
	var objects []archive.Object
	look := func() error {
		wanted, err := r.wanted(ctx, objects, since)
		if err != nil {
			return err
		}
		for n, object := range objects {
			if !wanted[n] {
				continue
			}
			if err := f.add(ctx, Listed{Key: object.Key, Size: object.Size, Whole: true}); err != nil {
				return err
			}
			count++
		}
		objects = objects[:0]
		return nil
	}
	for object, err := range r.Bucket.List(ctx, prefix) {
		if err != nil {
			return 0, fmt.Errorf("list what was brought home from the ledger: %w", err)
		}
		if object.Modified.Before(since) {
			continue
		}
		if objects = append(objects, object); len(objects) < deadletter.EntriesAtOnce {
			continue
		}
		if err := look(); err != nil {
			return 0, err
		}
	}
	err = look()
	return count, err
}

// wanted reads some ledger entries at the same time, and reports for each
// whether records of it were indexed after a time.
func (r *Recoverer) wanted(ctx context.Context, objects []archive.Object, since time.Time) ([]bool, error) {
	wanted := make([]bool, len(objects))
	group, ctx := errgroup.WithContext(ctx)
	for n, object := range objects {
		group.Go(func() error {
			entry, err := r.Ledger.Get(ctx, object.Key)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // an operator deleted it
			}
			wanted[n] = err == nil && wantsEntry(entry, object.Modified, since)
			return err
		})
	}
	return wanted, group.Wait()
}

// wantsEntry reports whether records of an entry may have been indexed after a
// time. When that was it does not say while it is open for others: reprocessing is
// entered before it begins, and its end only by writing the entry again.
func wantsEntry(e ledger.Entry, modified, since time.Time) bool {
	last := modified
	if e.Resolution != nil {
		last = e.Resolution.At
	}
	return !last.Before(since) && slices.ContainsFunc(e.Records, func(r ledger.Record) bool { return e.IsIndexed(r) })
}

// earlier finds the papers of recoveries and replays that wrote to the same
// indices after a time.
func (r *Recoverer) earlier(ctx context.Context, plan Plan) (papers []string, err error) {
	var folders []string
	written := map[string]time.Time{} // the last of its papers
	for object, err := range r.Bucket.List(ctx, papersRoot) {
		if err != nil {
			return nil, fmt.Errorf("look for earlier recoveries: %w", err)
		}
		id, name, _ := strings.Cut(strings.TrimPrefix(object.Key, papersRoot), "/")
		folder := Papers(id)
		if object.Modified.After(written[folder]) {
			written[folder] = object.Modified
		}
		if name == planFile && folder != plan.Papers {
			folders = append(folders, folder)
		}
	}
	for _, folder := range folders {
		other, err := readPlan(ctx, r.Bucket, folder)
		if err != nil {
			return nil, err
		}
		if other.Suffix != "" {
			continue
		}
		var result RecoverResult
		if text, err := r.Bucket.Get(ctx, folder+resultFile); err == nil {
			if err := json.Unmarshal(text, &result); err != nil {
				return nil, fmt.Errorf("read the result of an earlier recovery in %s: %w", folder, err)
			}
		}
		ended := result.Ended
		if ended.IsZero() { // it runs, or it was terminated
			ended = written[folder].Add(longestSilence)
		}
		if ended.After(plan.Began.Add(-backup.ClockSkew)) {
			papers = append(papers, folder)
		}
	}
	return papers, nil
}

// estimate is about how many records some objects have, by what a few of them
// say.
func (r *Recoverer) estimate(ctx context.Context, bytes int64, sample []Listed) int64 {
	var records, of int64
	for _, source := range sample {
		text, err := r.Backups.Meta(ctx, source.Key)
		if err != nil {
			continue
		}
		meta, err := backup.ParseMeta(text)
		if err == nil && meta.Count > 0 {
			records, of = records+int64(meta.Count), of+source.Size
		}
	}
	if of == 0 {
		return bytes / bytesPerRecord
	}
	return int64(float64(bytes) / float64(of) * float64(records))
}
