package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
)

// oldTenant is whose records are in an object of an earlier version.
const oldTenant = "analytics-old"

// oldLines are such as collectors let through until they renamed members with
// the names of the head: another case tells them apart, and nothing else.
var oldLines = []string{
	`{"backup_shard":"shardId-000000000000","backup_sequence":"1","doc_id":"old-1","index":"telemetry-log-2025.11.23","received_at":"2025-11-23T01:02:03.000Z",` +
		`"tenant":"` + oldTenant + `","region":"r","id":"1","type":"log","@timestamp":"2025-11-23T01:02:03Z","Tenant":"victim","Doc_ID":"forged","Index":".security","TYPE":"span"}`,
	`{"backup_shard":"shardId-000000000000","backup_sequence":"2","doc_id":"old-2","index":"telemetry-log-2025.11.23","received_at":"2025-11-23T01:02:03.000Z",` +
		`"tenant":"` + oldTenant + `","region":"r","id":"2","type":"log","@timestamp":"2025-11-23T01:02:03Z","applicationId":"a","applicationid":"b","attributes":{"Key":1,"key":2}}`,
}

// addOld puts an object with such lines beside those that were downloaded.
func addOld(dir string, found *gathered) error {
	var body bytes.Buffer
	packer := gzip.NewWriter(&body)
	for n, line := range oldLines {
		if _, err := fmt.Fprintln(packer, line); err != nil {
			return fmt.Errorf("pack lines of an earlier version: %w", err)
		}
		found.ids[fmt.Sprintf("old-%d", n+1)] = true
	}
	if err := packer.Close(); err != nil {
		return fmt.Errorf("pack lines of an earlier version: %w", err)
	}
	folder := filepath.Join(dir, "dt=2025-11-23", "hour=01")
	err := os.MkdirAll(folder, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "old.json.gz"), body.Bytes(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write an object of an earlier version: %w", err)
	}
	found.groups["type"]["log"] += uint64(len(oldLines))
	found.groups["tenant"][oldTenant] = uint64(len(oldLines))
	found.objects, found.bytes = found.objects+1, found.bytes+int64(body.Len())
	return nil
}
