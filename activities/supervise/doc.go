// Package supervise has the activities that start the workflow of each shard, look after
// them, and give them commands: for processing, and for the backup.
package supervise
