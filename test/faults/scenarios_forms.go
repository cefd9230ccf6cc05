package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/container"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
)

// forms is of records of the stream that hold documents in different ways.
var forms = []scenario{{
	number: 48, name: "form-changes-under-load", alarms: alarms.Expected{May: alarms.AndLate("NothingIsProcessed", "TargetDown")}, spans: time.Minute,
	fault: changeForms, check: checkForms,
}}

// allForms are the forms, of which the first is that of the other scenarios.
func (s *running) allForms() []string {
	all := []string{s.options.Form}
	for f := container.Single; f <= container.Pack; f++ {
		if f.String() != s.options.Form {
			all = append(all, f.String())
		}
	}
	return all
}

// changeForms lets an operator set each form, and at last the one that was set before. A shard is split meanwhile, of which
// writers learn when what they put into it goes elsewhere.
func changeForms(ctx context.Context, s *running) error {
	if err := s.split(ctx); err != nil {
		return err
	}
	all := s.allForms()
	for _, form := range append(all[1:], all[0]) {
		if _, err := s.pipeline.Starter(ctx, "format", form); err != nil {
			return err
		}
		// A collector that runs learns of it later than the load lasts.
		if err := errors.Join(s.collector.Stop(), s.collector.Restart(ctx)); err != nil {
			return err
		}
		if err := s.awaitMore(ctx, 0.2); err != nil {
			return err
		}
	}
	return nil
}

// checkForms holds that the scenario's records are in the stream in each form.
func checkForms(ctx context.Context, s *running, _ audit.Report) error {
	found := map[string]int{}
	if _, err := s.eachInStream(ctx, func(_ string, r stream.Record) {
		for _, d := range r.Documents() {
			if _, ours := s.sent.Source.Number(telemetry.ParseFields(d.Data).ID); ours {
				found[container.FormOf(r.Data).String()]++
			}
		}
	}); err != nil {
		return err
	}
	for _, form := range s.allForms() {
		if found[form] == 0 {
			return fmt.Errorf("no document was put in the form %s: %v", form, found)
		}
	}
	return nil
}
