package container

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the format's own checksum, against damage alone
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of AggregatedRecord and Record in the format's messages.proto.
const (
	fieldPartitionKeys = 1 // repeated string
	fieldHashKeys      = 2 // repeated string: explicit hash keys
	fieldRecords       = 3 // repeated Record
	fieldKeyIndex      = 1 // required uint64, into the partition keys
	fieldHashIndex     = 2 // optional uint64, into the explicit hash keys
	fieldData          = 3 // required bytes
)

// AppendKPL appends an aggregated record of some documents to dst. Each has the explicit hash key of the whole, in decimal:
// readers that check in which shard a document belongs, as the KCL does, discard none. keys are the documents' partition
// keys.
func AppendKPL(dst []byte, documents [][]byte, keys []string, hashKey string) []byte {
	begin := len(dst)
	dst = append(dst, magicKPL...)
	places := map[string]uint64{}
	for _, key := range keys {
		if _, there := places[key]; !there {
			places[key] = uint64(len(places))
			dst = protowire.AppendString(protowire.AppendTag(dst, fieldPartitionKeys, protowire.BytesType), key)
		}
	}
	dst = protowire.AppendString(protowire.AppendTag(dst, fieldHashKeys, protowire.BytesType), hashKey)
	for i, document := range documents {
		at := places[keys[i]]
		size := 1 + protowire.SizeVarint(at) + 1 + protowire.SizeVarint(0) + 1 + protowire.SizeBytes(len(document))
		dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldRecords, protowire.BytesType), uint64(size))
		dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldKeyIndex, protowire.VarintType), at)
		dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldHashIndex, protowire.VarintType), 0)
		dst = protowire.AppendBytes(protowire.AppendTag(dst, fieldData, protowire.BytesType), document)
	}
	sum := checksum(dst[begin:])
	return append(dst, sum[:]...)
}

// checksum is the one of an aggregated record without it.
func checksum(data []byte) [md5.Size]byte {
	return md5.Sum(data[len(magicKPL):]) //nolint:gosec // see the import
}

func openKPL(documents [][]byte, data []byte) ([][]byte, error) {
	if len(data) < len(magicKPL)+md5.Size {
		return nil, fmt.Errorf("%w: it has no checksum", ErrDamaged)
	}
	data, sum := data[:len(data)-md5.Size], data[len(data)-md5.Size:]
	if want := checksum(data); !bytes.Equal(sum, want[:]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	before := len(documents)
	err := eachField(data[len(magicKPL):], func(number protowire.Number, value []byte) error {
		if number != fieldRecords {
			return nil
		}
		if len(documents) == before+MaxDocuments {
			return tooMany(MaxDocuments + 1)
		}
		var document []byte
		err := eachField(value, func(number protowire.Number, value []byte) error {
			if number == fieldData {
				document = value
			}
			return nil
		})
		documents = append(documents, document)
		return err
	})
	if err != nil {
		return nil, err
	}
	return documents, nil
}

// eachField calls use for each field of a message: with its bytes if it is of that type, else with none.
func eachField(message []byte, use func(number protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("%w: read a tag: %w", ErrDamaged, protowire.ParseError(n))
		}
		message = message[n:]
		var value []byte
		if kind == protowire.BytesType {
			value, n = protowire.ConsumeBytes(message)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("%w: read field %d: %w", ErrDamaged, number, protowire.ParseError(n))
		}
		message = message[n:]
		if err := use(number, value[:len(value):len(value)]); err != nil {
			return err
		}
	}
	return nil
}
