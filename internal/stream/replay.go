package stream

import (
	"crypto/md5" //nolint:gosec // it is how Kinesis assigns keys to shards
	"math/big"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// replayMark stands in front of the partition key of a record that is replayed,
// in place of its first digit: ours are hex, and as long with it as without.
const replayMark = 'r'

// replayed marks an entry. Kinesis assigns a key to a shard by its MD5 (API
// reference of PutRecords), so the one without the mark is given as such.
func replayed(entry types.PutRecordsRequestEntry) types.PutRecordsRequestEntry {
	sum := md5.Sum([]byte(*entry.PartitionKey)) //nolint:gosec // see above
	hash, key := new(big.Int).SetBytes(sum[:]).String(), string(replayMark)+(*entry.PartitionKey)[1:]
	entry.ExplicitHashKey, entry.PartitionKey = &hash, &key
	return entry
}

// isReplayed reports whether a partition key has the mark.
func isReplayed[Text ~string | ~[]byte](key Text) bool { return len(key) > 0 && key[0] == replayMark }
