package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/deploy/pipeline"
	"millrace/test/experiment/lambda"
)

// small is an experiment that is over in seconds.
var small = options{
	Rounds: 1, For: 4 * time.Second, Drain: 90 * time.Second, WarmUp: time.Second, Shards: 2,
	Rate: 200, Burst: 400, BurstEvery: 2 * time.Second, BurstFor: 500 * time.Millisecond, Duplicates: 0.3, Poison: 0.005,
	Only:   []string{before, after, millrace},
	Lambda: lambda.Settings{Batch: 64, Poll: 200 * time.Millisecond, Retries: 6, Backoff: 10 * time.Millisecond, Longest: 40 * time.Millisecond},
}

// A small experiment shows what tells the three apart, though not by how much.
func TestSmallExperimentTellsThreeApart(t *testing.T) {
	t.Parallel()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(root, ".local", "bin", "test-experiment") // in the clone, so that the go command sees when they change
	programs, err := pipeline.Build(t.Context(), root, bin)
	if err != nil {
		t.Fatal(err)
	}
	temporal, cfg, streams := localtest.Temporal(t), localtest.AWS(t), localtest.Kinesalite(t)
	var log strings.Builder
	e := &experiment{
		options: small, name: localtest.Name(t, "experiment"), programs: programs, to: &log,
		elasticsearch: localtest.Elasticsearch(t), temporal: temporal.HostPort, aws: cfg,
		streams: kinesis.NewFromConfig(streams), dir: dir, lambda: filepath.Join(bin, "lambda"),
		env: []string{
			"AWS_ENDPOINT_URL=" + *cfg.BaseEndpoint, "AWS_REGION=" + local.Region, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
			"TEMPORAL_ADDRESS=" + temporal.HostPort, "AWS_ENDPOINT_URL_KINESIS=" + *streams.BaseEndpoint,
			local.EnvElasticsearch + "=" + localtest.Elasticsearch(t),
		},
	}
	e.options.Out = t.TempDir()
	if err := e.build(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	results, err := e.compare(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, r := range results {
		one := r.runs[0]
		if one.accepted == 0 || one.bad == 0 || one.saved+one.unfinished != one.accepted-one.bad || len(one.points) != int(one.saved+one.unfinished) {
			t.Errorf("%s: %d accepted, %d bad, %d saved, %d unfinished, %d measured", r.contender, one.accepted, one.bad, one.saved, one.unfinished, len(one.points))
		}
		if d := r.delays(); d.average() <= 0 || d.quantile(0.99) < d.quantile(0.5) {
			t.Errorf("%s: %v on average, %v p50, %v p99", r.contender, d.average(), d.quantile(0.5), d.quantile(0.99))
		}
		if one.traffic.Counts().Duplicates == 0 {
			t.Errorf("%s: no duplicate was posted", r.contender)
		}
	}
	// A run of these ends with its good records: the last bad one of each shard may not be given up by then.
	least := func(bad uint64) int { return max(1, int(bad)-small.Shards) }
	a, b, c := results[0].runs[0], results[1].runs[0], results[2].runs[0]
	if a.stats.DeadRecords <= a.stats.DeadUnsaved || a.stats.DeadUnsaved < least(a.bad) || a.stats.Duplicates > 0 {
		t.Errorf("without bisecting, whole batches are given up, and no duplicate is known: %+v", a.stats)
	}
	if b.unfinished > 0 || b.stats.DeadRecords != b.stats.DeadUnsaved || b.stats.DeadUnsaved < least(b.bad) || b.stats.Duplicates == 0 {
		t.Errorf("bisecting finds each bad record, and duplicates are skipped: %+v, %d unfinished", b.stats, b.unfinished)
	}
	if lost, err := results[2].lost(); c.unfinished > 0 || lost > 0 || err != nil {
		t.Errorf("Millrace: %d unfinished, %d lost, %v", c.unfinished, lost, err)
	}
	var out strings.Builder
	if err := report(results, e.options, &out); err != nil {
		t.Error(err)
	}
	lines := strings.SplitAfter(out.String(), "\n")
	last := lines[len(lines)-2]
	if !strings.HasPrefix(last, `{"avg_ratio":`) || !strings.HasSuffix(last, `"lost":0}`+"\n") {
		t.Errorf("the last line is %s", last)
	}
}

// made are results with one slow second.
func made() []*result {
	var results []*result
	for i, contender := range []string{before, after, millrace} {
		r := &result{contender: contender}
		for round := range 2 {
			one := outcome{begin: day, last: day.Add(10 * time.Second), saved: 1000}
			for n := range 1000 {
				delay := time.Second / time.Duration(1+i*i)
				if n/100 == 5 && round == 1 {
					delay *= 10
				}
				one.points = append(one.points, point{time.Duration(n) * 10 * time.Millisecond, delay})
			}
			r.runs = append(r.runs, one)
		}
		results = append(results, r)
	}
	return results
}

func TestReport(t *testing.T) {
	t.Parallel()
	dir, results := t.TempDir(), made()
	file := filepath.Join(dir, "experiment.md")
	if err := os.WriteFile(file, []byte("head\n"+beginFigures+"old\n"+endFigures+"tail\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := report(results, options{Out: dir}, &out); err != nil {
		t.Fatal(err)
	}
	const want = `{"avg_ratio":5,"p99_ratio":5,"avg_ratio_seed":2.5,"p99_ratio_seed":2.5,"lost":0}` + "\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("it ends in\n%s, want\n%s", out.String(), want)
	}
	document, err := os.ReadFile(file)
	if text := string(document); err != nil || strings.Contains(text, "old") || !strings.HasPrefix(text, "head\n") ||
		!strings.HasSuffix(text, "tail\n") || !strings.Contains(text, "| (a) / (c) | 5.0 | 5.0 |") {
		t.Errorf("the document is %s, %v", text, err)
	}
	csv, err := os.ReadFile(filepath.Join(dir, "experiment.csv"))
	if lines := strings.Split(string(csv), "\n"); err != nil || len(lines) != 22 || lines[16] != "2,5,100,10000,10000,100,5000,5000,100,2000,2000" {
		t.Errorf("%d lines: %s, %v", len(lines), csv, err)
	}
	// A record that Millrace has not kept makes the experiment fail.
	results[2].runs[0].audited.Accepted, results[2].runs[0].audited.Lost = 1, 1
	out.Reset()
	if err := report(results, options{Out: dir}, &out); err == nil || !strings.HasSuffix(out.String(), `"lost":1}`+"\n") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestPlotShowsEveryCurve(t *testing.T) {
	t.Parallel()
	svg := perSecond(made()).svg()
	lines := map[string]int{}
	for decoder := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, svg)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "path" {
			continue
		}
		of := map[string]string{}
		for _, a := range start.Attr {
			of[a.Name.Local] = a.Value
		}
		if of["fill"] == "none" {
			lines[of["stroke"]] += strings.Count(of["d"], "L") + strings.Count(of["d"], "M")
		}
	}
	for contender, colour := range colours {
		if lines[colour] != 2*20 { // panels, seconds
			t.Errorf("%s has %d points", contender, lines[colour])
		}
	}
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	o := options{BurstEvery: 15 * time.Second, BurstFor: time.Second}
	for after, want := range map[time.Duration]bool{0: false, 13 * time.Second: false, 14 * time.Second: true, 15 * time.Second: false, 29500 * time.Millisecond: true} {
		if o.bursts(after) != want {
			t.Errorf("after %v: %v", after, !want)
		}
	}
	posted := &traffic{samples: []sample{{day, 0}, {day.Add(1), 10}, {day.Add(2), 10}, {day.Add(3), 30}}}
	for n, want := range map[uint64]time.Duration{0: 1, 9: 1, 10: 3, 29: 3, 30: 3} {
		if got := posted.postedAt(n).Sub(day); got != want {
			t.Errorf("record %d was posted at %d, want %d", n, got, want)
		}
	}
}
