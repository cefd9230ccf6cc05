// Command grafana reads dashboards of Grafana with the types of its SDK, and reports each member that Grafana's model
// does not have, or has with another type.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	known := cog.NewRuntime()
	known.RegisterPanelcfgVariant(timeseries.VariantConfig())
	known.RegisterPanelcfgVariant(stat.VariantConfig())
	known.RegisterPanelcfgVariant(statetimeline.VariantConfig())
	known.RegisterDataqueryVariant(prometheus.VariantConfig())
	failed := false
	for _, file := range os.Args[1:] {
		if err := check(known, file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed || len(os.Args) == 1 {
		os.Exit(1)
	}
}

func check(known *cog.Runtime, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read a dashboard: %w", err)
	}
	if err := violations(new(dashboard.Dashboard).UnmarshalJSONStrict(text)); err != nil {
		return err
	}
	var d dashboard.Dashboard // the strict way leaves panels empty
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("read a dashboard: %w", err)
	}
	for _, p := range d.Panels {
		if p.Panel == nil {
			continue // a row
		}
		// The SDK reads a kind that it does not know without a look at its options.
		if _, is := known.ConfigForPanelcfgVariant(p.Panel.Type); !is {
			return fmt.Errorf("panel %d: kind %s is not checked here", *p.Panel.Id, p.Panel.Type)
		}
	}
	return violations(d.Validate())
}

// violations is nil where the SDK returns an empty list of them.
func violations(err error) error {
	var found cog.BuildErrors
	if errors.As(err, &found) && len(found) == 0 {
		return nil
	}
	return err
}
