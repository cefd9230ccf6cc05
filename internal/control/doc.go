// Package control is how shards are steered: the states that operators see, the holds
// that pause a shard, and the commands that make and lift them.
package control
