package index

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/internal/outcome"
	"millrace/internal/sink"
)

// repository makes a repository of its own.
func (s server) repository(t testing.TB) Repository {
	t.Helper()
	name := localtest.Name(t, "repository")
	r := Repository{Name: name, Type: "fs", Settings: map[string]string{"location": name}}
	created, err := s.client.EnsureRepository(t.Context(), r)
	if err != nil || !created {
		t.Fatalf("created: %v, %v", created, err)
	}
	t.Cleanup(func() { s.call(t, http.MethodDelete, "/_snapshot/"+name, "") })
	return r
}

// filled makes an index that has so many documents.
func (s server) filled(t testing.TB, documents int) string {
	t.Helper()
	s.ready(t)
	name := s.name(t)
	bulk := &sink.Bulk{}
	for n := range documents {
		bulk.Add(record(t, name, fmt.Sprint(n), `{}`), now)
	}
	if r := s.client.Do(t.Context(), bulk); r.Class != outcome.Indexed || len(r.Items) > 0 {
		t.Fatalf("%+v", r)
	}
	return name
}

// await polls until a condition holds.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in time", what)
		}
	}
}

// taken takes a snapshot of indices.
func (s server) taken(t testing.TB, repository, name string, indices ...string) (taken Snapshot) {
	t.Helper()
	if err := s.client.StartSnapshot(t.Context(), repository, name, indices, map[string]string{"by": "a test"}); err != nil {
		t.Fatal(err)
	}
	await(t, "the snapshot", func() bool {
		var err error
		if taken, err = s.client.GetSnapshot(t.Context(), repository, name); err != nil {
			t.Fatal(err)
		}
		return taken.State != "IN_PROGRESS"
	})
	return taken
}

// restored waits until indices are there.
func (s server) restored(t testing.TB, names ...string) (p Progress) {
	t.Helper()
	await(t, "the restore", func() bool {
		var err error
		if p, err = s.client.Recovery(t.Context(), "telemetry-*", names); err != nil {
			t.Fatal(err)
		}
		return p.Ready
	})
	return p
}

func (s server) state(t testing.TB, name string) State {
	t.Helper()
	if err := s.client.Refresh(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	states, err := s.client.Indices(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return states[name]
}

func TestWhatASnapshotHasComesBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		ctx, repository := t.Context(), s.repository(t)
		if created, err := s.client.EnsureRepository(ctx, repository); created || err != nil {
			t.Errorf("the second time: %v, %v", created, err)
		}
		index := s.filled(t, 7)
		before := s.state(t, index)
		if before.Documents != 7 || before.Closed || before.Red() || before.Shards != 1 || before.UUID == "" || time.Since(before.Created) > time.Hour {
			t.Errorf("described as %+v", before)
		}
		const name = "first"
		taken := s.taken(t, repository.Name, name, index)
		if taken.State != "SUCCESS" || taken.Shards != 1 || taken.Done != 1 || taken.Failed != 0 || taken.Ended.Before(taken.Started) ||
			len(taken.Indices) != 1 || taken.Indices[0] != index {
			t.Errorf("taken as %+v", taken)
		}
		// A start whose answer was lost.
		if err := s.client.StartSnapshot(ctx, repository.Name, name, []string{index}, nil); err != nil {
			t.Errorf("started again: %v", err)
		}
		if p, err := s.client.SnapshotProgress(ctx, repository.Name, name); err != nil || p.Done != 1 || p.Shards != 1 || p.Bytes <= 0 || p.Copied != p.Bytes {
			t.Errorf("its progress is %+v, %v", p, err)
		}
		second := s.taken(t, repository.Name, "second", index)
		if p, err := s.client.SnapshotProgress(ctx, repository.Name, second.Name); err != nil || p.Bytes >= p.Kept {
			t.Errorf("the second copies again: %+v, %v", p, err)
		}
		if all, err := s.client.Snapshots(ctx, repository.Name); err != nil || len(all) != 2 || all[0].Name != name {
			t.Errorf("listed as %+v, %v", all, err)
		}

		// Beside the original.
		if err := s.client.StartRestore(ctx, repository.Name, name, Restore{Indices: []string{index}}); err == nil {
			t.Error("it is restored over an open index")
		}
		if err := s.client.StartRestore(ctx, repository.Name, name, Restore{Indices: []string{index}, Suffix: "-copy"}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.call(t, http.MethodDelete, "/"+index+"-copy?ignore_unavailable=true", "") })
		if p := s.restored(t, index+"-copy"); p.Shards != 1 || p.Done != 1 || p.Copied != p.Bytes || p.Bytes == 0 {
			t.Errorf("restored as %+v", p)
		}
		if got := s.state(t, index+"-copy"); got.Documents != 7 || !got.Created.Equal(before.Created) {
			t.Errorf("the copy is %+v, made of %+v", got, before)
		}

		// In its place, deleted or closed.
		for what, away := range map[string]func() error{
			"deleted": func() error { return s.client.DeleteIndex(ctx, index) },
			"closed":  func() error { return s.client.CloseIndex(ctx, index) },
		} {
			if item := s.one(t, record(t, index, "later "+what, `{}`)); item.Class != outcome.Indexed {
				t.Fatalf("%+v", item)
			}
			if err := away(); err != nil {
				t.Fatal(err)
			}
			if what == "closed" {
				if got := s.state(t, index); !got.Closed || got.Documents != -1 {
					t.Errorf("closed, it is %+v", got)
				}
			}
			none := 0
			if err := s.client.StartRestore(ctx, repository.Name, name, Restore{Indices: []string{index}, Replicas: &none}); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			s.restored(t, index)
			if got := s.state(t, index); got.Documents != 7 || got.Closed || !got.Created.Equal(before.Created) {
				t.Errorf("%s and restored, it is %+v", what, got)
			}
		}
		// Deleted and made again by a document, it is told from what it was.
		if err := s.client.DeleteIndex(ctx, index); err != nil {
			t.Fatal(err)
		}
		if item := s.one(t, record(t, index, "new", `{}`)); item.Class != outcome.Indexed {
			t.Fatalf("%+v", item)
		}
		if got := s.state(t, index); got.Created.Equal(before.Created) {
			t.Errorf("made again, it is %+v", got)
		}

		for range 2 {
			if err := s.client.DeleteSnapshot(ctx, repository.Name, name); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.client.GetSnapshot(ctx, repository.Name, name); !errors.Is(err, ErrMissing) {
			t.Errorf("deleted, it is described with %v", err)
		}
	})
}

