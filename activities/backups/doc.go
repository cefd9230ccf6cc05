// Package backups has the activity that copies shards into the backup: chains of objects
// in S3 (see internal/backup).
package backups
