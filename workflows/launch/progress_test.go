package launch

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"millrace/activities/recovery"
	"millrace/workflows"
)

// moments is a recovery that has moved whenever it is asked something: a look is
// "calls/records" of the workflow, or the records of each call that runs.
type moments struct {
	client.Client
	t     *testing.T
	looks []string
}

func (m *moments) next() (look string) {
	if len(m.looks) == 0 {
		m.t.Fatal("it is asked more than that")
	}
	look, m.looks = m.looks[0], m.looks[1:]
	return look
}

func (m *moments) payloads(value any) *common.Payloads {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(value)
	if err != nil {
		m.t.Fatal(err)
	}
	return payloads
}

// QueryWorkflow answers as the workflow does.
func (m *moments) QueryWorkflow(context.Context, string, string, string, ...any) (converter.EncodedValue, error) {
	p := workflows.RecoverProgress{Stage: workflows.StageBackfill}
	if _, err := fmt.Sscanf(m.next(), "%d/%d", &p.Calls, &p.RecordsDone); err != nil {
		m.t.Fatal(err)
	}
	return client.NewValue(m.payloads(p)), nil
}

// DescribeWorkflowExecution answers as the server does.
func (m *moments) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	described := &workflowservice.DescribeWorkflowExecutionResponse{}
	for _, records := range strings.Fields(m.next()) {
		var live recovery.SweepProgress
		if _, err := fmt.Sscan(records, &live.Counts.Records); err != nil {
			m.t.Fatal(err)
		}
		described.PendingActivities = append(described.PendingActivities, &workflowpb.PendingActivityInfo{
			ActivityType: &common.ActivityType{Name: "SweepObjects"}, HeartbeatDetails: m.payloads(live),
		})
	}
	return described, nil
}

func TestProgressKnowsOfCallsThatEndMeanwhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		looks []string
		want  int64
	}{
		"nothing runs":             {[]string{"0/700", ""}, 700},
		"one runs":                 {[]string{"1/700", "300", "1/700"}, 1000},
		"two run":                  {[]string{"2/700", "300 50", "2/700"}, 1050},
		"one has ended":            {[]string{"1/700", "", "1/700", "0/2000", ""}, 2000},
		"one ended, another began": {[]string{"1/700", "20", "1/2000", "1/2000", "20", "1/2000"}, 2020},
		"one has just begun":       {[]string{"0/700", "20", "1/700", "1/700", "20", "1/700"}, 720},
	} {
		m := &moments{t: t, looks: c.looks}
		p, err := Launcher{Client: m}.RecoverProgress(t.Context(), workflows.RecoverID)
		if err != nil || p.RecordsDone != c.want || len(m.looks) > 0 {
			t.Errorf("%s: %d records, %v, %v were not looked at", name, p.RecordsDone, err, m.looks)
		}
	}
	m := &moments{t: t}
	for n := range progressLooks {
		m.looks = append(m.looks, fmt.Sprintf("1/%d", n), "5", fmt.Sprintf("1/%d", n+1))
	}
	if p, err := (Launcher{Client: m}).RecoverProgress(t.Context(), workflows.RecoverID); err != nil || p.RecordsDone != progressLooks-1 {
		t.Errorf("of one that never rests: %+v, %v", p, err)
	}
}