func TestASnapshotOfNoIndexHasNone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		repository := s.repository(t)
		s.filled(t, 1)
		if taken := s.taken(t, repository.Name, "empty"); taken.State != "SUCCESS" || len(taken.Indices) != 0 {
			t.Errorf("%+v", taken)
		}
		gone := s.name(t) // it is deleted while the snapshot is begun
		if taken := s.taken(t, repository.Name, "gone", gone); taken.State != "SUCCESS" || len(taken.Indices) != 0 {
			t.Errorf("%+v", taken)
		}
	})
}

func TestTemplatesAreInASnapshot(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		repository := s.repository(t)
		s.taken(t, repository.Name, "one")
		answer := s.call(t, http.MethodGet, "/_snapshot/"+repository.Name+"/one", "")
		if one := answer["snapshots"].([]any)[0].(map[string]any); one["include_global_state"] != true {
			t.Errorf("%v", one)
		}
	})
}

func TestARepositoryThatCannotBeReached(t *testing.T) {
	t.Parallel()
	for flavor, name := range map[Flavor]string{Elasticsearch: local.Elasticsearch, OpenSearch: local.OpenSearch} {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, s server) {
				if s.client.flavor != flavor {
					return
				}
				ctx, repository := t.Context(), s.repository(t)
				index := s.filled(t, 3)
				// The disk is gone, and another one is in its place.
				place := filepath.Join(localtest.SnapshotDir(t, name), repository.Name)
				if err := os.Rename(place, place+"-away"); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(place, []byte("not a folder"), 0o644); err != nil {
					t.Fatal(err)
				}
				err := s.client.StartSnapshot(ctx, repository.Name, "one", []string{index}, nil)
				if err == nil {
					await(t, "its end", func() bool {
						taken, err := s.client.GetSnapshot(ctx, repository.Name, "one")
						if taken.State == "SUCCESS" {
							t.Fatal("it is a success")
						}
						return err != nil || taken.State != "IN_PROGRESS"
					})
				}
				_ = os.Remove(place)
				if err := os.Rename(place+"-away", place); err != nil {
					t.Fatal(err)
				}
				if taken := s.taken(t, repository.Name, "two", index); taken.State != "SUCCESS" {
					t.Errorf("there again, it takes %+v", taken)
				}
			})
		})
	}
}

func TestWhatIsNotThereIsMissing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		ctx, nowhere := t.Context(), localtest.Name(t, "")
		for what, call := range map[string]func() error{
			"look":    func() error { _, err := s.client.GetSnapshot(ctx, nowhere, "x"); return err },
			"list":    func() error { _, err := s.client.Snapshots(ctx, nowhere); return err },
			"start":   func() error { return s.client.StartSnapshot(ctx, nowhere, "x", nil, nil) },
			"delete":  func() error { return s.client.DeleteSnapshot(ctx, nowhere, "x") },
			"restore": func() error { return s.client.StartRestore(ctx, nowhere, "x", Restore{Indices: []string{"a"}}) },
			"close":   func() error { return s.client.CloseIndex(ctx, nowhere) },
			"remove":  func() error { return s.client.RemoveRepository(ctx, nowhere) },
		} {
			if err := call(); !errors.Is(err, ErrMissing) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := s.client.DeleteIndex(ctx, nowhere); err != nil {
			t.Errorf("delete an index: %v", err)
		}
		for _, name := range []string{"", "*", "telemetry-*", "a,b", "_all"} {
			if err := s.client.DeleteIndex(ctx, name); err == nil || !strings.Contains(err.Error(), "not the name of one index") {
				t.Errorf("delete %q: %v", name, err)
			}
		}
		if found, err := s.client.Indices(ctx, nowhere+"*"); err != nil || len(found) != 0 {
			t.Errorf("%v, %v", found, err)
		}
	})
}

func TestARepositoryIsChecked(t *testing.T) {
	t.Parallel()
	for _, r := range []Repository{
		{}, {Name: "r"}, {Name: "R", Type: "fs", Settings: map[string]string{"location": "x"}}, {Name: "a/b", Type: "fs", Settings: map[string]string{"location": "x"}},
		{Name: "r", Type: "fs"}, {Name: "r", Type: "s3"}, {Name: "_r", Type: "s3", Settings: map[string]string{"bucket": "b"}},
	} {
		if err := r.Validate(); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
	if err := (Repository{Name: "r-1", Type: "s3", Settings: map[string]string{"bucket": "b"}}).Validate(); err != nil {
		t.Error(err)
	}
}
