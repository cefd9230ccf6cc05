// Command scale computes what a pipeline needs, and what it costs a month, from what the benchmark measures (units.json) and
// list prices (prices.json), and plays what happens to it (package simulation). docs/scale.md is its output for a few loads.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

//go:generate go run . --write ../../docs/scale.md

type commands struct {
	Sheet    options    `cmd:"" default:"withargs" help:"Compute what a pipeline needs for a load, and what that costs a month."`
	Simulate simulating `cmd:"" help:"Play a pipeline of many shards that loses workers, meets a slow cluster, or is resharded."`
}

type options struct {
	TBPerHour  float64 `help:"Telemetry an hour, in TB (10^12 bytes) as agents post it." default:"1"`
	Record     float64 `help:"Bytes of a record as agents post it, on average." default:"450"`
	Peak       float64 `help:"Highest rate over the average one." default:"1.5"`
	Form       string  `help:"Form in which records are put into the stream." enum:"single,pack" default:"pack"`
	Ingest     string  `help:"What makes a batch durable, as the collector's setting." enum:"direct,temporal" default:"direct"`
	KeepDays   float64 `help:"Days of telemetry in Elasticsearch." default:"7"`
	BackupDays float64 `help:"Days of telemetry in S3." default:"90"`
	Replicas   float64 `help:"Replicas of each index." default:"1"`
	JSON       bool    `help:"Print one JSON object." name:"json"`
	Write      string  `help:"Write the document of three loads to a file." placeholder:"FILE" type:"path"`
}

// Validate reports loads that there are not.
func (o options) Validate() error {
	for flag, value := range map[string]float64{"tb-per-hour": o.TBPerHour, "record": o.Record} {
		if value <= 0 {
			return fmt.Errorf("--%s: %v is not more than 0", flag, value)
		}
	}
	if o.Peak < 1 {
		return fmt.Errorf("--peak: %v is less than 1", o.Peak)
	}
	for flag, value := range map[string]float64{"keep-days": o.KeepDays, "backup-days": o.BackupDays, "replicas": o.Replicas} {
		if value < 0 {
			return fmt.Errorf("--%s: %v is negative", flag, value)
		}
	}
	return nil
}

func (o options) load() Load {
	return Load{
		BytesPerHour: o.TBPerHour * 1e12, Record: o.Record, Peak: o.Peak, Form: o.Form, Ingest: o.Ingest,
		KeepDays: o.KeepDays, BackupDays: o.BackupDays, Replicas: o.Replicas,
	}
}

// Price is one of a list.
type Price struct {
	USD    float64 `json:"usd"`
	Source string  `json:"source"`
}

// Prices are list prices.
type Prices struct {
	Region string `json:"region"`
	AsOf   string `json:"as_of"`

	ShardHour          Price `json:"shard_hour"`
	PutUnitsMillion    Price `json:"put_units_million"`
	OnDemandStreamHour Price `json:"on_demand_stream_hour"`
	OnDemandGBIn       Price `json:"on_demand_gb_in"`
	OnDemandGBOut      Price `json:"on_demand_gb_out"`
	AdvantageGBIn      Price `json:"advantage_gb_in"`
	AdvantageGBOut     Price `json:"advantage_gb_out"`
	S3PutsThousand     Price `json:"s3_puts_thousand"`
	S3GBMonth          Price `json:"s3_gb_month"`
	NodeSmallHour      Price `json:"node_small_hour"`
	NodeLargeHour      Price `json:"node_large_hour"`
	DiskGBMonth        Price `json:"disk_gb_month"`
	BetweenZonesGB     Price `json:"between_zones_gb"`
}

var (
	//go:embed units.json
	unitsFile []byte
	//go:embed prices.json
	pricesFile []byte
)

func main() {
	var c commands
	parsed := kong.Parse(&c, kong.Name("scale"), kong.Description("Computes what a pipeline needs for a load, and what happens to it."))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// measured are the units of the benchmark.
func measured() (u Units, err error) {
	if err := json.Unmarshal(unitsFile, &u); err != nil {
		return u, fmt.Errorf("read units.json: %w", err)
	}
	return u, nil
}

// Run computes the sheet.
func (o options) Run() error {
	u, err := measured()
	if err != nil {
		return err
	}
	var p Prices
	if err := json.Unmarshal(pricesFile, &p); err != nil {
		return fmt.Errorf("read prices.json: %w", err)
	}
	if o.Write != "" {
		if err := os.WriteFile(o.Write, document(u, p, simulated(u, scenarios(1000, 617_000))), 0o644); err != nil { //nolint:gosec // it is a document
			return fmt.Errorf("write the document: %w", err)
		}
		return nil
	}
	s := sheetOf(o.load(), u, p)
	if o.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
			return fmt.Errorf("print the sheet: %w", err)
		}
		return nil
	}
	print(os.Stdout, s, p)
	return nil
}
