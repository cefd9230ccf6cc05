package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/audit"
	"millrace/workflows"
)

const (
	// auditGrace is long enough for Temporal to list a batch on a busy machine.
	auditGrace = model.Duration(10 * time.Second)
	// auditRate goes through the whole backup within a minute.
	auditRate = 20_000

	// backupWithin has objects written during a short soak.
	backupWithin = "MILLRACE_BACKUP_WITHIN=5s"
)

// residual is what the audits have found.
type residual struct {
	audits int
	most   int64                 // records that one of them found nowhere
	last   workflows.AuditStatus // the one that ended last
}

// audit looks for all records of the backup while the worker, which does it, is killed.
func (s *soak) audit(ctx context.Context) error {
	run, err := s.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflows.AuditID, TaskQueue: workflows.RecoverQueue},
		workflows.AuditBackup, workflows.AuditInput{Request: audit.Request{All: true, Since: s.started, Grace: auditGrace, Rate: auditRate}})
	if err != nil {
		return fmt.Errorf("audit the backup: %w", err)
	}
	var status workflows.AuditStatus
	err = run.Get(ctx, &status)
	var failed *temporal.ApplicationError
	if errors.As(err, &failed) && failed.Type() == workflows.RecordsMissing {
		err = failed.Details(&status)
	}
	if err != nil {
		return fmt.Errorf("audit the backup: %w", err)
	}
	s.residual.audits++
	s.residual.most, s.residual.last = max(s.residual.most, status.Missing), status
	s.say("%8d audited   %8d missing", status.Checked, status.Missing)
	for _, one := range status.Examples {
		s.say("missing: %s", one)
	}
	return nil
}

// auditMeanwhile audits again and again while there is load.
func (s *soak) auditMeanwhile(ctx context.Context, loaded <-chan struct{}) error {
	for {
		select {
		case <-loaded:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(s.AuditEvery):
		}
		if err := s.audit(ctx); err != nil {
			return err
		}
	}
}

// auditAll audits until the backup has all that was accepted, and says if it never has.
func (s *soak) auditAll(ctx context.Context) error {
	last, moved := int64(0), time.Now()
	for {
		if err := s.audit(ctx); err != nil {
			return err
		}
		if now := s.residual.last; now.Checked >= int64(s.sender.Accepted.Len()) && now.Left+now.Unknown+now.Damaged == 0 {
			return nil
		} else if now.Checked != last {
			last, moved = now.Checked, time.Now()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("audit all that was accepted: of %d records, the backup has %d that can be checked: %+v", s.sender.Accepted.Len(), last, s.residual.last.Counts)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}
