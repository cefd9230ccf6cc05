package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"millrace/internal/load"
)

type sendCommand struct {
	load.Settings
	Prefix string  `name:"run" help:"Prefix of the records' ids; default: a new one. The same prefix sends the same records again, as duplicates." placeholder:"NAME"`
	Bad    float64 `help:"Share of records, from 0 to 1, that the collector accepts and Elasticsearch rejects." default:"0"`
	format
}

// Help is the details of starter send --help.
func (sendCommand) Help() string {
	return `Fails if a record was refused, or not accepted in time.

Examples:

    starter send --key K --records 1000
    starter send --key K --for 10m --rate 500 --duplicates 0.1 --bad 0.01
    starter send --key K --records 1000 --protocol otlp`
}

var runName = regexp.MustCompile(`^[a-z0-9-]*$`)

// Validate reports what cannot work; load.Settings has more.
func (s sendCommand) Validate() error {
	var errs []error
	if s.Bad < 0 || s.Bad > 1 {
		errs = append(errs, fmt.Errorf("--bad: %v is not from 0 to 1", s.Bad))
	}
	if !runName.MatchString(s.Prefix) {
		errs = append(errs, fmt.Errorf("--run: %q is not of lower-case letters, digits and hyphens", s.Prefix))
	}
	return errors.Join(errs...)
}

// sent is what became of the records.
type sent struct {
	Run          string  `json:"run"`
	Accepted     uint64  `json:"accepted"`
	Duplicates   uint64  `json:"duplicates"`
	Refused      uint64  `json:"refused"`
	GivenUp      uint64  `json:"given_up"`
	Retries      uint64  `json:"retries"`
	Seconds      float64 `json:"seconds"`
	AckP50Millis float64 `json:"ack_p50_ms"`
	AckP99Millis float64 `json:"ack_p99_ms"`
}

// interval lies between the timestamps of two records when they are sent as
// fast as it goes.
const interval = 100 * time.Microsecond

// Run sends the records, and says each second how many it has.
func (s sendCommand) Run(ctx context.Context, out output) error {
	start := time.Now()
	source := &load.Source{Run: s.Prefix, Start: start.UTC().Truncate(time.Millisecond), Interval: interval, BadShare: s.Bad}
	if s.Prefix == "" {
		source.Run = "starter-" + strings.ToLower(rand.Text()[:8])
	}
	if s.Rate > 0 {
		source.Interval = time.Duration(float64(time.Second) / s.Rate)
	}
	sender := load.NewSender(source, s.Settings)
	ended := make(chan error, 1)
	go func() { ended <- sender.Run(ctx) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var err error
	for running := true; running; {
		select {
		case err = <-ended:
			running = false
		case <-tick.C:
			c := sender.Counts()
			fmt.Fprintf(os.Stderr, "%3.0f s: %d accepted, %d duplicates, %d refused, %d attempts made again\n",
				time.Since(start).Seconds(), c.Accepted, c.Duplicates, c.Refused, c.Retries)
		}
	}
	c := sender.Counts()
	result := sent{
		Run: source.Run, Accepted: c.Accepted, Duplicates: c.Duplicates, Refused: c.Refused, GivenUp: c.GivenUp, Retries: c.Retries,
		Seconds:      time.Since(start).Seconds(),
		AckP50Millis: millis(sender.Latency.Quantile(0.5)), AckP99Millis: millis(sender.Latency.Quantile(0.99)),
	}
	return errors.Join(s.print(out, result, func() { result.write(out) }), err, result.judge(ctx))
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s sent) write(out output) {
	table(out,
		[]string{"accepted", fmt.Sprint(s.Accepted)},
		[]string{"duplicates", fmt.Sprint(s.Duplicates)},
		[]string{"refused", fmt.Sprint(s.Refused)},
		[]string{"given up", fmt.Sprint(s.GivenUp)},
		[]string{"attempts made again", fmt.Sprint(s.Retries)},
		[]string{"records a second", fmt.Sprintf("%.0f", float64(s.Accepted+s.Duplicates)/s.Seconds)},
		[]string{"answered in", fmt.Sprintf("%.1f ms (p50), %.1f ms (p99)", s.AckP50Millis, s.AckP99Millis)},
		[]string{"ids", s.Run + "-0, -1, …"},
	)
}

// judge says what is not as it should be.
func (s sent) judge(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case s.GivenUp > 0:
		return fmt.Errorf("%d records were not accepted in time: look at /readyz at --listen-ops of the collector", s.GivenUp)
	case s.Refused > 0:
		return fmt.Errorf("%d records were refused: is the collector of another version?", s.Refused)
	}
	return nil
}
