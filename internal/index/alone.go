package index

import (
	"regexp"
	"slices"

	"millrace/internal/outcome"
)

// blocks are those that a reason of cluster_block_exception lists, such as
// "index [x] blocked by: [FORBIDDEN/8/index write (api)];": by their number.
var blocks = regexp.MustCompile(`\[[A-Z_]+/(\d+)/[^\]]*\]`)

// ofIndex are the blocks that an operator sets on one index: 4 when it is closed,
// 5 read-only, 8 no writes (IndexMetadata of Elasticsearch and OpenSearch). 12 is
// the flood stage, which a full disk sets on many.
var ofIndex = []string{"4", "5", "8"}

// blockedIndex is how a reason begins that is about an index, and not about the
// cluster.
var blockedIndex = regexp.MustCompile(`^index \[[^\]]+\] blocked by: `)

// indexAlone reports whether an error says that one index is out of service, for a
// reason of its own: it is closed, or blocked for writes.
func indexAlone(e outcome.Error) bool {
	switch e.Type {
	case "index_closed_exception":
		return true
	case "cluster_block_exception":
		listed := blocks.FindAllStringSubmatch(e.Reason, -1)
		return blockedIndex.MatchString(e.Reason) && len(listed) > 0 &&
			!slices.ContainsFunc(listed, func(block []string) bool { return !slices.Contains(ofIndex, block[1]) })
	}
	return false
}
