package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Shards are split and merged under load, the writer is killed and frozen until
// others have its shards, and pauses move the boundaries of objects: the backup
// has what the stream has, each record once, and so all that was accepted.
func TestBackupMatchesStream(t *testing.T) {
	t.Parallel()
	cfg := localtest.Kinesalite(t)
	streams := kinesis.NewFromConfig(cfg)
	s := start(t, func(at *servers) { at.kinesis = *cfg.BaseEndpoint })
	t.Cleanup(func() {
		_, _ = streams.DeleteStream(context.WithoutCancel(t.Context()), &kinesis.DeleteStreamInput{StreamName: &s.resources.Stream})
	})
	// Before the system ends, since it needs a worker.
	stop := func() { _, _ = s.Starter(context.WithoutCancel(t.Context()), "backup", "stop") }
	t.Cleanup(stop)
	s.must(s.StartBackup(t.Context()))
	r := resharding{s, streams}

	sender := s.sender(4_000, 200)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error { return sender.Run(ctx) })
	group.Go(func() error {
		for _, c := range []struct {
			at   uint64
			what func(context.Context) error
		}{
			{400, r.splitFirst},
			{800, s.freezeUntilTakenOver},
			{1_600, func(ctx context.Context) error { s.worker.Kill(); return s.worker.Restart(ctx) }},
			{2_400, s.pauseProcessing}, // which is nothing to the backup
			{2_800, r.mergeFirst},
		} {
			if err := until(ctx, func() bool { return sender.Accepted.Len() >= c.at }); err != nil {
				return err
			}
			if err := c.what(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	s.must(group.Wait())

	opened, err := stream.Open(t.Context(), streams, s.resources.Stream, stream.Settings{})
	s.must(err)
	ids := map[string]bool{}
	s.await(func() error { // what has gone through the queue comes later
		for _, data := range s.inStream(opened) {
			ids[telemetry.ParseFields([]byte(data)).ID] = true
		}
		for n := range sender.Accepted.All() {
			if id := sender.Source.ID(n); !ids[id] {
				return fmt.Errorf("%s was accepted, and is not in the stream", id)
			}
		}
		return nil
	})
	want := s.awaitWholeBackup(opened)
	if _, err := s.Starter(t.Context(), "stream", "resume"); err != nil {
		t.Error(err)
	}
	s.awaitAll(sender)
	s.checkBackupStatus(want)
}

// awaitWholeBackup waits until the backup has what the stream has, and returns how
// many documents that is.
func (s *system) awaitWholeBackup(of *stream.Stream) int {
	s.t.Helper()
	var want map[string]string
	var lines map[string]backup.Line
	s.await(func() error {
		if want, lines = s.inStream(of), s.inBackup(); len(lines) != len(want) {
			return fmt.Errorf("%d documents are in the backup, %d in the stream", len(lines), len(want))
		}
		return nil
	})
	for at, data := range want {
		if got := lines[at]; string(got.Data) != data {
			s.t.Fatalf("%s is %.300q in the backup, and %.300q in the stream", at, got.Data, data)
		}
	}
	return len(want)
}

// checkBackupStatus holds the operator's figures to what there is.
func (s *system) checkBackupStatus(records int) {
	s.t.Helper()
	var report struct {
		State   string
		Backups []struct {
			Shard, State string
			LagSeconds   float64
			Counts       struct{ Records, Losses int }
		}
	}
	s.await(func() error {
		printed, err := s.Starter(s.t.Context(), "backup", "status", "--json")
		if err != nil { // workers that are busy may not answer in time
			return err
		}
		s.must(json.Unmarshal([]byte(printed), &report))
		counted, drained := 0, 0
		for _, b := range report.Backups {
			if counted += b.Counts.Records; b.State == "drained" {
				drained++
			}
			if b.Counts.Losses > 0 {
				s.t.Errorf("the backup of %s has losses: %+v", b.Shard, b)
			}
		}
		if counted != records || drained != 3 || len(report.Backups) != 5 || report.State != "running" {
			return fmt.Errorf("with %d records in the backup its status is %+v", records, report)
		}
		return nil
	})
}

// pauseProcessing pauses all that is not the backup, which then writes what it
// holds, and goes on.
func (s *system) pauseProcessing(ctx context.Context) error {
	if _, err := s.Starter(ctx, "stream", "pause"); err != nil {
		return err
	}
	return s.flushBackup(ctx)
}

// flushBackup makes the backup write what it holds.
func (s *system) flushBackup(ctx context.Context) error {
	for _, command := range []string{"pause", "resume"} {
		if _, err := s.Starter(ctx, "backup", command); err != nil {
			return err
		}
	}
	return nil
}

// freezeUntilTakenOver stops a worker as the network or a debugger may, until
// another one has its shards, and lets it go on: a zombie beside its successor.
func (s *system) freezeUntilTakenOver(ctx context.Context) error {
	if err := s.worker.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	_, err := s.StartWorker(ctx, workerEnv...)
	if err == nil {
		err = until(ctx, func() bool { return !s.backsUp(ctx, s.worker.Pid()) })
	}
	return errors.Join(err, s.worker.Signal(syscall.SIGCONT))
}

// backsUp reports whether a process has a shard of the backup, or that is
// unknown.
func (s *system) backsUp(ctx context.Context, pid int) bool {
	printed, err := s.Starter(ctx, "backup", "status", "--json")
	var report struct {
		Backups []struct{ State, Worker string }
	}
	if err != nil || json.Unmarshal([]byte(printed), &report) != nil || len(report.Backups) == 0 {
		return true
	}
	for _, b := range report.Backups {
		if b.State == "running" && strings.HasPrefix(b.Worker, fmt.Sprint(pid, "@")) {
			return true
		}
	}
	return false
}

// inBackup reads every record of the backup; one that is there twice fails the
// test.
func (s *system) inBackup() map[string]backup.Line {
	s.t.Helper()
	bucket := archive.Open(s.stores.S3, s.resources.Bucket).Under(backup.Prefix)
	lines := map[string]backup.Line{}
	for key, err := range bucket.Keys(s.t.Context(), "") {
		if err != nil { // the test has failed, or its network
			s.t.Error(err)
			return lines
		}
		if err := each(s.t.Context(), bucket, key, func(l backup.Line) {
			at := l.Shard + " " + l.Sequence
			if _, twice := lines[at]; twice {
				s.t.Errorf("%s is in the backup twice, also in %s", at, key)
			}
			l.Data = []byte(string(l.Data))
			lines[at] = l
		}); err != nil {
			s.t.Error(err)
		}
	}
	return lines
}

func each(ctx context.Context, bucket *archive.Bucket, key string, take func(backup.Line)) error {
	object, err := backup.OpenObject(ctx, bucket, key)
	if err != nil {
		return err
	}
	defer object.Close()
	for {
		line, err := object.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		take(line)
	}
}

// inStream reads every document of the stream, by shard and position.
func (s *system) inStream(from *stream.Stream) map[string]string {
	s.t.Helper()
	documents := map[string]string{}
	s.eachInStream(from, func(shard string, r stream.Record) {
		for _, d := range r.Documents() {
			documents[shard+" "+d.Sequence] = strings.Clone(string(d.Data))
		}
	})
	return documents
}

// eachInStream reads every record that the stream has now.
func (s *system) eachInStream(from *stream.Stream, take func(shard string, r stream.Record)) {
	s.t.Helper()
	shards, err := from.Shards(s.t.Context())
	s.must(err)
	now := time.Now()
	for _, shard := range shards {
		reader := from.Reader(shard.ID, telemetry.Checkpoint{})
		for quiet := 0; quiet < 3; {
			page, err := reader.Next(s.t.Context())
			s.must(err)
			quiet++
			for _, r := range page.Records {
				take(shard.ID, r)
				if quiet = 0; r.Arrived.After(now) {
					quiet = 3
				}
			}
			if page.End {
				break
			}
		}
		reader.Close()
	}
}
