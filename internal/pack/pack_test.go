package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

func TestPackKeepsRecordsInOrder(t *testing.T) {
	t.Parallel()
	for name, records := range map[string][][]byte{
		"none":              nil,
		"empty":             {{}},
		"as many as can be": {make([]byte, MaxUnpackedSize-binary.MaxVarintLen32)},
		"some":              {[]byte("first"), {}, []byte("second"), bytes.Repeat([]byte("x"), 1<<20)},
	} {
		got, err := Unpack(Pack(records))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.EqualFunc(got, records, bytes.Equal) {
			t.Errorf("%s: got %d records back, want %d, or other bytes", name, len(got), len(records))
		}
	}
}

func TestDamagedPacksAreRefused(t *testing.T) {
	t.Parallel()
	whole := Pack([][]byte{[]byte("first"), []byte("second")})
	cut := encoder.EncodeAll([]byte{200, 1, 'x'}, []byte{formatZstd}) // says 200 bytes, has one
	bomb := Pack([][]byte{make([]byte, MaxUnpackedSize)})
	for name, blob := range map[string][]byte{
		"empty": nil, "unknown format": append([]byte{9}, whole[1:]...), "truncated": whole[:len(whole)-3],
		"record cut off": cut, "larger than the bound": bomb,
	} {
		if _, err := Unpack(blob); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: error %v, want ErrDamaged", name, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(Pack([][]byte{[]byte("first"), []byte("second")}))
	f.Fuzz(func(t *testing.T, blob []byte) {
		records, err := Unpack(blob)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v does not wrap ErrDamaged", err)
			}
			return
		}
		again, err := Unpack(Pack(records))
		if err != nil || !slices.EqualFunc(again, records, bytes.Equal) {
			t.Fatalf("not the same records after packing again: %v", err)
		}
	})
}
