package main

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/internal/load"
	"millrace/test/kit/audit"
)

// good is an outcome in which everything is as it should be.
func good() outcome {
	o := outcome{accepted: 110, bad: 3, duplicates: 5, again: 4, skipped: 9, redriven: 20}
	o.report = audit.Report{Accepted: 100, Indexed: 97, DeadLettered: 3, Bad: 3, Others: 10, Delay: new(load.Histogram)}
	o.report.Delay.Add(200 * time.Millisecond)
	o.backup = audit.Backup{Objects: 4, Records: 120, Accepted: 100, Others: 10}
	o.warmUp, o.delays = 10*time.Second, new(audit.Delays)
	o.delays.Direct.Add(100 * time.Millisecond)
	o.delays.Queued.Add(3200 * time.Millisecond)
	o.delays.WarmingUp.Add(5 * time.Second)
	o.canary = canary{posted: 8, searchable: 6, took: 3 * time.Second}
	return o
}

func TestOnlyCompleteOutcomePasses(t *testing.T) {
	t.Parallel()
	if err := good().check(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*outcome){
		"a record is lost":                   func(o *outcome) { o.report.Indexed--; o.report.Lost++ },
		"an agent's record is missing":       func(o *outcome) { o.report.Others-- },
		"an agent's record is dead-lettered": func(o *outcome) { o.report.Others--; o.report.OthersDead++ },
		"a document is there twice":          func(o *outcome) { o.report.Duplicated++ },
		"a document is altered":              func(o *outcome) { o.report.Altered++ },
		"a bad record was indexed":           func(o *outcome) { o.report.Indexed++; o.report.DeadLettered--; o.report.Misjudged++ },
		"the queue was not used":             func(o *outcome) { o.redriven = 0 },
		"no duplicates were sent":            func(o *outcome) { o.again = 0 },
		"a duplicate was not skipped":        func(o *outcome) { o.skipped = 3 },
		"no record went directly":            func(o *outcome) { o.delays.Direct = load.Histogram{} },
		"none is known that was queued":      func(o *outcome) { o.delays.Queued = load.Histogram{} },
		"the backup lacks a record":          func(o *outcome) { o.backup.Accepted-- },
		"the backup lacks an agent's record": func(o *outcome) { o.backup.Others-- },
		"the backup has an altered record":   func(o *outcome) { o.backup.Altered++ },
	} {
		o := good()
		spoil(&o)
		if o.check() == nil {
			t.Errorf("%s, and the outcome is good", what)
		}
	}
}

func TestOutcomeEndsWithOneFlatJSONObject(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := good().print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("printed %q", out.String())
	}
	var got map[string]float64
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"accepted": 110, "indexed": 107, "duplicates": 5, "dead_lettered": 3, "redriven": 20, "backed_up": 110, "delay_avg_ms": 200, "delay_p99_ms": 200,
		"warm_up_s": 10, "delay_direct_avg_ms": 100, "delay_direct_p99_ms": 100, "delay_queue_avg_ms": 3200, "delay_queue_p99_ms": 3200,
		"canary_availability": 0.75,
	} {
		if v, has := got[name]; !has || math.Abs(v-want) > want/50 { // a histogram rounds
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if len(got) != 14 {
		t.Errorf("printed %v", got)
	}
}

// TestTheSummaryTellsDelaysByWay: the warm-up stands apart, and what it lasted.
func TestTheSummaryTellsDelaysByWay(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	good().table(&out)
	for _, want := range []string{
		`after a warm-up of 10s`, ` direct +100 ms +100 ms +100 ms +1 `, ` through the queue +3200 ms .* 1 `,
		` in the warm-up +5000 ms .* 1 `, ` all +200 ms .* 1 `,
		`Canary: 6 of 8 records could be searched in time \(75.0 %\), after 3.0 s on average`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestALoadOutlastsWarmUpAndThrottling(t *testing.T) {
	t.Parallel()
	for records, valid := range map[uint64]bool{14_999: false, 15_000: true} {
		if err := (options{Records: records, Rate: 1000, WarmUp: 10 * time.Second}).Validate(); (err == nil) != valid {
			t.Errorf("%d records: %v", records, err)
		}
	}
	if (options{Records: 15_000, Rate: 1000, WarmUp: -time.Second}).Validate() == nil {
		t.Error("a negative warm-up is valid")
	}
}
