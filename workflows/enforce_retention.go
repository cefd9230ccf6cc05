package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/snapshots"
	"millrace/internal/control"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// RetentionInput is the input of EnforceRetention.
type RetentionInput struct {
	// Days is how many days an index is kept behind its date, or the day on which
	// it last received a document, by record type, such as {"span": 30, "metric":
	// 90}; "default" is for types that are not named. A type for which there is no
	// number is kept for ever. Documents of an index that is not of one day are
	// kept so long behind the day on which they were received.
	Days map[string]int `json:"days"`
	// Repository whose snapshots count; "millrace" when empty.
	Repository string `json:"repository,omitempty"`
	// Indices are patterns; all telemetry when empty.
	Indices []string `json:"indices,omitempty"`
	// DryRun says what would be deleted, and deletes nothing.
	DryRun bool `json:"dryRun,omitempty"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *RetentionInput) UnmarshalJSON(text []byte) error {
	type plain RetentionInput
	return in.unknown.decode(text, (*plain)(in))
}

// DefaultDays is the key of RetentionInput.Days for types that are not named.
const DefaultDays = "default"

// WithDefaults fills what is empty.
func (in RetentionInput) WithDefaults() RetentionInput {
	if in.Repository == "" {
		in.Repository = snapshot.DefaultRepository
	}
	if len(in.Indices) == 0 {
		in.Indices = []string{telemetry.IndexPrefix + "*"}
	}
	return in
}

// Validate reports what cannot be meant.
func (in RetentionInput) Validate() error {
	var errs []error
	if len(in.Days) == 0 {
		errs = append(errs, errors.New(`days: say how long indices are kept, such as {"default": 30}`))
	}
	for _, kind := range workflow.DeterministicKeys(in.Days) {
		days := in.Days[kind]
		if kind != DefaultDays && !slices.Contains(recordTypes(), kind) {
			errs = append(errs, fmt.Errorf("days: there is no type %q, but %s", kind, strings.Join(recordTypes(), ", ")))
		}
		if days < 1 {
			errs = append(errs, fmt.Errorf("days: %s is kept for %d days: 1 at the least", kind, days))
		}
	}
	for _, pattern := range in.Indices {
		if !strings.HasPrefix(pattern, telemetry.IndexPrefix) {
			errs = append(errs, fmt.Errorf("indices: %q does not begin with %q: nothing else is deleted", pattern, telemetry.IndexPrefix))
		}
	}
	return errors.Join(errs...)
}

func recordTypes() []string { return append(slices.Clone(telemetry.Types), telemetry.TypeOther) }

// byType spells the default out.
func (in RetentionInput) byType() map[string]int {
	days := map[string]int{}
	for _, kind := range recordTypes() {
		if own, named := in.Days[kind]; named {
			days[kind] = own
		} else if common, named := in.Days[DefaultDays]; named {
			days[kind] = common
		}
	}
	return days
}

// RetentionUncovered is the error type of an EnforceRetention that would have
// deleted what nothing else has.
const RetentionUncovered = "RetentionUncovered"

// EnforceRetention deletes the telemetry that is older than its type is kept, of
// what a good snapshot or the backup covers: indices of a day as they are, and
// single documents of the others. It fails, so that an operator looks, when
// there is more.
//
// Its history has about two dozen events.
func EnforceRetention(ctx workflow.Context, in RetentionInput) (snapshots.Retirement, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return snapshots.Retirement{}, err
	}
	var result snapshots.Retirement
	state := ""
	setState(ctx, &state, control.StateRunning)
	in = in.WithDefaults()
	if err := in.Validate(); err != nil {
		setState(ctx, &state, stateFailed)
		return result, temporal.NewNonRetryableApplicationError("the input: "+err.Error(), "InvalidInput", nil)
	}
	result, err := deleteOld(ctx, snapshots.RetentionCall{Repository: in.Repository, Indices: in.Indices, Days: in.byType(), DryRun: in.DryRun})
	if err != nil {
		setState(ctx, &state, stateFailed)
		return result, fmt.Errorf("delete what is past its retention: %w", err)
	}
	workflow.SetCurrentDetails(ctx, retirementMarkdown(result, in.DryRun))
	if len(result.Uncovered) > 0 {
		setState(ctx, &state, stateFailed)
		return result, temporal.NewNonRetryableApplicationError(fmt.Sprintf(
			"%d indices past their retention, or parts of them, stay, since nothing else has all of their documents: %s",
			len(result.Uncovered)+result.More, strings.Join(result.Uncovered[:min(len(result.Uncovered), mostNamed)], "; ")), RetentionUncovered, nil, result)
	}
	setState(ctx, &state, StateDone)
	return result, nil
}

// deleteOld deletes indices of a day, and beside that the documents of others:
// neither holds up the other.
func deleteOld(ctx workflow.Context, call snapshots.RetentionCall) (snapshots.Retirement, error) {
	var result, trimmed snapshots.Retirement
	options := snapshotOptions
	options.Summary, options.ScheduleToCloseTimeout = "delete what is past its retention", retentionWithin
	whole := snapshots.EnforceRetention.Execute(workflow.WithActivityOptions(ctx, options), call)
	if workflow.GetVersion(ctx, "trim indices", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		err := whole.Get(ctx, &result)
		return result, err
	}
	parts := snapshots.TrimIndices.Execute(workflow.WithActivityOptions(ctx, trimOptions), snapshots.TrimCall{RetentionCall: call, For: trimFor})
	err := errors.Join(whole.Get(ctx, &result), parts.Get(ctx, &trimmed))
	return result.And(trimmed), err
}

// mostNamed bounds the indices that an error names; the details have more.
const mostNamed = 5

// retentionWithin bounds how long it is tried: the next day's run begins anew.
const retentionWithin = 12 * time.Hour

func retirementMarkdown(r snapshots.Retirement, dry bool) string {
	done := "Deleted"
	if dry {
		done = "Would delete"
	}
	var b strings.Builder
	b.WriteString("### Retention of indices\n\n" + done + fmt.Sprintf(" %d indices with %d documents, and %d documents of other indices.\n",
		len(r.Deleted), r.Documents, r.TrimmedDocuments()))
	for _, name := range r.Deleted {
		b.WriteString("- " + name + "\n")
	}
	for _, trim := range r.Trimmed {
		b.WriteString("- " + trim.String() + "\n")
	}
	for _, text := range r.Uncovered {
		b.WriteString("- stays: " + text + "\n")
	}
	return b.String()
}
