package main

import (
	"cmp"
	"math"
	"slices"

	"millrace/activities/backups"
	"millrace/api/batching"
	"millrace/internal/container"
	"millrace/internal/telemetry"
	"millrace/workers"
)

// Load is what a pipeline is to take.
type Load struct {
	BytesPerHour float64 // of records as they are posted, on average
	Record       float64 // bytes of a record, as agents post it
	Peak         float64 // the highest rate over the average one
	Form         string  // of the stream's records: single or pack
	Ingest       string  // direct or temporal, as the collector's setting
	KeepDays     float64 // of telemetry in Elasticsearch
	BackupDays   float64 // of telemetry in S3
	Replicas     float64 // of an index
}

// average is the rate in records a second.
func (l Load) average() float64 { return l.BytesPerHour / l.Record / secondsPerHour }

const (
	secondsPerHour = 3600
	secondsPerDay  = 24 * secondsPerHour
	hoursPerMonth  = 730 // as AWS's calculator has it
	gibi           = 1 << 30
	giga           = 1e9

	// Limits of a shard (Kinesis Data Streams developer guide, quotas and limits).
	shardRecords = 1000
	shardBytes   = 1 << 20
	// onDemandUnit is to what an on-demand stream rounds each record up (likewise).
	onDemandUnit = 1 << 10
	// advantageLeast is what On-demand Advantage bills at the least, in bytes a second, in and out each.
	advantageLeast = 25 << 20
	// consumers read the stream: processing and backup.
	consumers = 2

	// busy is the share of a processor or a shard that is planned with. The rest is for what comes unevenly.
	busy = 0.7
	// full is the share of a disk above which Elasticsearch allocates no shard (cluster.routing.allocation.disk.watermark.low).
	full = 0.85

	// leastNodes of each kind are in two zones.
	leastNodes         = 2
	smallCPUs          = 4
	smallMemory        = 8 << 30
	largeCPUs          = 8
	leastElasticsearch = 3 // masters that can vote
)

// keyBytes is a partition key.
var keyBytes = float64(len(telemetry.DocID{}.PartitionKey()))

// lingers are settings of the collector, in seconds: its default, and longer ones, which make batches of more records.
var lingers = []float64{batching.DefaultLinger.Seconds(), 0.010, 0.020, 0.050, 0.100}

// Fill says what a document takes in the stream, in packs of that many.
type Fill struct {
	Documents float64 `json:"documents"`
	Bytes     float64 `json:"bytes"`
}

// Units are costs as the benchmark measures them; CPU in seconds per million records.
type Units struct {
	Commit            string  `json:"commit"`
	Machine           string  `json:"machine"`
	Posted            float64 `json:"posted_bytes"`   // of a record as agents post it, of the collector's costs and the fill
	Head              float64 `json:"head_bytes"`     // that the collector adds
	Document          float64 `json:"document_bytes"` // of a record with its head, of all other costs
	CollectorDirect   float64 `json:"collector_direct_cpu_s"`
	CollectorTemporal float64 `json:"collector_temporal_cpu_s"`
	WorkerSingle      float64 `json:"worker_single_cpu_s"`
	WorkerPack        float64 `json:"worker_pack_cpu_s"`
	Backup            float64 `json:"backup_cpu_s"`
	Elasticsearch     float64 `json:"elasticsearch_cpu_s"`
	Fill              []Fill  `json:"pack_fill"` // of more documents each
	BackupBytes       float64 `json:"backup_bytes_per_record"`
	IndexBytes        float64 `json:"index_bytes_per_record"` // without replicas
	LogsBytes         float64 `json:"logsdb_bytes_per_record"`
	LogsCPU           float64 `json:"logsdb_cpu_ratio"`
	WritesPerShard    float64 `json:"temporal_writes_per_shard_s"`
	Transitions       float64 `json:"transitions_per_batch"`
	WorkerBulk        float64 `json:"worker_bulk_cpu_ms"`
	WorkerCall        float64 `json:"worker_call_cpu_ms"`
	ElasticsearchBulk float64 `json:"elasticsearch_bulk_cpu_ms"`
	BulkLatency       float64 `json:"bulk_latency_ms"`
}

// bytes is what a document takes in packs of that many, between what was measured on a logarithmic scale.
func (u Units) bytes(documents float64) float64 {
	f := u.Fill
	if documents <= f[0].Documents {
		return f[0].Bytes
	}
	for i := 1; i < len(f); i++ {
		if documents <= f[i].Documents {
			part := math.Log(documents/f[i-1].Documents) / math.Log(f[i].Documents/f[i-1].Documents)
			return f[i-1].Bytes + part*(f[i].Bytes-f[i-1].Bytes)
		}
	}
	return f[len(f)-1].Bytes
}

