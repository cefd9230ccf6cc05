// Package formats holds what histories and buckets keep against golden files. A
// replay does not notice a renamed member: the old one is ignored, and the new one
// is zero.
package formats

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/activities/audit"
	"millrace/activities/backups"
	"millrace/activities/canary"
	"millrace/activities/deadletters"
	"millrace/activities/ingest"
	"millrace/activities/process"
	"millrace/activities/recovery"
	"millrace/activities/redrive"
	"millrace/activities/snapshots"
	"millrace/activities/supervise"
	"millrace/api"
	"millrace/internal/backup"
	"millrace/internal/keyfile"
	"millrace/internal/ledger"
	"millrace/internal/ops"
	"millrace/internal/queue"
	"millrace/internal/snapshot"
	"millrace/workflows"
)

var record = flag.Bool("record", false, "write the golden files anew, unless what is kept could no longer be read")

// formats are the roots of what is encoded as JSON and kept, or read by others.
var formats = []any{
	// Inputs, results and heartbeats of activities.
	ingest.FinishInput{}, ingest.PutResult{}, ingest.ReconcileInput{},
	redrive.Call{}, redrive.Progress{},
	supervise.Input{}, supervise.Result{}, supervise.CommandInput{},
	process.IndexInput{}, process.IndexResult{}, process.RangeInput{}, process.RangeResult{},
	process.HeldInput{}, process.HeldResult{}, backups.CopyInput{}, backups.CopyResult{},
	deadletters.KeepCall{}, deadletters.KeepProgress{}, deadletters.ReprocessCall{}, deadletters.ReprocessProgress{},
	deadletters.DrainCall{}, deadletters.DrainResult{},
	recovery.PlanInput{}, recovery.Plan{}, recovery.HoldInput{}, recovery.RestoreInput{}, recovery.RestoreProgress{},
	recovery.ExtendInput{}, recovery.SweepInput{}, recovery.SweepProgress{}, recovery.AwaitInput{}, recovery.AwaitResult{},
	recovery.RecoverResult{}, recovery.DrillCall{}, recovery.DrillBegun{}, recovery.DrillMissing{}, recovery.DrillEnd{},
	audit.Call{}, audit.Progress{},
	snapshots.SnapshotCall{}, snapshots.SnapshotPlan{}, snapshots.SnapshotBegun{}, snapshots.SnapshotLook{},
	snapshots.ExpireCall{}, snapshots.Expired{}, snapshots.RetentionCall{}, snapshots.Retirement{}, snapshots.TrimCall{},
	canary.ProbeInput{}, canary.Report{}, canary.DropInput{},
	// Inputs, results, queries and updates of workflows.
	workflows.IngestStatus{}, workflows.RedriveInput{}, workflows.RedriveStatus{},
	workflows.StreamInput{}, workflows.StreamStatus{}, workflows.ShardInput{}, workflows.ShardStatus{},
	workflows.BatchInput{}, workflows.BatchStatus{}, workflows.Branch{},
	workflows.BackupShardInput{}, workflows.BackupShardStatus{},
	workflows.KeepInput{}, workflows.KeepStatus{}, workflows.ReprocessInput{}, workflows.ReprocessStatus{},
	workflows.DrainInput{}, workflows.DrainStatus{},
	workflows.RecoverInput{}, workflows.RecoverProgress{}, workflows.RecoverState{}, workflows.RateInput{},
	workflows.DrillInput{}, workflows.DrillResult{}, workflows.AuditInput{}, workflows.AuditStatus{},
	workflows.SnapshotInput{}, workflows.SnapshotStatus{}, workflows.RetentionInput{}, workflows.CanaryInput{},
	// Objects in buckets, and messages.
	ledger.Entry{}, snapshot.Record{}, snapshot.Noted{}, snapshot.Retired{}, snapshot.Based{}, snapshot.Trimmed{},
	recovery.Listed{}, recovery.ReportLine{}, recovery.Gap{},
	backup.Generation{}, queue.DeadLetter{},
	// What operators and agents read and write.
	keyfile.Key{}, api.Rejection{}, ops.Readiness{},
}

// others are the types with JSON members that are held elsewhere, or by nothing of
// ours.
var others = map[string]string{
	"backup.manifest": "S3 Inventory's", "backup.Object": "S3 Inventory's",
	"index.place": "Elasticsearch's", "sink.Reference": "Elasticsearch's", "index.Version": "Elasticsearch's", "index.answer": "Elasticsearch's",
	"index.rawSnapshot": "Elasticsearch's", "index.SnapshotFailure": "Elasticsearch's", "index.sizes": "Elasticsearch's", "index.hit": "Elasticsearch's",
	"queue.body":   "held by the fuzz corpus of its package",
	"keyfile.File": "held by the tests of its package", "keyfile.Quota": "held with keyfile.File", "api.answer": "held by api/openapi.yaml",
}

