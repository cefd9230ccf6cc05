package canary

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/internal/telemetry"
)

// KeptFor is how long a record is kept at the least. Indices are of one day, so there
// are two, and for a moment at midnight three.
const KeptFor = 24 * time.Hour

// expired returns the canary's indices whose last record is older than KeptFor.
func (p *Prober) expired(ctx context.Context) (names []string, err error) {
	all, err := p.documents.Indices(ctx, telemetry.CanaryIndices)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what it does
	}
	for name := range all {
		day, ok := telemetry.ParseCanaryIndex(name)
		if ok && time.Since(day.AddDate(0, 0, 1)) > KeptFor {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	const most = 100 // the next run names the rest
	return names[:min(len(names), most)], nil
}

// DropInput is the input of DropCanaryIndices.
type DropInput struct {
	Indices []string `json:"indices"`
}

// DropCanaryIndices deletes indices of the canary, and none other. That one is gone is
// no error.
func (p *Prober) DropCanaryIndices(ctx context.Context, in DropInput) error {
	for _, name := range in.Indices {
		if _, ok := telemetry.ParseCanaryIndex(name); !ok {
			return temporal.NewNonRetryableApplicationError(fmt.Sprintf("delete index %q: it is none of the canary's", name), "InvalidInput", nil)
		}
	}
	for _, name := range in.Indices {
		if err := p.documents.DeleteIndex(ctx, name); err != nil {
			return fmt.Errorf("delete old indices of the canary: %w", err)
		}
	}
	return nil
}
