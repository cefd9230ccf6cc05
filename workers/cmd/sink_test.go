package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"millrace/activities/snapshots"
	"millrace/workers"
)

func TestFileSinkRefusesWhatNeedsACluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for queues, named := range map[string]string{
		"recover":            "--queues: recover: ",
		"index,sweep":        "--queues: sweep: ",
		"process,snapshot":   "--queues: snapshot: ",
		"recover,dead,sweep": "--queues: recover, sweep: ",
	} {
		_, err := parse("--sink=file", "--sink-directory="+dir, "--queues="+queues)
		if err == nil || !strings.Contains(err.Error(), named) || !strings.Contains(err.Error(), "leave these queues out") {
			t.Errorf("%s gives error %v", queues, err)
		}
		if _, err := parse("--queues=" + queues); err != nil {
			t.Errorf("with Elasticsearch, %s gives error %v", queues, err)
		}
	}
	// All of them by name is not the default.
	if _, err := parse("--sink=file", "--sink-directory="+dir, "--queues="+strings.Join(allQueues, ",")); err == nil {
		t.Error("all queues are taken")
	}
}

func TestSinkHasItsDirectory(t *testing.T) {
	t.Parallel()
	for _, wrong := range [][]string{{"--sink=file"}, {"--sink-directory=x"}, {"--sink=elasticsearch", "--sink-directory=x"}} {
		if _, err := parse(wrong...); err == nil || !strings.Contains(err.Error(), "--sink-directory: ") {
			t.Errorf("%v gives error %v", wrong, err)
		}
	}
	if _, err := parse("--sink=kafka"); err == nil || !strings.Contains(err.Error(), "--sink") {
		t.Errorf("an unknown sink gives error %v", err)
	}
}

func TestQueuesDependOnTheSink(t *testing.T) {
	t.Parallel()
	file := []string{"--sink=file", "--sink-directory=" + t.TempDir()}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, slices.DeleteFunc(slices.Clone(allQueues), func(queue string) bool { return queue == "canary" })},
		{[]string{"--canary-urls=eu=https://c.example", "--canary-key=k"}, allQueues},
		{file, []string{"ingest", "redrive", "process", "range", "index", "backup", "copy", "dead"}},
		{append(file, "--queues=index,dead"), []string{"index", "dead"}},
		{[]string{"--queues=recover"}, []string{"recover"}},
	} {
		s, err := parse(c.args...)
		if err != nil || !slices.Equal(s.polled(), c.want) {
			t.Errorf("%v polls %v, error %v", c.args, s.polled(), err)
		}
	}
	if _, err := parse("--queues=other"); err == nil || !strings.Contains(err.Error(), "--queues") {
		t.Errorf("an unknown queue gives error %v", err)
	}
}

// TestFileSinkAsksNoCluster, neither for readiness nor for snapshots.
func TestFileSinkAsksNoCluster(t *testing.T) {
	t.Parallel()
	s, err := parse("--sink=file", "--sink-directory="+filepath.Join(t.TempDir(), "sink"))
	if err != nil {
		t.Fatal(err)
	}
	to, err := s.open(aws.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if to.cluster != nil || len(to.required) != 1 || to.required[workers.Files](t.Context()) != nil || len(to.optional) > 0 {
		t.Errorf("it needs %v", slices.Collect(maps.Keys(to.required)))
	}
	if _, notes := to.bulker(&workers.Backends{}).(*snapshots.WrittenIndices); notes {
		t.Error("it notes indices for a snapshot")
	}
	if _, direct := to.reprocessor(nil).(workers.DirectOnly); !direct {
		t.Error("it reprocesses by the stream")
	}
	if err := to.close(); err != nil {
		t.Error(err)
	}

	if s, err = parse(); err != nil {
		t.Fatal(err)
	}
	if to, err = s.open(aws.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, notes := to.bulker(&workers.Backends{}).(*snapshots.WrittenIndices); !notes || to.cluster == nil || to.required[workers.Elasticsearch] == nil || to.optional[workers.Shards] == nil {
		t.Errorf("Elasticsearch needs %v", slices.Collect(maps.Keys(to.required)))
	}
}

func TestUnusableDirectoryStopsTheStart(t *testing.T) {
	t.Parallel()
	inTheWay := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := parse("--sink=file", "--sink-directory="+inTheWay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(aws.Config{}); err == nil || !strings.Contains(err.Error(), "--sink-directory: ") {
		t.Errorf("the error is %v", err)
	}
}