// folders are where such types are declared. What commands print is held by the
// tests of the commands.
var folders = []string{"activities", "workflows", "internal", "api"}

func TestFormatsAreStable(t *testing.T) {
	t.Parallel()
	for _, format := range formats {
		of := reflect.TypeOf(format)
		t.Run(of.String(), func(t *testing.T) {
			t.Parallel()
			value := reflect.New(of)
			(&filler{}).fill(value.Elem(), of.Name(), 0)
			want, err := json.MarshalIndent(value.Interface(), "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, '\n')
			file := filepath.Join("testdata", of.String()+".json")
			golden, err := os.ReadFile(file)
			switch {
			case errors.Is(err, fs.ErrNotExist) && *record:
				golden = want
			case err != nil:
				t.Fatalf("%v: write it with go test ./test/formats -record", err)
			}
			read := reflect.New(of)
			decoder := json.NewDecoder(bytes.NewReader(golden))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(read.Interface()); err != nil {
				t.Fatalf("stored data can no longer be read: %v", err)
			}
			if *record {
				if err := os.WriteFile(file, want, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			again, err := json.MarshalIndent(read.Interface(), "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			if again = append(again, '\n'); !bytes.Equal(again, golden) {
				t.Errorf("reading stored data and writing it again changes it:\n%s", diff(golden, again))
			}
			if !bytes.Equal(want, golden) {
				t.Errorf("a member is new, or gone: record it if it is new:\n%s", diff(golden, want))
			}
		})
	}
}

// TestEveryFormatHasGoldenFile finds the types with JSON members that no golden file has.
func TestEveryFormatHasGoldenFile(t *testing.T) {
	t.Parallel()
	held := map[string]bool{}
	for _, format := range formats {
		reach(reflect.TypeOf(format), held)
	}
	for _, name := range declared(t) {
		_, elsewhere := others[name]
		if held[name] == elsewhere {
			t.Errorf("%s is in formats: %v, in others: %v", name, held[name], elsewhere)
		}
		delete(others, name)
	}
	if len(others) > 0 {
		t.Errorf("there is none of these any more: %v", slices.Sorted(maps.Keys(others)))
	}
}

// declared are the types with JSON members, as package.Type.
func declared(t *testing.T) (all []string) {
	t.Helper()
	files := token.NewFileSet()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return fmt.Errorf("parse %s: %w", path, err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if is, ok := spec.Type.(*ast.StructType); ok && hasMembers(is) {
					all = append(all, file.Name.Name+"."+spec.Name.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func hasMembers(of *ast.StructType) bool {
	return slices.ContainsFunc(of.Fields.List, func(f *ast.Field) bool { return f.Tag != nil && strings.Contains(f.Tag.Value, `json:"`) })
}

// reach enters a type, and those of its members.
func reach(of reflect.Type, into map[string]bool) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		reach(of.Elem(), into)
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() || into[of.String()] {
			return
		}
		into[of.String()] = true
		for i := range of.NumField() {
			reach(of.Field(i).Type, into)
		}
	default:
	}
}

// filler gives each member another value, and none a zero one.
type filler struct{ n int }

// deepest is how often a type may be in itself.
const deepest = 12

func (f *filler) fill(v reflect.Value, name string, depth int) {
	f.n++
	if depth > deepest || !v.CanSet() {
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, f.n*int(time.Millisecond), time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s %d", name, f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.n))
		if v.Type().Name() == "Duration" { // some are written in seconds
			v.SetInt(int64(f.n) * int64(time.Second))
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n)) //nolint:gosec // it counts from zero
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), name, depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0), name, depth+1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key, name, depth+1)
		f.fill(value, name, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				f.fill(v.Field(i), v.Type().Field(i).Name, depth+1)
			}
		}
	default:
	}
}

// diff shows the first lines that differ.
func diff(want, got []byte) string {
	a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for n := range min(len(a), len(b)) {
		if a[n] != b[n] {
			return fmt.Sprintf("line %d: %s\nnow:    %s", n+1, a[n], b[n])
		}
	}
	return fmt.Sprintf("%d lines, now %d", len(a), len(b))
}
