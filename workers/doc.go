// Package workers says what runs where: one function for each task queue, with
// the limits of a worker that polls it.
package workers
