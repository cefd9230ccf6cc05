package index

import (
	"net/http"
	"slices"
	"strings"

	"millrace/internal/outcome"
	"millrace/internal/sink"
)

// conflict is how `create` says that the document is there.
const conflict = "version_conflict_engine_exception"

// Error types of our own, for requests without an answer.
const (
	noAnswer = "no_answer"
	canceled = "canceled" // by the caller
)

// outcomes is the outcome table, by the `type` of an error: the name of the
// server's exception in snake case, without Elasticsearch or OpenSearch in
// front (ElasticsearchException.getExceptionName). Statuses are those of
// Elasticsearch 8.19, and stand here only to show how little they say.
var outcomes = map[string]outcome.Class{
	// The document itself is to blame.
	"document_parsing_exception":          outcome.Poison, // 400, Elasticsearch from 8.8 on
	"mapper_parsing_exception":            outcome.Poison, // 400, before, and OpenSearch
	"strict_dynamic_mapping_exception":    outcome.Poison, // 400
	"max_bytes_length_exceeded_exception": outcome.Poison, // 400
	"parsing_exception":                   outcome.Poison, // 400
	"x_content_parse_exception":           outcome.Poison, // 400
	"x_content_e_o_f_exception":           outcome.Poison, // 400
	"not_x_content_exception":             outcome.Poison, // 400
	"json_parse_exception":                outcome.Poison, // 400, OpenSearch
	"json_e_o_f_exception":                outcome.Poison, // 400, OpenSearch
	"input_coercion_exception":            outcome.Poison, // 400, OpenSearch: a number beyond its type
	"invalid_index_name_exception":        outcome.Poison, // 400: its index stands in the record, and can never be made

	// The index is out of service.
	"cluster_block_exception":                     outcome.Transient, // 403 read-only, 429 flood stage, 503 no master
	"index_closed_exception":                      outcome.Transient, // 400
	"index_not_found_exception":                   outcome.Transient, // 404: gone, and may not be made automatically
	"resource_already_exists_exception":           outcome.Transient, // 400: two made it at once
	"index_creation_exception":                    outcome.Transient, // 400
	"invalid_index_template_exception":            outcome.Transient, // 400
	"validation_exception":                        outcome.Transient, // 400: the cluster's shard limit
	"snapshot_in_progress_exception":              outcome.Transient, // 400
	"shard_not_found_exception":                   outcome.Transient, // 404
	"illegal_index_shard_state_exception":         outcome.Transient, // 404: on its way up or down
	"index_shard_closed_exception":                outcome.Transient, // 404
	"index_shard_not_started_exception":           outcome.Transient, // 404
	"index_shard_recovering_exception":            outcome.Transient, // 404
	"index_primary_shard_not_allocated_exception": outcome.Transient, // 409
	"no_longer_primary_shard_exception":           outcome.Transient, // 500
	"retry_on_primary_exception":                  outcome.Transient, // 500
	"retry_on_replica_exception":                  outcome.Transient, // 500
	"primary_missing_action_exception":            outcome.Transient, // 500
	"shard_not_in_primary_mode_exception":         outcome.Transient, // 500
	"engine_exception":                            outcome.Transient, // 500
	"already_closed_exception":                    outcome.Transient, // 500, Lucene
	"translog_exception":                          outcome.Transient, // 500
	"i_o_exception":                               outcome.Transient, // 500: a disk
	"file_system_exception":                       outcome.Transient, // 500

	// The cluster is busy or in pieces.
	"es_rejected_execution_exception":          outcome.Transient, // 429
	"rejected_execution_exception":             outcome.Transient, // 429, OpenSearch
	"circuit_breaking_exception":               outcome.Transient, // 429
	"timeout_exception":                        outcome.Transient, // 429
	"unavailable_shards_exception":             outcome.Transient, // 503
	"no_shard_available_action_exception":      outcome.Transient, // 503
	"process_cluster_event_timeout_exception":  outcome.Transient, // 503
	"failed_to_commit_cluster_state_exception": outcome.Transient, // 503
	"not_master_exception":                     outcome.Transient, // 503
	"not_cluster_manager_exception":            outcome.Transient, // 503, OpenSearch
	"master_not_discovered_exception":          outcome.Transient, // 503
	"cluster_manager_not_discovered_exception": outcome.Transient, // 503, OpenSearch
	"node_closed_exception":                    outcome.Transient, // 503
	"node_not_connected_exception":             outcome.Transient, // 503
	"node_disconnected_exception":              outcome.Transient, // 503
	"connect_transport_exception":              outcome.Transient, // 503
	"receive_timeout_transport_exception":      outcome.Transient, // 503
	"transport_exception":                      outcome.Transient, // 500
	"task_cancelled_exception":                 outcome.Transient, // 400

	// Our credentials are to blame.
	"security_exception": outcome.Transient, // 401, 403
}

