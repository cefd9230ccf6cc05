// Command analytics counts and groups the objects of a backup with Spark, as an
// analyst would: those of a load that it sends through a whole pipeline, or
// those in a bucket that is named. Every record that was accepted must be among
// what Spark finds, and nothing else, by distinct _id.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Records    uint64  `help:"Records to send through the pipeline." default:"20000"`
	Rate       float64 `help:"Records a second." default:"2000"`
	Duplicates float64 `help:"Share of records that are posted a second time." default:"0.05"`

	Bucket string `help:"Send nothing, and read the backup in this bucket; AWS is found by its own environment. Spark's ids are held against those that a plain reader finds." placeholder:"NAME"`
	Day    string `help:"Of the bucket, read what arrived on this day only, UTC." placeholder:"2026-11-23"`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Records == 0 || o.Rate <= 0 {
		return errors.New("--records, --rate: there must be a load")
	}
	if o.Day == "" {
		return nil
	}
	if o.Bucket == "" {
		return errors.New("--day: it is about a bucket, which --bucket names")
	}
	if _, err := time.Parse(time.DateOnly, o.Day); err != nil {
		return fmt.Errorf("--day: %q is no date such as 2026-11-23", o.Day)
	}
	return nil
}

// prefix is what the keys of the objects begin with.
func (o options) prefix() string {
	if o.Day == "" {
		return "dt="
	}
	return "dt=" + o.Day + "/"
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("analytics"), kong.Description("Counts and groups the backup with Spark, and holds that against what was accepted."))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
