package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/glue"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/deploy/spark"
	"millrace/deploy/tables"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

// TestAthenaAndSparkFindAcceptedRecords: Athena, by the tables, and Spark, by its
// schema, find in the backup each _id that was answered 2xx, and no other,
// though some records came twice and others are such as no index takes.
//
// The emulator's Athena runs the statement for real, with DuckDB over the
// objects. It takes partitions from their folders and types from what it reads,
// so projection and SerDe are not shown by it.
func TestAthenaAndSparkFindAcceptedRecords(t *testing.T) {
	t.Parallel()
	cfg := localtest.AWS(t)
	s := start(t, nil)
	t.Cleanup(s.stopBackup) // before the system ends, since it needs a worker
	s.must(s.StartBackup(t.Context()))
	sender := s.sender(3_000, 600)
	s.must(sender.Run(t.Context()))
	s.awaitBackup(sender)

	database, place := strings.ReplaceAll(s.resources.Bucket, "-", "_"), "s3://"+s.resources.Bucket+"/"
	s.must(tables.Create(t.Context(), glue.NewFromConfig(cfg), database, tables.Ours, place+backup.Prefix))
	client := athena.NewFromConfig(cfg)
	ask := func(statement string) [][]string {
		t.Helper()
		rows, err := tables.Query(t.Context(), client, database, place+"results/", statement)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		return rows
	}

	expected, types := map[string]bool{}, map[string]uint64{}
	for n := range sender.Accepted.All() {
		expected[sender.Source.DocID(s.tenant, n)] = true
		types[sender.Source.Type(n)]++
	}
	found := ask("SELECT DISTINCT doc_id FROM telemetry")
	for _, row := range found {
		if !expected[row[0]] {
			t.Errorf("Athena finds %s, which was not accepted", row[0])
		}
	}
	if len(found) != len(expected) {
		t.Errorf("Athena finds %d ids, of %d", len(found), len(expected))
	}
	twice := ask("SELECT count(*) FROM (SELECT doc_id FROM telemetry GROUP BY doc_id HAVING count(*) > 1)")
	if twice[0][0] == "0" {
		t.Error("nothing came twice, though it was sent twice")
	}
	var groups [][]string
	for kind, n := range types {
		groups = append(groups, []string{kind, s.tenant, fmt.Sprint(n)})
	}
	slices.SortFunc(groups, slices.Compare)
	if rows := ask("SELECT type, tenant, count(DISTINCT doc_id) FROM telemetry GROUP BY type, tenant ORDER BY type"); fmt.Sprint(rows) != fmt.Sprint(groups) {
		t.Errorf("by type and tenant Athena counts %v, and it is %v", rows, groups)
	}
	var hours []string
	for key, err := range archive.Open(s.stores.S3, s.resources.Bucket).Under(backup.Prefix).Keys(t.Context(), "") {
		s.must(err)
		name, _ := backup.ParseKey(key)
		hours = append(hours, name.Hour.Format("2006-01-02 15"))
	}
	slices.Sort(hours)
	hours = slices.Compact(hours)
	if rows := ask("SELECT DISTINCT dt || ' ' || hour FROM telemetry ORDER BY 1"); !slices.Equal(slices.Concat(rows...), hours) {
		t.Errorf("Athena finds the hours %v, and there are %v", rows, hours)
	}

	counts := s.countWithSpark()
	if !maps.Equal(counts.IDs, expected) || counts.Distinct != uint64(len(expected)) {
		t.Errorf("Spark finds %d ids and counts %d, of %d", len(counts.IDs), counts.Distinct, len(expected))
	}
	if counts.Foreign > 0 || counts.Unreadable > 0 || counts.Records <= counts.Distinct {
		t.Errorf("Spark counts %+v", counts)
	}
	of, seen := map[string]uint64{}, []string{}
	for _, group := range counts.Groups {
		switch group.Name {
		case "type":
			of[group.Value] = group.IDs
		case "hour":
			seen = append(seen, group.Value)
		case "tenant":
			if group.Value != s.tenant || group.IDs != uint64(len(expected)) {
				t.Errorf("Spark counts %+v", group)
			}
		}
	}
	if !maps.Equal(of, types) || !slices.Equal(seen, hours) {
		t.Errorf("by type Spark counts %v in the hours %v, and there are %v in %v", of, seen, types, hours)
	}
}

// countWithSpark has Spark count what is in the backup.
func (s *system) countWithSpark() spark.Counts {
	s.t.Helper()
	root, err := local.FindRoot(".")
	s.must(err)
	engine, err := spark.Install(s.t.Context(), root, nil)
	s.must(err)
	objects := s.t.TempDir()
	_, _, err = spark.Download(s.t.Context(), archive.Open(s.stores.S3, s.resources.Bucket).Under(backup.Prefix), "dt=", objects)
	s.must(err)
	counts, err := engine.Count(s.t.Context(), objects, s.t.TempDir())
	s.must(err)
	return counts
}

// stopBackup ends the backup.
func (s *system) stopBackup() {
	_, _ = s.Starter(context.WithoutCancel(s.t.Context()), "backup", "stop")
}

// awaitBackup waits until the backup has all that a sender was answered for.
func (s *system) awaitBackup(sender *load.Sender) {
	s.t.Helper()
	s.await(func() error {
		found, err := audit.BackedUp(s.t.Context(), s.stores, audit.Sent{Source: sender.Source, Accepted: &sender.Accepted})
		if err == nil && found.Accepted < sender.Accepted.Len() {
			err = fmt.Errorf("%d of %d records are in the backup", found.Accepted, sender.Accepted.Len())
		}
		if found.Altered > 0 {
			s.t.Fatalf("%d records of the backup are altered", found.Altered)
		}
		return err
	})
}
