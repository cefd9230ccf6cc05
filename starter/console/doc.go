// Package console shows a pipeline live, on one page for operators who would rather look than
// read.
//
// A [Watch] asks [Sources] at intervals, each within a time limit, and keeps the last good
// answer of each with its age: a source that fails hides no other. However many pages are
// open, each source is asked once; while none is, only /metrics is read, for the history.
// [Watch.State] puts the answers together as one JSON document, names what is wrong in it,
// and with which command that is mended. [Handler] serves it beside the page, which is
// embedded.
//
// Counts are shown as rates only. They prove nothing: a replay turns indexed records into
// duplicates, and a takeover counts again. What proves is the residual.
package console
