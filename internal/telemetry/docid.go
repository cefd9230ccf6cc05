package telemetry

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// DocIDSize is the size of a DocID in bytes: 160 bits.
const DocIDSize = 20

// docIDTextSize is the length of a DocID as unpadded base64url.
const docIDTextSize = 27

// PartitionKeySize is the length in bytes of every partition key we write:
// a DocID in hex.
const PartitionKeySize = 2 * DocIDSize

// DocID identifies a document: the first 160 bits of the SHA-256 over the
// length-prefixed tenant, index and record id. The same record always has the
// same DocID, so a resend meets itself in one shard and in one document.
type DocID [DocIDSize]byte

// NewDocID derives the identity of the record id of a tenant in an index.
func NewDocID(tenant, index, id string) DocID {
	buf := make([]byte, 0, 128)
	for _, part := range [...]string{tenant, index, id} {
		// The length keeps ("ab","c") and ("a","bc") apart.
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(part)))
		buf = append(buf, part...)
	}
	sum := sha256.Sum256(buf)
	return DocID(sum[:DocIDSize])
}

// String returns the id as it stands in Elasticsearch: 27 characters of
// unpadded base64url.
func (d DocID) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

// PartitionKey returns the Kinesis partition key: the id in hex.
func (d DocID) PartitionKey() string { return hex.EncodeToString(d[:]) }

var errDocID = errors.New("document id is not 27 characters of base64url")

// ParseDocID reads the text form of a DocID without allocating.
func ParseDocID(text []byte) (DocID, error) {
	var d DocID
	if len(text) != docIDTextSize {
		return d, errDocID
	}
	if n, err := base64.RawURLEncoding.Decode(d[:], text); err != nil || n != DocIDSize {
		return d, errDocID
	}
	return d, nil
}
