package index

import (
	"testing"

	"millrace/internal/outcome"
)

func TestAnIndexAloneIsOutOfService(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]bool{
		"index [a] blocked by: [FORBIDDEN/8/index write (api)];":                                                                          true,
		"index [a] blocked by: [FORBIDDEN/5/index read-only (api)];":                                                                      true,
		"index [a] blocked by: [FORBIDDEN/5/index read-only (api)];[FORBIDDEN/8/index write (api)];":                                      true,
		"index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];": false,
		"index [a] blocked by: [FORBIDDEN/8/index write (api)];[TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark];":         false,
		"blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];[SERVICE_UNAVAILABLE/2/no master];":                        false,
		"index [a] blocked by: ": false,
		"":                       false,
	} {
		if got := indexAlone(outcome.Error{Type: "cluster_block_exception", Reason: reason, Status: 403}); got != want {
			t.Errorf("%q: %t", reason, got)
		}
	}
	if !indexAlone(outcome.Error{Type: "index_closed_exception", Reason: "closed", Status: 400}) {
		t.Error("a closed index is not alone")
	}
	if indexAlone(outcome.Error{Type: "validation_exception", Reason: "this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open", Status: 400}) {
		t.Error("the cluster's shard limit is an index's own")
	}
}
