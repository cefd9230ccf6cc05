package telemetry

import (
	"encoding/hex"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Digest is a 64-bit hash of what a record says, so that two records of one
// id can be told from one that was sent twice. It is no protection against who
// looks for collisions: the tenant who finds one spoils records of its own.
// Zero is no digest.
type Digest uint64

const digestTextSize = 16

// DigestOf digests a record: its type, its own time (zero without a usable one)
// and the body as the collector writes it, byte for byte. When and where the
// record was received is not part of it.
func DigestOf(recordType string, at time.Time, body []byte) Digest {
	var d xxhash.Digest
	d.Reset()
	// Neither fails. A type has no zero byte, so it cannot run into the time.
	_, _ = d.WriteString(recordType)
	var head [1 + len(TimestampLayout)]byte
	if text := head[:1]; !at.IsZero() {
		_, _ = d.Write(at.UTC().AppendFormat(text, TimestampLayout))
	} else {
		_, _ = d.Write(text)
	}
	_, _ = d.Write(body)
	if sum := Digest(d.Sum64()); sum != 0 {
		return sum
	}
	return 1
}

// Short is 32 bits of the digest, for where memory counts: zero of none alone.
func (d Digest) Short() uint32 {
	if d == 0 {
		return 0
	}
	return max(1, uint32(d))
}

// String returns the digest as it stands in records and documents: 16
// hexadecimal digits.
func (d Digest) String() string { return string(d.append(nil)) }

func (d Digest) append(dst []byte) []byte {
	var bytes [8]byte
	for i := range bytes {
		bytes[i] = byte(d >> (56 - 8*i))
	}
	return hex.AppendEncode(dst, bytes[:])
}

var errDigest = errors.New("the digest is not 16 hexadecimal digits")

// ParseDigest reads the text form of a digest.
func ParseDigest(text string) (Digest, error) {
	if len(text) != digestTextSize {
		return 0, errDigest
	}
	return parseDigest([]byte(text + `",`))
}

// parseDigest reads a digest and the quote behind it, without allocating.
func parseDigest(text []byte) (Digest, error) {
	if len(text) < digestTextSize+len(`",`) || text[digestTextSize] != '"' {
		return 0, errDigest
	}
	var bytes [8]byte
	if _, err := hex.Decode(bytes[:], text[:digestTextSize]); err != nil {
		return 0, errDigest
	}
	d := Digest(0)
	for _, b := range bytes {
		d = d<<8 | Digest(b)
	}
	return d, nil
}
