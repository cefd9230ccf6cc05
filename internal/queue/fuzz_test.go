package queue

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"millrace/internal/pack"
)

// A letter that is read is written so that it is read the same again.
func FuzzDeadLetter(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		letter, err := ParseDeadLetter(text)
		if err != nil {
			if !errors.Is(err, ErrNotDeadLetter) {
				t.Fatalf("error %v does not wrap ErrNotDeadLetter", err)
			}
			return
		}
		written, err := letter.encode(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDeadLetter([]byte(written))
		if err != nil {
			t.Fatalf("not read again: %v: %s", err, written)
		}
		rewritten, err := again.encode(1 << 20)
		if err != nil || rewritten != written {
			t.Fatalf("written as\n%s and then as\n%s, %v", written, rewritten, err)
		}
		// However little room there is, what points at the records stays.
		small, err := letter.encode(0)
		if err != nil {
			t.Fatal(err)
		}
		if cut, err := ParseDeadLetter([]byte(small)); err != nil || !reflect.DeepEqual(cut.Batch, again.Batch) {
			t.Fatalf("cut to %s, %v", small, err)
		}
	})
}

// A message that is read holds as many records as it says.
func FuzzMessage(f *testing.F) {
	for _, b := range []body{
		{Records: 2, Pack: pack.Pack([][]byte{[]byte("first"), []byte("second")})},
		{Records: 3, Pack: pack.Pack([][]byte{[]byte("first")})},
		{Records: 1, Overflow: "overflow/x"},
	} {
		text, err := b.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(`{"millrace":1,"records":1,"pack":"","overflow":"overflow/x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		b, err := decode(text)
		if err != nil {
			if !errors.Is(err, errForeign) {
				t.Fatalf("error %v does not wrap errForeign", err)
			}
			return
		}
		written, err := b.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(written)
		if err != nil || again.Records != b.Records || !bytes.Equal(again.Pack, b.Pack) || again.Overflow != b.Overflow {
			t.Fatalf("%+v is read again as %+v, %v", b, again, err)
		}
		records, err := b.unpack(b.Pack)
		if err != nil {
			if !errors.Is(err, pack.ErrDamaged) {
				t.Fatalf("error %v does not wrap ErrDamaged", err)
			}
			return
		}
		unpacked, err := pack.Unpack(pack.Pack(records))
		if len(records) != b.Records || err != nil || !slices.EqualFunc(unpacked, records, bytes.Equal) {
			t.Fatalf("%d records of %d, %v", len(records), b.Records, err)
		}
	})
}