// classify is what became of one document, by the type of its error and its
// status. failureStore is what its item says of a failure store.
func classify(e outcome.Error, failureStore string) outcome.Class {
	if e.Type == "" && e.Status >= 200 && e.Status < 300 {
		if failureStore == "used" {
			return outcome.Poison // a 201, but of a document that was put elsewhere
		}
		return outcome.Indexed
	}
	if e.Type == conflict && e.Status == http.StatusConflict {
		return outcome.Indexed // `create` found it there: a resend
	}
	if class, known := outcomes[e.Type]; known {
		return class
	}
	if e.Type == "illegal_argument_exception" {
		return classifyIllegalArgument(e.Reason)
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return outcome.Transient
	}
	// 500 is here too: it is what a server answers that stumbles over one
	// document, by a bug of its own. Were it transient, its shard would wait for
	// ever; so an operator may decide.
	return outcome.Undecided
}

// blamesDocument and blamesIndex are what the reasons of an
// illegal_argument_exception begin with or contain: the type alone says
// nothing. By Lucene's IndexingChain, and Elasticsearch's FieldMapper,
// MappingLookup, IngestService and IndexAbstraction.
var (
	blamesDocument = []string{
		"immense term in field",           // a keyword of more than 32,766 bytes
		"Limit of total fields",           // dynamic mapping
		"Limit of mapping depth",          // dynamic mapping
		"Limit of nested",                 // documents
		"mapper [",                        // cannot be changed from type … to …
		"can't merge a non",               // object mapping with an object mapping
		"field name cannot be",            // empty, or only whitespace
		"name cannot be empty string",     // of a field
		"object field starting or ending", // with a [.]
		"is too large, must be <= 32766",  // doc values
		"failed to parse date field",
		"Failed to parse value",
		"out of range",
	}
	blamesIndex = []string{
		"pipeline",       // with id … does not exist: a setting of the index
		"no write index", // is defined for alias
		"has more than one index associated with it",
	}
)

func classifyIllegalArgument(reason string) outcome.Class {
	for _, text := range blamesIndex {
		if strings.Contains(reason, text) {
			return outcome.Transient
		}
	}
	for _, text := range blamesDocument {
		if strings.Contains(reason, text) {
			return outcome.Poison
		}
	}
	return outcome.Undecided
}

// classifyRequest is what became of a request that has no items.
func classifyRequest(status int) outcome.Class {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return outcome.TooLarge
	case http.StatusBadRequest:
		return outcome.Refused
	}
	// 429, 5xx, 401, 403, and whatever a proxy in between makes up.
	return outcome.Transient
}

// overload reports whether fewer requests at once would help. They would not
// against a closed or blocked index, or a wrong password: those have their own
// wait, and must not slow down everybody.
func overload(e outcome.Error) bool {
	switch e.Type {
	case noAnswer:
		return true
	case "cluster_block_exception": // a 429 too, at the flood stage
		return false
	}
	return e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// isOverloaded reports whether the request, or one of its documents, met an
// overloaded server.
func isOverloaded(r sink.Result) bool {
	switch r.Class {
	case outcome.Indexed:
		return slices.ContainsFunc(r.Items, func(i sink.Item) bool { return i.Class == outcome.Transient && overload(i.Error) })
	case outcome.Transient:
		return overload(r.Error)
	}
	return false
}
