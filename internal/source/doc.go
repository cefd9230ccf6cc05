// Package source reads the shards of a stream for long activities, also when the stream
// is deleted under them and made anew: then the rest is reported as a loss.
package source
