package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"millrace/deploy/local"
	"millrace/test/mutants"
)

// mutantPatience is enough: what a mutant has lost does not come.
const mutantPatience = 40 * time.Second

// mutantResult is the last line of --mutants.
type mutantResult struct {
	Mutants int `json:"mutants"`
	Noticed int `json:"noticed"`
}

// planMutants runs, for each of these mutants, the scenario or test that must fail.
func planMutants(only []string) (func(context.Context, *harness) error, error) {
	chosen := mutants.All
	if len(only) > 0 {
		chosen = nil
		for _, name := range only {
			i := slices.IndexFunc(mutants.All, func(m mutants.Mutant) bool { return m.Name == name })
			if i < 0 {
				return nil, fmt.Errorf("there is no mutant %q", name)
			}
			chosen = append(chosen, mutants.All[i])
		}
	}
	return func(ctx context.Context, h *harness) error {
		h.options.Patience = min(h.options.Patience, mutantPatience)
		if h.options.Outage == 0 {
			h.options.Outage = 12 * time.Second
		}
		var total mutantResult
		var missed []error
		began := time.Now()
		for _, m := range chosen {
			since := time.Now()
			noticed, err := h.mutate(ctx, m)
			took := time.Since(since)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			total.Mutants++
			if err != nil {
				missed = append(missed, fmt.Errorf("mutant %s: %w", m.Name, err))
				fmt.Printf("%-30s NOT noticed in %.0f s: %v\n", m.Name, took.Seconds(), err)
				continue
			}
			total.Noticed++
			by := cmp.Or(m.Scenario, m.Test.Name)
			fmt.Printf("%-30s noticed in %.0f s by %s, since it breaks that %s:\n  %s\n",
				m.Name, took.Seconds(), by, m.Clause, strings.ReplaceAll(noticed, "\n", "\n  "))
		}
		fmt.Printf("%d of %d mutants were noticed in %.0f s\n", total.Noticed, total.Mutants, time.Since(began).Seconds())
		return errors.Join(json.NewEncoder(os.Stdout).Encode(total), errors.Join(missed...))
	}, nil
}

// mutate runs a mutant's scenario in a pipeline of its own, or its test, and
// returns what it found wrong.
func (h *harness) mutate(ctx context.Context, m mutants.Mutant) (noticed string, err error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(filepath.Dir(h.programs.Worker), "mutant-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the mutant: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if m.Scenario == "" {
		return m.Notice(ctx, root, dir, h.stack.Env())
	}
	what, err := choose([]string{m.Scenario}, false)
	if err != nil {
		return "", err
	}
	programs, err := m.Build(ctx, root, dir)
	if err != nil {
		return "", err
	}
	if err := h.start(ctx, programs, "mutant-"+m.Name, what...); err != nil {
		return "", err
	}
	report, missed := h.run(ctx, what[0])
	if err := errors.Join(h.mend(ctx), h.stop()); err != nil {
		return "", err
	}
	// A scenario that could not run to its audit has noticed nothing.
	if wrong := report.Clean(); missed != nil && wrong != nil {
		first, _, _ := strings.Cut(wrong.Error(), "; among them")
		return first, nil
	}
	var finding finding
	if errors.As(missed, &finding) {
		first, _, _ := strings.Cut(finding.what, "\n")
		return first, nil
	}
	return "", fmt.Errorf("the records of %s are all where they belong (otherwise: %w)", m.Scenario, missed)
}
