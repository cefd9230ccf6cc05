package container

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestContainersKeepDocumentsInOrder(t *testing.T) {
	t.Parallel()
	for name, documents := range map[string][][]byte{
		"none":               nil,
		"one":                texts(`{"a":1}`),
		"some":               texts(`{"a":1}`, `{}`, `{"b":"`+strings.Repeat("x", 1<<20)+`"}`, ``),
		"as many as can be":  slices.Repeat(texts(`{}`), MaxDocuments),
		"as large as can be": {make([]byte, MaxUnpacked-1)},
	} {
		keys := make([]string, len(documents))
		for i := range keys {
			keys[i] = string(rune('a' + i%3))
		}
		for form, data := range map[Form][]byte{Pack: AppendPack(nil, documents), KPL: AppendKPL(nil, documents, keys, "17")} {
			got, err := Open(data)
			if err != nil || FormOf(data) != form || !slices.EqualFunc(got, documents, bytes.Equal) {
				t.Errorf("%s as %s: %d documents of %d, form %s, %v", name, form, len(got), len(documents), FormOf(data), err)
			}
			size, err := Size(data)
			want := 0
			if form == Pack {
				want = len(bytes.Join(documents, nil)) + len(documents)
			}
			if err != nil || size != want {
				t.Errorf("%s as %s: %d bytes, want %d, %v", name, form, size, want, err)
			}
		}
	}
}

func TestSingleIsItself(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `{"a":1}`, "\x28\xB5", "anything"} {
		got, err := Open([]byte(text))
		if err != nil || len(got) != 1 || string(got[0]) != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestForeignAggregatedRecordIsRead(t *testing.T) {
	t.Parallel()
	var message []byte
	for _, key := range []string{"one", "two"} {
		message = protowire.AppendString(protowire.AppendTag(message, fieldPartitionKeys, protowire.BytesType), key)
	}
	for i, text := range []string{"first", "second"} { // fields in another order, no hash key, an unknown field
		var record []byte
		record = protowire.AppendBytes(protowire.AppendTag(record, fieldData, protowire.BytesType), []byte(text))
		record = protowire.AppendVarint(protowire.AppendTag(record, 9, protowire.VarintType), 7)
		record = protowire.AppendVarint(protowire.AppendTag(record, fieldKeyIndex, protowire.VarintType), uint64(i))
		message = protowire.AppendBytes(protowire.AppendTag(message, fieldRecords, protowire.BytesType), record)
	}
	got, err := Open(sealed(message))
	if err != nil || !slices.EqualFunc(got, texts("first", "second"), bytes.Equal) {
		t.Errorf("the documents are %q, %v", got, err)
	}
}

// sealed is a message with magic number and checksum.
func sealed(message []byte) []byte {
	data := append(slices.Clone(magicKPL), message...)
	sum := checksum(data)
	return append(data, sum[:]...)
}

func TestDamagedContainersAreRefused(t *testing.T) {
	t.Parallel()
	documents := texts(`{"a":1}`, `{"b":2}`)
	pack, kpl := AppendPack(nil, documents), AppendKPL(nil, documents, []string{"k", "k"}, "17")
	flip := func(data []byte, at int) []byte {
		data = slices.Clone(data)
		data[at] ^= 1
		return data
	}
	plain := func(options ...zstd.EOption) []byte {
		e := must(zstd.NewWriter(nil, options...))
		return e.EncodeAll([]byte("{}\n"), nil)
	}
	unsized, err := base64.StdEncoding.DecodeString("KLUv/QRYGQAAe30KdGrRTw==") // zstd of a pipe: "{}\n" without its size
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"pack: its magic alone":        magicZstd,
		"pack: truncated":              pack[:len(pack)-3],
		"pack: content damaged":        flip(pack, len(pack)/2),
		"pack: checksum damaged":       flip(pack, len(pack)-1),
		"pack: more behind it":         append(slices.Clone(pack), pack...),
		"pack: no checksum":            plain(zstd.WithEncoderCRC(false)),
		"pack: no size":                unsized,
		"pack: last document cut off":  encoder.EncodeAll([]byte("{}\n{"), nil),
		"pack: too large":              encoder.EncodeAll(make([]byte, MaxUnpacked+1), nil),
		"pack: too many documents":     AppendPack(nil, slices.Repeat(texts(`{}`), MaxDocuments+1)),
		"kpl: its magic alone":         magicKPL,
		"kpl: truncated":               kpl[:len(kpl)-3],
		"kpl: content damaged":         flip(kpl, len(kpl)/2),
		"kpl: checksum damaged":        flip(kpl, len(kpl)-1),
		"kpl: no message":              sealed([]byte{0xFF}),
		"kpl: a record that is none":   sealed(protowire.AppendString(protowire.AppendTag(nil, fieldRecords, protowire.BytesType), "\xFF")),
		"kpl: longer than the message": sealed(append(protowire.AppendTag(nil, fieldRecords, protowire.BytesType), 200, 1)),
		"kpl: too many documents":      AppendKPL(nil, slices.Repeat(texts(`{}`), MaxDocuments+1), slices.Repeat([]string{"k"}, MaxDocuments+1), "17"),
	} {
		if got, err := Open(data); !errors.Is(err, ErrDamaged) || got != nil {
			t.Errorf("%s: %d documents, error %v, want ErrDamaged", name, len(got), err)
		}
	}
}

// benchDocuments are as many as a pack of a few shards has.
func benchDocuments() (documents [][]byte) {
	for i := range 100 {
		documents = append(documents, fmt.Appendf(nil, `{"doc_id":"%027d","index":"telemetry-span-2026.11.24","received_at":"2026-11-24T10:00:00.%03dZ","tenant":"acme","name":"GET /orders/%d","duration_ms":%d,"attributes":{"http.method":"GET","http.status_code":200,"net.peer.ip":"10.0.%d.%d"}}`, i*7919, i, i*31, i*17%1000, i%7, i*13%256))
	}
	return documents
}

func BenchmarkOpenPack(b *testing.B) {
	documents := benchDocuments()
	pack, memory := AppendPack(nil, documents), make([]byte, size(documents)+Slack)
	b.SetBytes(int64(size(documents)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := OpenIn(memory, documents[:0], pack); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPack(b *testing.B) {
	documents, pack := benchDocuments(), []byte(nil)
	b.SetBytes(int64(size(documents)))
	b.ReportAllocs()
	for b.Loop() {
		pack = AppendPack(pack[:0], documents)
	}
}
