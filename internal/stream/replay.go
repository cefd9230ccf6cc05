package stream

import "github.com/aws/aws-sdk-go-v2/service/kinesis/types"

// replayMark stands in front of the partition key of a record that is replayed,
// in place of its first digit: ours are hex, and as long with it as without.
const replayMark = 'r'

// replayed marks an entry, and assigns it to the shard of its key without the mark.
func replayed(entry types.PutRecordsRequestEntry) types.PutRecordsRequestEntry {
	hash, key := hashOf(*entry.PartitionKey).decimal(), string(replayMark)+(*entry.PartitionKey)[1:]
	entry.ExplicitHashKey, entry.PartitionKey = &hash, &key
	return entry
}

// isReplayed reports whether a partition key has the mark.
func isReplayed[Text ~string | ~[]byte](key Text) bool { return len(key) > 0 && key[0] == replayMark }
