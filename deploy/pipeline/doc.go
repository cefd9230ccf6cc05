// Package pipeline runs Millrace's own programs on this machine, as the
// separate processes that a user would deploy. Demo, soak, benchmark and
// end-to-end tests share it.
package pipeline
