package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/deploy/spark"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

const (
	tenant = "analytics"
	bucket = "millrace-telemetry" // the default of package config

	badShare             = 0.002 // records that no index takes are in the backup, too
	connections, perPost = 16, 50

	// Small objects, and many: partitions are what is to be shown.
	backupBytes, backupWithin = "200000", "2s"

	// patience is how long the backup may take behind the load while nothing
	// moves.
	patience     = time.Minute
	pollInterval = time.Second
)

// fromPipeline sends a load through a pipeline of its own, and downloads the
// backup when that has all of it.
func fromPipeline(ctx context.Context, o options, root, dir string) (found gathered, err error) {
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Root: root, Progress: os.Stdout})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	p := pipeline.New(pipeline.Settings{Programs: programs, Servers: stack.Env(), Dir: stack.LogDir()})
	if err := p.Setup(ctx); err != nil {
		return found, err
	}
	key, err := p.CreateKey(ctx, tenant)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	collector, err := p.StartCollector(ctx)
	if err != nil {
		return found, err
	}
	if _, err := p.StartWorker(ctx, "MILLRACE_BACKUP_BYTES="+backupBytes, "MILLRACE_BACKUP_WITHIN="+backupWithin); err != nil {
		return found, err
	}
	if err := errors.Join(p.StartWorkflows(ctx), p.StartBackup(ctx)); err != nil {
		return found, err
	}
	sender := load.NewSender(
		&load.Source{Run: tenant + "-" + strings.ToLower(rand.Text()[:8]), Start: time.Now(), Interval: time.Millisecond, BadShare: badShare},
		load.Settings{URL: collector.URL, Key: key, Records: o.Records, Rate: o.Rate, Duplicates: o.Duplicates, Connections: connections, PerPost: perPost},
	)
	say("load", "%d records, %.0f a second", o.Records, o.Rate)
	if err := sender.Run(ctx); err != nil {
		return found, err
	}
	stores := audit.Stores{Tenant: tenant, Bucket: bucket, S3: pipeline.S3(stack)}
	if err := awaitBackup(ctx, stores, sender); err != nil {
		return found, err
	}
	found.objects, found.bytes, err = spark.Download(ctx, archive.Open(stores.S3, bucket).Under(backup.Prefix), o.prefix(), dir)
	found.expected = expect(sender)
	return found, errors.Join(err, addOld(dir, &found))
}

// awaitBackup waits until the backup has all that was accepted.
func awaitBackup(ctx context.Context, stores audit.Stores, sender *load.Sender) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	last, moved := uint64(0), time.Now()
	for {
		found, err := audit.BackedUp(ctx, stores, audit.Sent{Source: sender.Source, Accepted: &sender.Accepted})
		if err != nil {
			return err
		}
		say("backup", "%8d accepted  %8d backed up, in %d objects", sender.Accepted.Len(), found.Accepted, found.Objects)
		if found.Accepted == sender.Accepted.Len() {
			return nil
		}
		if found.Accepted != last {
			last, moved = found.Accepted, time.Now()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("the backup has %d of %d records, and does not get on", found.Accepted, sender.Accepted.Len())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// expect says what Spark must find, by what was answered 2xx.
func expect(sender *load.Sender) expected {
	e := expected{ids: map[string]bool{}, groups: map[string]map[string]uint64{"type": {}, "tenant": {}}}
	for n := range sender.Accepted.All() {
		e.ids[sender.Source.DocID(tenant, n)] = true
		e.groups["type"][sender.Source.Type(n)]++
		e.groups["tenant"][tenant]++
	}
	return e
}

// longestLine bounds in bytes what is taken for a line.
const longestLine = 4 << 20

// readIDs reads the ids in a folder of objects without Spark.
func readIDs(dir string) (map[string]bool, error) {
	ids := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if err := readObject(path, ids); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		return nil
	})
	return ids, err
}

func readObject(path string, ids map[string]bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var members map[string]json.RawMessage // a struct would take a name in any case
		var id string
		err := json.Unmarshal(lines.Bytes(), &members)
		if text, has := members["doc_id"]; err == nil && has {
			err = json.Unmarshal(text, &id)
		}
		if err != nil {
			return err
		}
		if id != "" {
			ids[id] = true
		}
	}
	return lines.Err()
}
