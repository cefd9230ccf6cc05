package outcome

import "log/slog"

// Error is what a sink said, exactly, or one of the reasons of our own. Reason may
// quote the document, so it belongs in the ledger and not in a log.
type Error struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Cause  *Error `json:"caused_by,omitempty"`
	Status int    `json:"status,omitempty"`
}

// LogValue gives a log what it may have.
func (e Error) LogValue() slog.Value {
	return slog.GroupValue(slog.String("type", e.Type), slog.Int("status", e.Status))
}
