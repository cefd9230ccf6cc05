package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"millrace/internal/config"
)

type doctorCommand struct {
	CheckTimeout time.Duration `help:"How long one check may take." default:"10s" env:"MILLRACE_CHECK_TIMEOUT"`
	ClockSkew    time.Duration `help:"How far the clock of a server may be from this machine's." default:"30s" env:"MILLRACE_CLOCK_SKEW"`
	Collectors   []string      `name:"collector-url" help:"Collectors to ask for /readyz." env:"MILLRACE_COLLECTOR_URL" placeholder:"URL,…"`
	Workers      []string      `name:"worker-url" help:"Workers to ask for /readyz (--listen)." env:"MILLRACE_WORKER_URL" placeholder:"URL,…"`
	Keys         string        `help:"File of the API keys." type:"path" env:"MILLRACE_KEYS"`

	windowFlags
	Sink                 config.Sink `embed:""`
	config.Elasticsearch `group:"elasticsearch"`
	Repository           config.RepositoryName `embed:"" group:"elasticsearch"`
	format
}

// Help is the details of starter doctor --help.
func (doctorCommand) Help() string {
	return "Run it after the first start, and whenever something is wrong, with the settings and credentials of the workers. " +
		"It changes nothing. FAIL means that the pipeline does not work, or may lose records; a warning, that an operator " +
		"should have a look. The exit status is 1 if a check failed."
}

// Validate reports limits that no check could keep.
func (d doctorCommand) Validate() error {
	var errs []error
	if d.CheckTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--check-timeout: %v is not positive", d.CheckTimeout))
	}
	if d.ClockSkew <= 0 {
		errs = append(errs, fmt.Errorf("--clock-skew: %v is not positive", d.ClockSkew))
	}
	return errors.Join(append(errs, d.windowFlags.Validate())...)
}

// What a check finds.
const (
	checkOK      = "ok"
	checkWarns   = "warn"
	checkFails   = "FAIL"
	checkSkipped = "skipped"
)

// verdict is what a check finds, and what to do about it.
type verdict struct {
	Status string `json:"status"`
	Detail string `json:"detail"`
	Do     string `json:"do"`
}

func fine(detail string, args ...any) verdict {
	return verdict{Status: checkOK, Detail: fmt.Sprintf(detail, args...)}
}

func warn(do, detail string, args ...any) verdict {
	return verdict{checkWarns, fmt.Sprintf(detail, args...), do}
}

func fail(do, detail string, args ...any) verdict {
	return verdict{checkFails, fmt.Sprintf(detail, args...), do}
}

func skip(why string) verdict { return verdict{Status: checkSkipped, Detail: why} }

// check looks at one thing, and changes nothing that lasts.
type check struct {
	group, name string
	do          string // where look fails
	cluster     bool   // it is about what only --sink elasticsearch has
	look        func(ctx context.Context) (verdict, error)
}

// finding is a line of the result.
type finding struct {
	Check string `json:"check"`
	Group string `json:"group"`
	verdict
}

// awayError is why a check is skipped: another one reports what it needs.
type awayError struct{ what string }

// Error names what is away.
func (e awayError) Error() string { return "needs " + e.what + ", which failed above" }

// Run makes all checks at the same time, and prints them in their order.
func (d doctorCommand) Run(ctx context.Context, by who, r *config.Resources, out output, logger *slog.Logger) error {
	checks := newExam(d, by, r, logger).checks()
	waiting, stop := newWaiting(checks), func() {}
	if isTerminal(os.Stderr) {
		stop = waiting.show(&screen{to: os.Stderr})
	}
	found := examine(ctx, d.CheckTimeout, checks, waiting)
	stop()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err := d.print(out, found, func() { writeFindings(out, found) }); err != nil {
		return err
	}
	if failed := count(found, checkFails); failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(found))
	}
	return nil
}

// examine makes all checks at the same time: nothing that is down keeps others from their answer.
func examine(ctx context.Context, timeout time.Duration, checks []check, waiting *waiting) []finding {
	found := make([]finding, len(checks))
	answers := make(chan int)
	for i, c := range checks {
		found[i] = finding{Check: c.name, Group: c.group}
		go func() {
			found[i].verdict = c.make(ctx, timeout)
			answers <- i
		}()
	}
	for range checks {
		waiting.done(<-answers)
	}
	return found
}

// noticeWithin is how long a check may take to notice that its time is over.
const noticeWithin = time.Second

// make makes the check, and gives up when its time is over, whether it notices or not.
func (c check) make(ctx context.Context, timeout time.Duration) verdict {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type answer struct {
		verdict
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		v, err := c.look(ctx)
		answered <- answer{v, err}
	}()
	var got answer
	select {
	case got = <-answered:
	case <-ctx.Done():
		select {
		case got = <-answered: // it may know better why
		case <-time.After(noticeWithin):
			got.err = ctx.Err()
		}
	}
	var away awayError
	switch {
	case got.err == nil:
		return got.verdict
	case errors.As(got.err, &away):
		return skip(away.Error())
	case ctx.Err() != nil:
		return fail(c.do, "no answer within %v (--check-timeout)", timeout)
	}
	return fail(c.do, "%s", detailOf(got.err))
}

// detailOf is an error in one line.
func detailOf(err error) string {
	return inOneLine(strings.ReplaceAll(err.Error(), "\n", "; "), longestDetail)
}

// longestDetail is how many characters of an error are printed: servers may write pages.
const longestDetail = 400

func count(found []finding, status string) (n int) {
	for _, f := range found {
		if f.Status == status {
			n++
		}
	}
	return n
}

func writeFindings(out output, found []finding) {
	group := ""
	for _, f := range found {
		if f.Group != group {
			group = f.Group
			fmt.Fprintln(out, strings.ToUpper(group))
		}
		fmt.Fprintf(out, "%-8s%s: %s\n", f.Status, f.Check, f.Detail)
		if f.Do != "" {
			fmt.Fprintf(out, "        %s\n", f.Do)
		}
	}
	fmt.Fprintf(out, "%d checks: %d ok, %d warnings, %d failed, %d skipped\n", len(found),
		count(found, checkOK), count(found, checkWarns), count(found, checkFails), count(found, checkSkipped))
}