// documentsPerRecord is how many documents of a batch share a shard, of the shards to which any goes.
func documentsPerRecord(batch, shards float64) float64 {
	return batch / (shards * -math.Expm1(batch*math.Log1p(-1/math.Max(shards, 1+1e-9))))
}

// Stream is what a load is in the stream, at its peak.
type Stream struct {
	Pipelines float64 // each with a stream and collectors of its own
	Shards    float64 // of all streams
	Documents float64 // in a record
	Bytes     float64 // of a document, key and all
	Linger    float64 // seconds, of the collector
	ByRecords bool    // it is the number of records that asks for the shards, not their bytes
}

// records of the stream for so many documents.
func (s Stream) records(documents float64) float64 { return documents / s.Documents }

// recordBytes is what a record of the stream has.
func (s Stream) recordBytes() float64 { return s.Documents * s.Bytes }

// streamOf sizes the stream, or several: where there is so much telemetry that even the largest batches are one document for a
// shard, pipelines side by side divide the shards.
func streamOf(l Load, u Units, collectors float64) Stream {
	var found []Stream
	for pipelines := 1.0; pipelines <= collectors; pipelines *= 2 {
		s := oneStream(l, u, l.average()*l.Peak/pipelines, collectors/pipelines)
		s.Pipelines, s.Shards = pipelines, s.Shards*pipelines
		found = append(found, s)
	}
	return fewest(found)
}

// fewest returns the first of which no later one has far fewer shards.
func fewest(found []Stream) Stream {
	least := slices.MinFunc(found, func(a, b Stream) int { return cmp.Compare(a.Shards, b.Shards) }).Shards
	return found[slices.IndexFunc(found, func(s Stream) bool { return s.Shards <= 1.2*least })]
}

// oneStream sizes one. In packs, each shard more makes them smaller, and where batches are small, no number of shards
// is enough: then the collectors have to linger.
func oneStream(l Load, u Units, rate, collectors float64) Stream {
	single := Stream{Documents: 1, Bytes: l.Record + u.Head + keyBytes, Linger: lingers[0]}.sized(rate)
	if l.Form != "pack" {
		return single
	}
	found := []Stream{single} // a pack of one document is that
	for _, linger := range lingers {
		batch := batchOf(l, u, rate/collectors, linger)
		for shards := 1.0; shards <= single.Shards; shards++ {
			s := Stream{Documents: documentsPerRecord(batch, shards), Linger: linger}
			s.Bytes = u.bytes(s.Documents) * (l.Record + u.Head) / (u.Posted + u.Head)
			s.Documents = max(min(s.Documents, container.Target/s.Bytes), 1)
			if s = s.sized(rate); s.Shards <= shards {
				found = append(found, s)
				break
			}
		}
	}
	return fewest(found)
}

// batchOf is how many documents a collector puts at once, at a rate.
func batchOf(l Load, u Units, rate, linger float64) float64 {
	return min(max(rate*linger, 1), batching.MostBatchRecords, batching.DefaultBatchBytes/(l.Record+u.Head))
}

func (s Stream) sized(rate float64) Stream {
	byRecords, byBytes := s.records(rate)/shardRecords/busy, rate*s.Bytes/shardBytes/busy
	s.Shards, s.ByRecords = math.Ceil(max(byRecords, byBytes)), byRecords > byBytes
	return s
}

// Sheet is what a pipeline needs.
type Sheet struct {
	Load          Load
	Stream        Stream
	Collectors    float64 // nodes of 4 processors
	Workers       float64 // likewise
	Slots         float64 // of each worker: see slotsOf
	Elasticsearch float64 // nodes of 8 processors
	Disk          float64 // bytes of Elasticsearch, replicas and all
	Backup        float64 // bytes in S3
	Objects       float64 // that are put into S3, a second
	Transitions   float64 // of Temporal, a second
	Costs         []Cost
}

// Cost is dollars a month.
type Cost struct {
	What string
	USD  float64
}

// Total is what all but the dearer ways to have the stream cost.
func (s Sheet) Total() (usd float64) {
	for _, c := range s.Costs {
		usd += c.USD
	}
	return usd
}

// shardMemory is what a shard takes of a worker that indexes it and backs it up while Elasticsearch is slow, in bytes: see
// workers.DefaultIndexSlots and workers.DefaultBackupSlots.
const shardMemory = (50 + 5) << 20

// workersFor is how many workers have the memory for all shards, also when a third of the workers is lost.
func workersFor(shards float64) float64 {
	left := math.Ceil(shards * shardMemory / (smallMemory * busy))
	return max(math.Ceil(left*3/2), leastNodes)
}

