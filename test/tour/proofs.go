package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace/deploy/local"
)

// soakKills is the time from one kill of the soak to the next, and from one audit to the next.
const soakKills = 30 * time.Second

// prove runs the programs and tests that prove the rest, one after the other.
func (t *tour) prove(ctx context.Context) error {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	p := prover{root: root}
	var wrong []error // the other proofs are worth their time all the same
	var find struct {
		P99 float64 `json:"find_p99_ms"`
		IDs int     `json:"find_ids"`
	}
	wrong = append(wrong, p.program(ctx, &find, "find", "--ids", strconv.Itoa(t.IDs)))
	t.result.FindP99, t.result.FindIDs = find.P99, find.IDs

	var soak struct {
		Residual int64 `json:"residual_max"`
		Kills    int   `json:"kills"`
	}
	wrong = append(wrong, p.program(ctx, &soak, "soak", "--for", t.Soak.String(), "--every", soakKills.String(), "--audit-every", soakKills.String()))
	t.result.ResidualMax, t.result.Kills = soak.Residual, soak.Kills

	t.result.AlertsTested, err = p.count(ctx, "./deploy/observability", "TestAlertsFire", `(\d+) alerts fire and stay silent`)
	wrong = append(wrong, err, p.commands(ctx, &t.result))
	if t.Faults == "none" {
		return errors.Join(wrong...)
	}
	var args []string
	if t.Faults != "all" {
		args = append(args, "--only", t.Faults)
	}
	var faults struct {
		Scenarios int
		Wrong     int `json:"alerts_wrong"`
	}
	wrong = append(wrong, p.program(ctx, &faults, "faults", args...))
	t.result.FaultScenarios, t.result.AlertsWrong = faults.Scenarios, t.result.AlertsWrong+faults.Wrong
	return errors.Join(wrong...)
}

// prover runs programs and tests of the clone.
type prover struct{ root string }

// program runs a program of .local/bin, shows what it prints, and reads its last line. One that fails says there what is
// wrong, too.
func (p prover) program(ctx context.Context, last any, name string, args ...string) error {
	fmt.Printf("\n== %s %s\n", name, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, filepath.Join(p.root, ".local", "bin", name), args...)
	cmd.Dir, cmd.Stderr = p.root, os.Stderr
	out, failed := p.run(cmd)
	if failed != nil {
		failed = fmt.Errorf("%s: %w", name, failed)
	}
	all := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(all[len(all)-1], last); err != nil {
		return errors.Join(failed, fmt.Errorf("read what %s says: %w", name, err))
	}
	return failed
}

// run runs a command, shows its output line by line, and returns it.
func (p prover) run(cmd *exec.Cmd) ([]byte, error) {
	var all bytes.Buffer
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has children of its own
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("read its output: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start it: %w", err)
	}
	for output := bufio.NewScanner(pipe); output.Scan(); {
		fmt.Printf("  %s\n", output.Text())
		all.WriteString(output.Text() + "\n")
	}
	if err := cmd.Wait(); err != nil {
		return all.Bytes(), fmt.Errorf("run it: %w", err)
	}
	return all.Bytes(), nil
}

// test runs one test beside a Temporal server, whether it passes or not, and returns what it printed.
func (p prover) test(ctx context.Context, pkg, name string) ([]byte, error) {
	fmt.Printf("\n== go test %s -run %s\n", pkg, name)
	cmd := exec.CommandContext(ctx, filepath.Join(p.root, ".local", "bin", "local"), "run", "--services", local.Temporal, "--",
		"go", "test", "-count=1", "-vet=off", "-v", "-run", "^"+name+"$", pkg)
	cmd.Dir, cmd.Stderr = p.root, os.Stderr
	return p.run(cmd)
}

// count runs a test that must pass, and returns the number that it logs.
func (p prover) count(ctx context.Context, pkg, name, pattern string) (int, error) {
	out, err := p.test(ctx, pkg, name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	found := regexp.MustCompile(pattern).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("%s does not say how many", name)
	}
	return strconv.Atoi(string(found[1]))
}

// ranCommands is what the test of the documents' commands logs for each tool.
var ranCommands = regexp.MustCompile(`(\d+) commands of (\w+), (\d+) failed`)

// commands runs every command of temporal and tctl that the documents have.
func (p prover) commands(ctx context.Context, r *result) error {
	out, failed := p.test(ctx, "./docs", "TestDocumentedCommandsRun")
	if err := r.enterCommands(out); err != nil {
		return err
	}
	if failed != nil && r.CommandsFailed == 0 { // it did not get that far
		return fmt.Errorf("run the commands of the documents: %w", failed)
	}
	return nil
}

// enterCommands enters what the test of the documents' commands has said.
func (r *result) enterCommands(out []byte) error {
	for _, found := range ranCommands.FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.Atoi(found[1])
		if err != nil {
			return fmt.Errorf("read how many commands were run: %w", err)
		}
		wrong, err := strconv.Atoi(found[3])
		if err != nil {
			return fmt.Errorf("read how many commands failed: %w", err)
		}
		switch found[2] {
		case "temporal":
			r.TemporalCommands = n
		case "tctl":
			r.TctlCommands = n
		}
		r.CommandsFailed += wrong
	}
	return nil
}
