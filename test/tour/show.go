package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/deploy/local"
	"millrace/starter/console"
	"millrace/test/kit/browser"
)

//go:embed tour.mjs
var pictures []byte

// mostLines bounds what is printed of one thing.
const mostLines = 8

// play makes an act happen, shows what operators see, ends it, and judges the alerts.
func (t *tour) play(ctx context.Context, n int, a act) error {
	fmt.Printf("\n== %d of %d: %s\n", n, len(acts), a.title)
	if err := t.alarms.Await(ctx, patience, memory...); err != nil {
		return err
	}
	if err := a.happen(ctx, t); err != nil {
		return err
	}
	expected := a.alarms
	expected.May = slices.Concat(expected.May, memory)
	if _, _, err := t.alarms.Judge(ctx, patience, expected); err != nil { // waits for those that must fire
		return err
	}
	if err := t.show(ctx, n, a); err != nil {
		return err
	}
	if err := a.mend(ctx, t); err != nil {
		return err
	}
	_, wrong, err := t.alarms.Judge(ctx, patience, expected)
	t.result.AlertsWrong += len(wrong)
	for _, one := range wrong {
		fmt.Println("WRONG     ", one)
	}
	return err
}

// show prints what console, alerts, starter and Temporal's UI show, and takes pictures.
func (t *tour) show(ctx context.Context, n int, a act) error {
	if err := t.showAlerts(ctx); err != nil {
		return err
	}
	if err := t.showConsole(ctx, a.console); err != nil {
		return err
	}
	for _, command := range a.starter {
		out, err := t.pipeline.Starter(ctx, command...)
		if err != nil {
			_, out, _ = strings.Cut(err.Error(), "\n") // what it printed
		}
		say("starter", "$ starter %s", strings.Join(command, " "))
		lines(out)
	}
	found, err := t.showWorkflows(ctx, a.ui)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("tour-%d-", n)
	ui := t.stack.Service(local.Temporal).URL() + "/namespaces/" + client.DefaultNamespace + "/workflows?query=" + url.QueryEscape(a.ui)
	pages, err := json.Marshal([]map[string]string{
		{"name": name + "console", "url": t.console.URL, "text": a.console},
		{"name": name + "ui", "url": ui, "text": found},
	})
	if err != nil {
		return fmt.Errorf("write what to take pictures of: %w", err)
	}
	say("pictures", "%s, %s", t.picture(name+"console"), t.picture(name+"ui"))
	return t.browser.Run(ctx, browser.Script{Name: "tour.mjs", Text: pictures, Shots: t.Images, Env: []string{"PAGES=" + string(pages)}})
}

func (t *tour) showAlerts(ctx context.Context) error {
	firing, err := t.alarms.API.Alerts(ctx)
	if err != nil {
		return fmt.Errorf("ask for the alerts: %w", err)
	}
	var texts []string
	for _, alert := range firing.Alerts {
		name := string(alert.Labels["alertname"])
		if alert.State != v1.AlertStateFiring || slices.Contains(t.alarms.Ignored, name) {
			continue
		}
		texts = append(texts, fmt.Sprintf("%-7s %-24s %s", alert.Labels["severity"], name, alert.Annotations["summary"]))
	}
	slices.Sort(texts)
	for _, text := range slices.Compact(texts) {
		say("alert", "%s", text)
	}
	return nil
}

// showConsole waits until the console says something, and prints what is wrong by it.
func (t *tour) showConsole(ctx context.Context, text string) error {
	var state console.State
	if err := until(ctx, "the console to say "+text, func() (bool, error) {
		raw, err := t.get(ctx, t.console.URL+"/state")
		if err != nil {
			return false, err
		}
		state = console.State{}
		if err := json.Unmarshal(raw, &state); err != nil {
			return false, fmt.Errorf("read the console's state: %w", err)
		}
		return slices.ContainsFunc(state.Problems, func(p console.Problem) bool { return strings.Contains(p.What, text) }), nil
	}); err != nil {
		return err
	}
	for _, p := range state.Problems[:min(mostLines, len(state.Problems))] {
		say("console", "%-5s %s", p.Level, p.What)
		if p.Cost != "" {
			say("", "      it costs: %s", p.Cost)
		}
		if do := cmp.Or(strings.Join(p.Do, "; "), p.Advice); do != "" {
			say("", "      do: %s", do)
		}
	}
	return nil
}

// showWorkflows waits until a query of Temporal's UI finds workflows, prints them, and returns the id of one.
func (t *tour) showWorkflows(ctx context.Context, query string) (first string, err error) {
	var found *workflowservice.ListWorkflowExecutionsResponse
	if err := until(ctx, "workflows of "+query, func() (_ bool, err error) {
		found, err = t.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: mostLines})
		return len(found.GetExecutions()) > 0, err
	}); err != nil {
		return "", err
	}
	say("UI", "%s", query)
	for _, e := range found.GetExecutions() {
		say("", "%-10s %s", strings.ToLower(e.GetStatus().String()), e.GetExecution().GetWorkflowId())
	}
	return found.GetExecutions()[0].GetExecution().GetWorkflowId(), nil
}

func (t *tour) get(ctx context.Context, url string) (body json.RawMessage, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the console: %w", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return nil, fmt.Errorf("read the console's answer: %w", err)
	}
	return body, nil
}

// say prints a line about something.
func say(about, format string, args ...any) {
	fmt.Printf("%-10s %s\n", about, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// lines prints the first ones of a text.
func lines(text string) {
	all := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range all[:min(mostLines, len(all))] {
		say("", "  %s", line)
	}
	if more := len(all) - mostLines; more > 0 {
		say("", "  … and %d lines more", more)
	}
}