// slotsOf is how many shards a worker must read at once so that each shard is read when a third of the workers is lost. One
// without a slot waits until the call of another ends, for minutes.
func slotsOf(shards, workerCount float64) float64 {
	left := max(workerCount-math.Ceil(workerCount/3), 1)
	return max(math.Ceil(shards/left), workers.DefaultIndexSlots)
}

// sheetOf computes it.
func sheetOf(l Load, u Units, p Prices) Sheet {
	average, peak := l.average(), l.average()*l.Peak
	// What a record costs grows with its size, about as far as bytes are parsed, copied and compressed.
	posted, larger := l.Record/u.Posted, (l.Record+u.Head)/u.Document
	nodes := func(cpu, of, least float64) float64 { return max(math.Ceil(peak/1e6*cpu/busy/of), least) }

	s := Sheet{Load: l}
	collector, worker := u.CollectorDirect, u.WorkerSingle
	if l.Ingest == "temporal" {
		collector = u.CollectorTemporal
	}
	if l.Form == "pack" {
		worker = u.WorkerPack
	}
	s.Collectors = nodes(collector*posted, smallCPUs, leastNodes)
	s.Stream = streamOf(l, u, s.Collectors)
	s.Workers = nodes((worker+u.Backup)*larger, smallCPUs, workersFor(s.Stream.Shards))
	s.Slots = slotsOf(s.Stream.Shards, s.Workers)
	s.Transitions = s.Stream.Shards * consumers * u.WritesPerShard
	if l.Ingest == "temporal" {
		s.Transitions += peak / batchOf(l, u, peak/s.Collectors, s.Stream.Linger) * u.Transitions
	}
	perDay := average * secondsPerDay * larger
	s.Disk = perDay * l.KeepDays * u.IndexBytes * (1 + l.Replicas)
	s.Backup = perDay * l.BackupDays * u.BackupBytes
	s.Objects = max(average*(l.Record+u.Head)/backups.DefaultBackupBytes, s.Stream.Shards/backups.DefaultBackupWithin.Seconds())
	s.Elasticsearch = nodes(u.Elasticsearch*larger*(1+l.Replicas), largeCPUs, leastElasticsearch)

	month := func(perSecond float64) float64 { return perSecond * secondsPerHour * hoursPerMonth }
	s.Costs = []Cost{
		{"stream, provisioned", s.provisioned(p)},
		{"collectors", s.Collectors * p.NodeSmallHour.USD * hoursPerMonth},
		{"workers", s.Workers * p.NodeSmallHour.USD * hoursPerMonth},
		{"Elasticsearch, nodes", s.Elasticsearch * p.NodeLargeHour.USD * hoursPerMonth},
		{"Elasticsearch, disks", s.Disk / full / giga * p.DiskGBMonth.USD},
		{"Elasticsearch, replicas between zones", month(average*(l.Record+u.Head)*l.Replicas) / giga * p.BetweenZonesGB.USD},
		{"backup, objects kept", s.Backup / giga * p.S3GBMonth.USD},
		{"backup, objects put", month(s.Objects) / 1e3 * p.S3PutsThousand.USD},
	}
	return s
}

// provisioned is what a stream of shards costs.
func (s Sheet) provisioned(p Prices) float64 {
	units := s.Stream.records(s.Load.average()) * math.Ceil(s.Stream.recordBytes()/container.PutUnit)
	return s.Stream.Shards*p.ShardHour.USD*hoursPerMonth + units*secondsPerHour*hoursPerMonth/1e6*p.PutUnitsMillion.USD
}

// onDemand is what a stream costs that AWS sizes.
func (s Sheet) onDemand(p Prices) float64 {
	in, out := s.traffic()
	return p.OnDemandStreamHour.USD*hoursPerMonth + in/gibi*p.OnDemandGBIn.USD + out/gibi*p.OnDemandGBOut.USD
}

// advantage is the same with AWS's commitment.
func (s Sheet) advantage(p Prices) float64 {
	in, out := s.traffic()
	least := float64(advantageLeast) * secondsPerHour * hoursPerMonth
	return max(in, least)/gibi*p.AdvantageGBIn.USD + max(out, least)/gibi*p.AdvantageGBOut.USD
}

// traffic is what a month brings into the stream, each record rounded up, and out of it, in bytes.
func (s Sheet) traffic() (in, out float64) {
	records := s.Stream.records(s.Load.average()) * secondsPerHour * hoursPerMonth
	in = records * math.Ceil(s.Stream.recordBytes()/onDemandUnit) * onDemandUnit
	return in, records * s.Stream.recordBytes() * consumers
}
