package index

import (
	"net/http"
	"strings"
)

// Class says what became of a document, or of a whole request, and so what is
// to be done next.
type Class int

const (
	// Indexed means that the document is there, from now or from earlier.
	Indexed Class = iota
	// Poison means that this document will never be taken, however often it is sent.
	Poison
	// Transient is nobody's fault; send it again later. Never dead-lettered.
	Transient
	// TooLarge means too much together; send it in smaller parts.
	TooLarge
	// Undecided is an error of a type that this table does not know.
	Undecided
	// Refused means that the whole request is refused, and not one document of it named.
	Refused
)

// String names the class in logs and metrics.
func (c Class) String() string {
	return [...]string{"indexed", "poison", "transient", "too_large", "undecided", "refused"}[c]
}

// poison lists the error types that blame the document itself.
var poison = map[string]bool{
	"document_parsing_exception":          true, // Elasticsearch from 8.8 on
	"mapper_parsing_exception":            true, // before, and OpenSearch
	"strict_dynamic_mapping_exception":    true,
	"max_bytes_length_exceeded_exception": true,
	"x_content_parse_exception":           true,
}

// transient lists the error types that blame the index or the cluster. Several
// come with status 400, as if the document were to blame.
var transient = map[string]bool{
	"cluster_block_exception":                  true, // read-only, flood stage: 403 or 429
	"index_closed_exception":                   true, // 400
	"index_not_found_exception":                true, // 404: gone, and may not be created automatically
	"validation_exception":                     true, // 400: the cluster's shard limit
	"es_rejected_execution_exception":          true,
	"rejected_execution_exception":             true, // OpenSearch
	"circuit_breaking_exception":               true,
	"unavailable_shards_exception":             true,
	"no_shard_available_action_exception":      true,
	"process_cluster_event_timeout_exception":  true,
	"node_not_connected_exception":             true,
	"node_disconnected_exception":              true,
	"node_closed_exception":                    true,
	"master_not_discovered_exception":          true,
	"cluster_manager_not_discovered_exception": true, // OpenSearch
	"receive_timeout_transport_exception":      true,
	"security_exception":                       true, // 401, 403: the credentials, not the document
}

// classify is the outcome table of one document. It goes by error type, and by
// status only where that leaves no doubt.
func classify(status int, e Error) Class {
	switch {
	case e.Type == "" && status >= 200 && status < 300:
		return Indexed
	case e.Type == "version_conflict_engine_exception" && status == http.StatusConflict:
		return Indexed // `create` found it there: a resend
	case poison[e.Type]:
		return Poison
	case transient[e.Type]:
		return Transient
	case e.Type == "illegal_argument_exception":
		return classifyIllegalArgument(e.Reason)
	case status == http.StatusTooManyRequests, status >= 500,
		status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Transient
	}
	return Undecided
}

// classifyIllegalArgument tells by the reason whether a field is to blame: the
// same type also stands for a missing pipeline or a setting.
func classifyIllegalArgument(reason string) Class {
	if strings.Contains(reason, "pipeline") {
		return Transient
	}
	for _, blamesField := range []string{"immense term in field", "Limit of total fields", "Limit of mapping depth", "mapper [", "field ["} {
		if strings.Contains(reason, blamesField) {
			return Poison
		}
	}
	return Undecided
}

// classifyRequest is the outcome table of a request that has no items.
func classifyRequest(status int) Class {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return TooLarge
	case http.StatusBadRequest:
		return Refused
	}
	// 429, 5xx, 401, 403, and whatever a proxy in between makes up.
	return Transient
}
