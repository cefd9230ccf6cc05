package container

import (
	"errors"
	"testing"
)

func FuzzOpen(f *testing.F) {
	documents := texts(`{"a":1}`, `{"b":2}`)
	f.Add(AppendPack(nil, documents))
	f.Add(AppendKPL(nil, documents, []string{"k", "l"}, "17"))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		size, err := Size(data)
		if err == nil && (size < 0 || size > MaxUnpacked) {
			t.Fatalf("%d bytes", size)
		}
		got, err := Open(data)
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("error %v", err)
		}
		if len(got) > MaxDocuments {
			t.Fatalf("%d documents", len(got))
		}
	})
}
