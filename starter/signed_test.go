package main

import (
	"os"
	"os/user"
	"testing"

	"go.temporal.io/api/enums/v1"

	"millrace/workflows"
)

// TestHistoryNamesWhoGaveACommand: by default user and host.
func TestHistoryNamesWhoGaveACommand(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, true)
	p.env = append(p.env, "MILLRACE_OPERATOR=")
	p.must("process start")
	p.awaitHeartbeats()
	p.must("stream pause --by ada", "paused, by ada")
	p.must("process stop --by grace --yes")
	identities := map[enums.EventType]string{}
	for events := p.client.GetWorkflowHistory(t.Context(), workflows.ProcessStreamID(streamName), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch event.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
			identities[event.GetEventType()] = event.GetWorkflowExecutionStartedEventAttributes().GetIdentity()
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
			identities[event.GetEventType()] = event.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetMeta().GetIdentity()
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
			identities[event.GetEventType()] = event.GetWorkflowExecutionCancelRequestedEventAttributes().GetIdentity()
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[enums.EventType]string{
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:          me.Username + "@" + host,
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:  "ada",
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: "grace",
	} {
		if identities[kind] != want {
			t.Errorf("%v names %q, not %q", kind, identities[kind], want)
		}
	}
}

// TestDangerousCommandsAsk: where there is no terminal, they need --yes, and nothing is
// done.
func TestDangerousCommandsAsk(t *testing.T) {
	t.Parallel()
	p := started(t)
	for _, command := range []string{
		"process stop", "retention run --days default=7", "recover --replace", "batch skip batch/of/everything",
	} {
		p.fails(command, "give --yes, since there is no terminal to ask on")
	}
	p.must("shard show 0", "state            running\n")
	p.must("recover status", "there was none")
}
