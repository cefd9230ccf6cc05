package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/internal/load"
	"millrace/internal/telemetry"
)

// TestFileSinkLosesNothing, though its worker is killed and no program reaches an
// Elasticsearch: each record that was accepted is a line of a file.
func TestFileSinkLosesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "documents")
	s := start(t, func(at *servers) {
		at.elasticsearch = "http://127.0.0.1:1" // where nothing listens
		at.all = []string{"MILLRACE_SINK=file", "MILLRACE_SINK_DIRECTORY=" + dir}
	})
	sender := load.NewSender(
		&load.Source{Run: s.tenant, Start: time.Now(), Interval: time.Millisecond},
		load.Settings{URL: s.collector.URL, Key: s.key, Records: 3_000, Rate: 300, Duplicates: 0.05},
	)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error { return sender.Run(ctx) })
	group.Go(func() error {
		if err := until(ctx, func() bool { return sender.Accepted.Len() >= 1_000 && len(s.lines(dir)) > 0 }); err != nil {
			return err
		}
		s.worker.Kill()
		return s.worker.Restart(ctx)
	})
	s.must(group.Wait())
	if counts := sender.Counts(); counts.Refused+counts.GivenUp > 0 || counts.Accepted != 3_000 || counts.Duplicates == 0 {
		t.Fatalf("the sender counts %+v", counts)
	}
	var lines map[string]int
	s.await(func() error {
		lines = s.lines(dir)
		missing := 0
		for n := range sender.Accepted.All() {
			if lines[sender.Source.DocID(s.tenant, n)] == 0 {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d records are in no file", missing, sender.Accepted.Len())
		}
		return nil
	})
	again := 0
	for _, times := range lines {
		again += times - 1
	}
	t.Logf("%d records in %d lines: %d were written again", len(lines), len(lines)+again, again)
	if uint64(len(lines)) != sender.Accepted.Len() {
		t.Errorf("the files have %d documents, want %d", len(lines), sender.Accepted.Len())
	}
	s.refusesAlone(dir)
}

// refusesAlone has the file sink refuse a record, which is none of a collector's: it ends in the
// ledger, and operators learn which way home it has.
func (s *system) refusesAlone(dir string) {
	s.t.Helper()
	head := telemetry.Head{
		Index: "telemetry-log-undated", ReceivedAt: time.Now(), Tenant: s.tenant, Region: "eu-west-1", ID: "broken", Type: "log", Timestamp: time.Now(),
	}
	_, err := kinesis.NewFromConfig(localtest.AWS(s.t)).PutRecord(s.t.Context(), &kinesis.PutRecordInput{
		StreamName: &s.resources.Stream, PartitionKey: aws.String(head.DocID().PartitionKey()),
		Data: telemetry.AppendRecord(nil, head, []byte(`{"name":}`)),
	})
	s.must(err)
	want := map[string]string{"broken": "not_json"}
	dead := func() error {
		if got := s.ledger(); !maps.Equal(got, want) {
			return fmt.Errorf("the ledger holds %v, want %v", got, want)
		}
		return nil
	}
	s.await(dead)
	if out, err := s.Starter(s.t.Context(), "dlq", "reprocess", "--wait"); err == nil || !strings.Contains(err.Error(), "--direct") {
		s.t.Errorf("through the stream it is brought home: %v\n%s", err, out)
	}
	out, err := s.Starter(s.t.Context(), "dlq", "reprocess", "--direct", "--wait")
	if err != nil || !strings.Contains(out, "not_json") {
		s.t.Errorf("directly: %v\n%s", err, out)
	}
	s.must(dead())
	if lines := s.lines(dir); lines[head.DocID().String()] > 0 {
		s.t.Error("a record is in a file and in the ledger")
	}
}

// lines reads which documents are in files, and how often each, as any reader would:
// what is no JSON is a line that is torn, or being written.
func (s *system) lines(dir string) map[string]int {
	found := map[string]int{}
	names, err := filepath.Glob(filepath.Join(dir, "*", "*.ndjson"))
	if err != nil {
		s.t.Error(err)
	}
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			s.t.Error(err)
			continue
		}
		scanner := bufio.NewScanner(file)
		scanner.Buffer(nil, 2*telemetry.MaxRecordSize)
		for scanner.Scan() {
			var d document
			if json.Unmarshal(scanner.Bytes(), &d) == nil && d.Source["tenant"] == s.tenant && d.Index == filepath.Base(filepath.Dir(name)) {
				found[d.ID]++
			}
		}
		if err := scanner.Err(); err != nil {
			s.t.Error(err)
		}
		file.Close()
	}
	return found
}

// TestFileSinkRefusesWhatNeedsACluster before it polls anything.
func TestFileSinkRefusesWhatNeedsACluster(t *testing.T) {
	t.Parallel()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, queue := range []string{"recover", "snapshot"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience) // one that starts never ends
		defer cancel()
		worker := exec.CommandContext(ctx, built.Worker, "--listen=127.0.0.1:0", "--queues=index,"+queue)
		worker.Env = local.Environ([]string{"AWS_REGION=" + local.Region, "MILLRACE_SINK=file", "MILLRACE_SINK_DIRECTORY=" + t.TempDir()})
		out, err := worker.CombinedOutput()
		if err == nil || ctx.Err() != nil || !strings.Contains(string(out), "--queues: "+queue+": ") || !strings.Contains(string(out), "leave these queues out") {
			t.Errorf("with %s it ends with %v:\n%s", queue, err, out)
		}
	}
}
