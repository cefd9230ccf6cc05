// Package ingest has the activities that make the collector's batches durable.
package ingest
