package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/deploy/spark"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/config"
)

// gathered is what Spark is to count: objects in a folder, and what must be in
// them.
type gathered struct {
	objects, bytes int64
	expected
}

// expected is what Spark must find.
type expected struct {
	ids    map[string]bool
	groups map[string]map[string]uint64 // distinct, by name and value; empty: not known
}

func run(ctx context.Context, o options) (err error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "millrace-analytics-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	objects, work := filepath.Join(dir, "backup"), filepath.Join(dir, "work")
	for _, folder := range []string{objects, work} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
	}
	engine, found, err := prepare(ctx, o, root, objects)
	if err != nil {
		return err
	}
	if found.objects == 0 {
		return errors.New("there is no object of BackupStream's: is the backup started?")
	}
	say("spark", "counts %d objects, %d bytes", found.objects, found.bytes)
	begin := time.Now()
	counts, err := engine.Count(ctx, objects, work)
	if err != nil {
		return err
	}
	write(os.Stdout, counts)
	return conclude(os.Stdout, found, counts, time.Since(begin))
}

// prepare installs Spark, and meanwhile has the objects come into a folder.
func prepare(ctx context.Context, o options, root, dir string) (engine *spark.Spark, found gathered, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		engine, err = spark.Install(ctx, root, os.Stdout)
		return err
	})
	group.Go(func() (err error) {
		if o.Bucket != "" {
			found, err = fromBucket(ctx, o, dir)
			return err
		}
		found, err = fromPipeline(ctx, o, root, dir)
		return err
	})
	return engine, found, group.Wait()
}

// fromBucket downloads a backup that is there.
func fromBucket(ctx context.Context, o options, dir string) (found gathered, err error) {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return found, err
	}
	bucket := archive.Open(config.S3(cfg), o.Bucket).Under(backup.Prefix)
	if found.objects, found.bytes, err = spark.Download(ctx, bucket, o.prefix(), dir); err != nil {
		return found, err
	}
	found.ids, err = readIDs(dir)
	return found, err
}

// say prints a line of what happens, in the form of the stack's own.
func say(about, format string, args ...any) {
	fmt.Printf("%-14s %s\n", about, fmt.Sprintf(format, args...))
}

// write prints the groups as a table.
func write(w io.Writer, counts spark.Counts) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BY\t\tRECORDS\tDISTINCT")
	last := ""
	for _, g := range counts.Groups {
		name := g.Name
		if name == last {
			name = ""
		}
		last = g.Name
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\n", name, g.Value, g.Records, g.IDs)
	}
	_ = t.Flush() // to a person
	fmt.Fprintln(w)
}

// result is the last line.
type result struct {
	Expected   int     `json:"expected"`
	Distinct   uint64  `json:"distinct"`
	Missing    int     `json:"missing"`
	Unexpected int     `json:"unexpected"`
	Records    uint64  `json:"records"`
	Foreign    uint64  `json:"foreign"`
	Unreadable uint64  `json:"unreadable"`
	Objects    int64   `json:"objects"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"spark_s"`
}

// conclude holds what Spark found against what must be there, and prints that
// for programs.
func conclude(w io.Writer, want gathered, got spark.Counts, took time.Duration) error {
	r := result{
		Expected: len(want.ids), Distinct: got.Distinct, Records: got.Records, Foreign: got.Foreign, Unreadable: got.Unreadable,
		Objects: want.objects, Bytes: want.bytes, Seconds: float64(took.Round(100*time.Millisecond)) / float64(time.Second),
		Missing: without(want.ids, got.IDs), Unexpected: without(got.IDs, want.ids),
	}
	errs := []error{json.NewEncoder(w).Encode(r)}
	if r.Missing+r.Unexpected > 0 || r.Distinct != uint64(r.Expected) {
		errs = append(errs, fmt.Errorf("%d distinct ids must be there, and Spark counts %d: %d are missing, %d are unexpected", r.Expected, r.Distinct, r.Missing, r.Unexpected))
	}
	if r.Unreadable > 0 {
		errs = append(errs, fmt.Errorf("%d lines are unreadable", r.Unreadable))
	}
	for name, values := range want.groups {
		errs = append(errs, holdGroup(name, values, got.Groups))
	}
	return errors.Join(errs...)
}

// holdGroup compares one way of grouping.
func holdGroup(name string, want map[string]uint64, got []spark.Group) error {
	var errs []error
	seen := map[string]bool{}
	for _, g := range got {
		if g.Name != name {
			continue
		}
		seen[g.Value] = true
		if g.IDs != want[g.Value] {
			errs = append(errs, fmt.Errorf("%s %q has %d distinct ids, and Spark counts %d", name, g.Value, want[g.Value], g.IDs))
		}
	}
	for value, n := range want {
		if !seen[value] {
			errs = append(errs, fmt.Errorf("%s %q has %d distinct ids, and Spark finds none", name, value, n))
		}
	}
	return errors.Join(errs...)
}

// without counts what is in one set and not in another.
func without(these, others map[string]bool) (n int) {
	for id := range these {
		if !others[id] {
			n++
		}
	}
	return n
}
