// Package limiter decides how many bulk requests are in flight, and how large they
// are, by how the server answers.
package limiter
