package main

import (
	"math"
	"testing"
	"time"
)

// units are round numbers.
var units = Units{
	Posted: 450, Document: 450, CollectorDirect: 10, CollectorTemporal: 20, WorkerSingle: 4, WorkerPack: 3, Backup: 3, Elasticsearch: 30,
	Fill:        []Fill{{1, 477}, {10, 120}, {100, 80}},
	BackupBytes: 80, IndexBytes: 200, WritesPerShard: 0.3, Transitions: 7, WorkerBulk: 0.1, WorkerCall: 20, ElasticsearchBulk: 1, BulkLatency: 10,
}

var prices = Prices{
	ShardHour: Price{USD: 0.015}, PutUnitsMillion: Price{USD: 0.014}, OnDemandStreamHour: Price{USD: 0.04}, OnDemandGBIn: Price{USD: 0.08},
	OnDemandGBOut: Price{USD: 0.04}, AdvantageGBIn: Price{USD: 0.032}, AdvantageGBOut: Price{USD: 0.016},
}

func loadOf(form string) Load {
	return Load{BytesPerHour: 1.62e9, Record: 450, Peak: 1, Form: form, Ingest: "direct"} // 1,000 records a second
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-3*math.Abs(want) {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

func TestSinglesAreCountedByHand(t *testing.T) {
	t.Parallel()
	s := sheetOf(loadOf("single"), units, prices)
	near(t, "the number of shards", s.Stream.Shards, 2) // 1,000 records a second, of 700 that are planned with
	if !s.Stream.ByRecords || s.Collectors != leastNodes || s.Workers != leastNodes {
		t.Errorf("it is %+v", s)
	}
	const seconds = 730 * 3600
	near(t, "a provisioned stream", s.provisioned(prices), 2*730*0.015+seconds*1000/1e6*0.014)
	near(t, "an on-demand stream", s.onDemand(prices), 730*0.04+seconds*1000*1024/gibi*0.08+seconds*1000*490*2/gibi*0.04)
	near(t, "the least of advantage", s.advantage(prices), seconds*25*(1<<20)/float64(gibi)*(0.032+0.016))
	near(t, "transitions", s.Transitions, 2*2*0.3)
}

// TestEachShardHasASlot, also when a third of the workers is lost.
func TestEachShardHasASlot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ shards, workers, want float64 }{
		{4, 2, 16}, {161, 3, 81}, {1000, 30, 50}, {1000, 2, 1000}, {40, 1, 40},
	} {
		near(t, "the number of slots", slotsOf(c.shards, c.workers), c.want)
	}
	for shards, want := range map[float64]float64{1: leastNodes, 104: leastNodes, 161: 3, 1000: 15} {
		near(t, "the number of workers", workersFor(shards), want)
	}
	usual := simulating{Shards: 1000, Rate: 617_000, Record: 450, Documents: 20, For: time.Minute}
	if s := usual.settings(units); s.Slots*s.Workers < s.Shards {
		t.Errorf("%d workers have %d slots each for %d shards", s.Workers, s.Slots, s.Shards)
	}
}

func TestPacksNeedFewerShards(t *testing.T) {
	t.Parallel()
	for times, record := range map[float64]float64{1: 450, 10: 450, 100: 450, 1000: 450, 10_000: 450, 2: 100, 20: 20_000} {
		single, pack := loadOf("single"), loadOf("pack")
		single.BytesPerHour, pack.BytesPerHour = single.BytesPerHour*times, pack.BytesPerHour*times
		single.Record, pack.Record = record, record
		singles, packs := sheetOf(single, units, prices), sheetOf(pack, units, prices)
		if packs.Stream.Shards > singles.Stream.Shards || packs.Stream.Documents < 1 || packs.provisioned(prices) > singles.provisioned(prices) {
			t.Errorf("at %g records/s packs are %+v, singles %+v", packs.Load.average(), packs.Stream, singles.Stream)
		}
		rate, shards := packs.Load.average(), packs.Stream.Shards
		if n := packs.Stream.records(rate) / shards; n > busy*shardRecords*1.001 {
			t.Errorf("at %g records/s a shard gets %g records a second", rate, n)
		}
		if bytes := rate * packs.Stream.Bytes / shards; bytes > busy*shardBytes*1.001 {
			t.Errorf("at %g records/s a shard gets %g bytes a second", rate, bytes)
		}
	}
}

func TestBatchesDivideAmongShards(t *testing.T) {
	t.Parallel()
	near(t, "one shard", documentsPerRecord(500, 1), 500)
	near(t, "few shards", documentsPerRecord(500, 4), 125)
	if d := documentsPerRecord(500, 100_000); d < 1 || d > 1.01 {
		t.Errorf("of 100,000 shards each gets %g documents", d)
	}
	for documents, want := range map[float64]float64{0.5: 477, 1: 477, 10: 120, math.Sqrt(1000): 100, 100: 80, 500: 80} {
		near(t, "the size of a document", units.bytes(documents), want)
	}
}

func TestDocumentHasEveryNumber(t *testing.T) {
	t.Parallel()
	if text := string(document(units, prices, simulated(units, scenarios(10, 6000)))); len(text) < 4000 {
		t.Errorf("the document is %s", text)
	}
	for value, want := range map[float64]string{0.123: "0.12", 9.5: "9.5", 12: "12", 1234567: "1,234,567", 999: "999", 100_000: "100,000"} {
		if got := digits(value); got != want {
			t.Errorf("%g is printed as %s, want %s", value, got, want)
		}
	}
	for value, want := range map[float64]string{0: "0 B", 999: "999 B", 1500: "1.5 KB", 2.5e13: "25 TB", 4e16: "40 PB"} {
		if got := bytesOf(value); got != want {
			t.Errorf("%g is printed as %s, want %s", value, got, want)
		}
	}
}
