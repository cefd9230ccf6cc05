package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/canary"
)

// CanaryInput is the input of Canary. Where it posts, and with which key, only its
// worker knows, so that no history holds a secret.
type CanaryInput struct {
	// Within is how long a record may take from its post until it can be searched; 30 s
	// when zero.
	Within time.Duration `json:"within,omitempty"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *CanaryInput) UnmarshalJSON(text []byte) error {
	type plain CanaryInput
	return in.unknown.decode(text, (*plain)(in))
}

// WithDefaults fills what is empty.
func (in CanaryInput) WithDefaults() CanaryInput {
	if in.Within == 0 {
		in.Within = canary.DefaultWithin
	}
	return in
}

// The bounds of CanaryInput.Within: the index is refreshed every five seconds, and runs
// that take long run side by side.
const leastCanaryWithin, mostCanaryWithin = time.Second, 5 * time.Minute

// Validate reports what cannot be meant.
func (in CanaryInput) Validate() error {
	if in.Within < leastCanaryWithin || in.Within > mostCanaryWithin {
		return fmt.Errorf("within: %v is not between %v and %v", in.Within, leastCanaryWithin, mostCanaryWithin)
	}
	return nil
}

// Timeout is how long a run may take: its worker may die, and another one begin anew.
// One that no worker takes is over by then, so that they do not pile up.
func (in CanaryInput) Timeout() time.Duration { return 2*in.WithDefaults().Within + 30*time.Second }

// CanaryFailed is the error type of a Canary with a record that could not be searched
// in time.
const CanaryFailed = "CanaryFailed"

// Canary posts a record to the collector of each region, as an agent does, and waits
// until it can be searched. It fails if a collector refuses its record, or if a record
// is late. It deletes the canary's indices that are older than a day.
//
// There are 8,640 runs a day. The history of one has 11 events, and sets no search
// attribute, which would be a write more.
func Canary(ctx workflow.Context, in CanaryInput) (canary.Report, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return canary.Report{}, err
	}
	in = in.WithDefaults()
	if err := in.Validate(); err != nil {
		return canary.Report{}, temporal.NewNonRetryableApplicationError("the input: "+err.Error(), InvalidInput, nil)
	}
	var report canary.Report
	if err := canary.ProbeCollectors.Execute(probeOptions(ctx, in), canary.ProbeInput{Within: in.Within}).Get(ctx, &report); err != nil {
		return report, fmt.Errorf("probe the collectors: %w", err)
	}
	var old error
	if len(report.Expired) > 0 {
		old = canary.DropCanaryIndices.Execute(dropOptions(ctx), canary.DropInput{Indices: report.Expired}).Get(ctx, nil)
	}
	if failed := report.Failed(); len(failed) > 0 {
		texts := make([]string, len(failed))
		for i, probe := range failed {
			texts[i] = probe.String()
		}
		return report, temporal.NewNonRetryableApplicationError(strings.Join(texts, "; "), CanaryFailed, nil, report)
	}
	if old != nil {
		return report, fmt.Errorf("delete old indices of the canary: %w", old)
	}
	return report, nil
}
