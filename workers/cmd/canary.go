package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/canary"
	"millrace/internal/config"
	"millrace/workers"
	"millrace/workflows"
)

// Canary says where the canary posts, and as whom.
type Canary struct {
	URLs    map[string]string `name:"canary-urls" help:"Collectors that the canary posts to, by region: eu-west-1=https://eu.example,…; empty: this worker runs no canary." placeholder:"REGION=URL,…" mapsep:"," env:"MILLRACE_CANARY_URLS"`
	Key     string            `name:"canary-key" help:"API key of the canary, which \"collector keys create --canary\" prints." env:"MILLRACE_CANARY_KEY"`
	KeyFile string            `name:"canary-key-file" help:"File that holds the API key of the canary, in place of --canary-key. It is read at start." type:"existingfile" env:"MILLRACE_CANARY_KEY_FILE"`
}

// canaryQueue is the queue as --queues names it.
var canaryQueue = strings.TrimPrefix(workflows.CanaryQueue, workflows.QueuePrefix)

// regionName is what a region may be called: it is a label of metrics.
var regionName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// Validate reports what cannot work. It prints no URL, in which there may be a password.
func (c Canary) Validate() error {
	var errs []error
	for _, region := range workflow.DeterministicKeys(c.URLs) {
		parsed, err := url.Parse(c.URLs[region])
		switch {
		case !regionName.MatchString(region):
			errs = append(errs, fmt.Errorf("--canary-urls: region %q does not match %s", region, regionName))
		case err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https":
			errs = append(errs, fmt.Errorf("--canary-urls: that of region %s is no http or https address", region))
		case parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "":
			errs = append(errs, fmt.Errorf("--canary-urls: that of region %s has more than a host and a path", region))
		}
	}
	switch {
	case c.Key != "" && c.KeyFile != "":
		errs = append(errs, errors.New("--canary-key and --canary-key-file: give one of them"))
	case len(c.URLs) > 0 && c.Key == "" && c.KeyFile == "":
		errs = append(errs, errors.New("--canary-key: the canary needs the key that `collector keys create --canary` prints, or --canary-key-file"))
	}
	return errors.Join(errs...)
}

// validateCanary refuses what would never run.
func (s *settings) validateCanary() error {
	switch {
	case s.Sink.Kind == config.SinkFile && len(s.Canary.URLs) > 0:
		return errors.New("--canary-urls: the canary searches its records, and --sink file has no search: leave it out, or start this worker with --sink elasticsearch")
	case slices.Contains(s.Queues, canaryQueue) && len(s.Canary.URLs) == 0:
		return errors.New("--queues: canary: the canary needs --canary-urls")
	}
	return nil
}

// readKey reads the key from its file, if there is one.
func (c *Canary) readKey() error {
	if c.KeyFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return fmt.Errorf("--canary-key-file: %w", err)
	}
	if c.Key = strings.TrimSpace(string(text)); c.Key == "" {
		return fmt.Errorf("--canary-key-file: %s is empty", c.KeyFile)
	}
	return nil
}

// canary is the starter of the canary's worker; none where it has nowhere to post.
func (s *settings) canary(c client.Client, to target) map[string]func() worker.Worker {
	if to.cluster == nil || len(s.Canary.URLs) == 0 {
		return nil
	}
	collectors := map[string]string{}
	for region, address := range s.Canary.URLs {
		collectors[region] = strings.TrimRight(address, "/")
	}
	return map[string]func() worker.Worker{
		canaryQueue: func() worker.Worker { return workers.Canary(c, canary.New(collectors, s.Canary.Key, to.cluster)) },
	}
}
