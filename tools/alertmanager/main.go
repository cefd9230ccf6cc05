// Command alertmanager says what Alertmanager would do with alerts by a configuration: for each, the receiver, or none if
// other alerts of the same list inhibit it. It reads a list of label sets as JSON, and writes a list of names.
package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/provider"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(file string) error {
	cfg, err := config.LoadFile(file)
	if err != nil {
		return fmt.Errorf("load the configuration: %w", err)
	}
	var alerts []model.LabelSet
	if err := json.NewDecoder(os.Stdin).Decode(&alerts); err != nil {
		return fmt.Errorf("read the alerts: %w", err)
	}
	active := fed{to: make(chan *types.Alert)}
	inhibitor := inhibit.NewInhibitor(active, cfg.InhibitRules, types.NewMarker(prometheus.NewRegistry()), slog.Default())
	go inhibitor.Run()
	defer inhibitor.Stop()
	active.feed(alerts)
	root, receivers := dispatch.NewRoute(cfg.Route, nil), make([]string, len(alerts))
	for i, labels := range alerts {
		if !inhibitor.Mutes(labels) {
			receivers[i] = root.Match(labels)[0].RouteOpts.Receiver
		}
	}
	return json.NewEncoder(os.Stdout).Encode(receivers)
}

// fed is the source of an inhibitor's alerts.
type fed struct {
	provider.Alerts // which an inhibitor does not use but for Subscribe
	to              chan *types.Alert
}

// Subscribe implements provider.Alerts.
func (f fed) Subscribe() provider.AlertIterator {
	return provider.NewAlertIterator(f.to, make(chan struct{}), nil)
}

// feed returns when the inhibitor has all alerts: it takes the one that follows them, which nothing matches, when it has
// done with the last.
func (f fed) feed(all []model.LabelSet) {
	for _, labels := range append(all, model.LabelSet{}) {
		f.to <- &types.Alert{Alert: model.Alert{Labels: labels, StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour)}}
	}
}
