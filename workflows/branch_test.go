package workflows

import (
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"millrace/internal/telemetry"
)

func TestABranchIsFoundByHowItsNumbersEnd(t *testing.T) {
	t.Parallel()
	at := func(first, last string) telemetry.Range {
		return telemetry.Range{Shard: "shard", First: "4959" + first, Last: "4959" + last}
	}
	tree := func() *BatchNode {
		return &BatchNode{Range: at("0100", "0999"), State: NodeSplit, Children: []*BatchNode{
			{Range: at("0123", "0123"), State: NodeWaiting}, {Range: at("0423", "0423"), State: NodeWaiting},
			{Range: at("0777", "0888"), State: NodeRunning},
		}}
	}
	for name, c := range map[string]struct {
		branch Branch
		found  []int // of the children
		err    string
	}{
		"the whole tree":    {branch: Branch{}, found: []int{0, 1, 2}},
		"the root, in full": {branch: Branch{First: "49590100", Last: "49590999"}, found: []int{0, 1, 2}},
		"a leaf, in full":   {branch: Branch{First: "49590123", Last: "49590123"}, found: []int{0}},
		"as it is shown":    {branch: Branch{First: cutOff + "0423", Last: cutOff + "0423"}, found: []int{1}},
		"few digits":        {branch: Branch{First: "77", Last: "8"}, found: []int{2}},
		"too few":           {branch: Branch{First: "23", Last: "23"}, err: "2 open branches end with 23 and 23, like shard 49590123-49590123 (0 records) and shard 49590423-49590423 (0 records): give more digits"},
		"none":              {branch: Branch{First: "24", Last: "24"}, err: "no open branch from 24 to 24"},
		"half a name":       {branch: Branch{Last: "0123"}, err: "no open branch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env, b := suite.NewTestWorkflowEnvironment(), &batch{in: BatchInput{Tree: tree()}, interrupt: func() {}}
			env.ExecuteWorkflow(func(ctx workflow.Context) error {
				_, err := b.command(ctx, Skip, c.branch)
				return err
			})
			if err := env.GetWorkflowError(); (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("it is answered %v", err)
			}
			for n, leaf := range b.in.Tree.Children {
				if leaf.givenUp() != slices.Contains(c.found, n) {
					t.Errorf("leaf %d is %+v", n, leaf)
				}
			}
		})
	}
}

// TestWhatIsGivenUpIsNotRetried, and the operator who asks learns it.
func TestWhatIsGivenUpIsNotRetried(t *testing.T) {
	t.Parallel()
	b := &batch{interrupt: func() {}, in: BatchInput{Tree: &BatchNode{Range: telemetry.Range{Shard: "shard", First: "1", Last: "10", Count: 10}, State: NodeRunning}}}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		for _, command := range []string{Retry, Skip, Retry} {
			if _, err := b.command(ctx, command, Branch{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "on its way to the ledger") || b.in.Tree.Asked != Skip {
		t.Errorf("it is answered %v, the tree is %+v", err, b.in.Tree)
	}
}
