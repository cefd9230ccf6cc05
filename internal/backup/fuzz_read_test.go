package backup_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"millrace/internal/backup"
)

// FuzzReadObject: whatever an object holds, reading ends, in bounded memory,
// and records on lines of their own come out.
func FuzzReadObject(f *testing.F) {
	line := append(ours(1), '\n')
	for _, seed := range [][]byte{
		nil, line, packed(line), packed(line)[:20], append(packed(line), packed(line)...), []byte(`{"x":` + string(line)),
		[]byte(`{"backup_shard":"shardId-000000000000","backup_sequence":"1","backup_arrived":"2026-11-23T13:59:50.000Z","backup_data":"eA=="}`),
		[]byte("{{{{\"\\"), {0x1f, 0x8b},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &shelf{bodies: map[string][]byte{
			"as it is": body, "packed": packed(body), "between": slices.Concat(line, body, []byte("\n"), line),
		}}
		for key := range s.bodies {
			got, err := readObject(t, s, key)
			var damage *backup.DamageError
			if !errors.Is(err, io.EOF) && !errors.As(err, &damage) {
				t.Errorf("%s: %v", key, err)
			}
			// Without quotes and braces in between, the neighbours are as they were.
			if key == "between" && !bytes.ContainsAny(body, "{\"\n") && len(body) < 1<<20 {
				if want := string(ours(1)); len(got) < 2 || got[0] != want || got[len(got)-1] != want {
					t.Errorf("%q hides its neighbours: %q", body, got)
				}
			}
		}
	})
}
