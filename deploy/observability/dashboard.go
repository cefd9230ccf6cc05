package observability

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Dashboard is one of Grafana's.
type Dashboard struct {
	// ID is a part of its address and the name of its file.
	ID, Title, Description string
	// Shard adds a variable with which an operator chooses shards: $shard.
	Shard bool
	Rows  []Row
}

// Row is a heading with panels.
type Row struct {
	Title  string
	Panels []Panel
}

// Panel is one graph or figure.
type Panel struct {
	Title, Description string
	Unit               Unit
	Kind               Kind
	Queries            []Query
	// Runbook is a page of docs, and its heading, for who sees that something is wrong here.
	Runbook string
	// Empty says why a healthy pipeline has no series here, if that is so.
	Empty string
}

// Query is a line of a panel, or one for each series.
type Query struct {
	Expr   string // with $__rate_interval for the window of a rate
	Legend string // with labels in braces: {{shard}}
}

// Kind is how a panel shows its series.
type Kind string

// The kinds, as Grafana calls them.
const (
	Graph  Kind = "timeseries"
	Figure Kind = "stat"
	States Kind = "state-timeline"
)

// Unit is how Grafana writes a value.
type Unit string

// The units that panels use.
const (
	Seconds          Unit = "s"
	Bytes            Unit = "bytes"
	BytesPerSecond   Unit = "Bps"
	Share            Unit = "percentunit"
	RecordsPerSecond Unit = "suffix: records/s"
	CallsPerSecond   Unit = "suffix: calls/s"
	Count            Unit = "short"
	Times            Unit = "suffix: x" // how many times as much
)

// Filled is a query as Prometheus takes it, without Grafana's variables: rates are over this window, and of all shards.
func (q Query) Filled(window time.Duration) string {
	return strings.NewReplacer("$__rate_interval", model.Duration(window).String(), "$shard", ".*").Replace(q.Expr)
}

// Dashboards are all of them.
func Dashboards() []Dashboard {
	return []Dashboard{overviewBoard, shardBoard, ingestBoard, elasticsearchBoard, deadLettersBoard, backupBoard, temporalBoard}
}

// Files are the files of this folder that are made from code, by name.
func Files() (map[string][]byte, error) {
	rules, err := Rules(Options{})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"rules.yml": rules}
	for _, d := range Dashboards() {
		text, err := json.MarshalIndent(d.model(), "", "  ")
		if err != nil {
			return nil, fmt.Errorf("write the dashboard %s: %w", d.ID, err)
		}
		files["dashboards/"+d.ID+".json"] = append(text, '\n')
	}
	return files, nil
}

// object is one of JSON. Grafana's model has hundreds of members; those that are used here stand below, and a test reads
// the files with the types of Grafana's own SDK, which refuse any other.
type object = map[string]any

// source is the Prometheus that an operator chooses.
var source = object{"type": "prometheus", "uid": "${datasource}"}

// schemaVersion is that of Grafana 11; later ones migrate it.
const schemaVersion = 39

func (d Dashboard) model() object {
	return object{
		"uid": "millrace-" + d.ID, "title": "Millrace " + d.Title, "description": d.Description, "tags": []string{"millrace"},
		"schemaVersion": schemaVersion, "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "utc",
		"time":       object{"from": "now-3h", "to": "now"},
		"templating": object{"list": d.variables()},
		"links": []object{
			{"type": "dashboards", "title": "Millrace", "tags": []string{"millrace"}, "asDropdown": true, "includeVars": true, "keepTime": true,
				"icon": "external link", "tooltip": "", "url": "", "targetBlank": false},
			{"type": "link", "title": "Troubleshooting", "url": "${docs}troubleshooting.md", "icon": "doc", "tooltip": "What to do about each symptom",
				"tags": []string{}, "asDropdown": false, "includeVars": false, "keepTime": false, "targetBlank": true},
		},
		"annotations": object{"list": []object{{
			"name": "Alerts", "datasource": source, "enable": true, "iconColor": "red", "expr": `ALERTS{alertstate="firing", severity="page"}`,
			"titleFormat": "{{alertname}}", "textFormat": "{{shard}} {{instance}}", "step": "60s",
		}}},
		"panels": d.panels(),
	}
}

func (d Dashboard) variables() []object {
	all := []object{
		{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0},
		{"name": "docs", "label": "Where docs/ is served", "type": "constant", "query": "docs/", "hide": 2, "skipUrlSync": true},
	}
	if d.Shard {
		all = append(all, object{
			"name": "shard", "label": "Shard", "type": "query", "datasource": source, "hide": 0, "multi": true, "includeAll": true, "allValue": ".*",
			"query": "label_values(millrace_shard_state, shard)", "refresh": 2, "sort": 1,
		})
	}
	return all
}

const (
	columns = 24 // Grafana's grid
	width   = 8
	height  = 7
)

// panels lays the panels out, three in a line.
func (d Dashboard) panels() []object {
	var all []object
	id, y := 0, 0
	place := func(x, w, h int) object {
		id++
		return object{"x": x, "y": y, "w": w, "h": h}
	}
	for _, row := range d.Rows {
		at := place(0, columns, 1)
		all = append(all, object{"id": id, "type": "row", "title": row.Title, "collapsed": false, "gridPos": at, "panels": []object{}})
		y++
		for n, p := range row.Panels {
			x := n * width % columns
			if n > 0 && x == 0 {
				y += height
			}
			at := place(x, width, height)
			all = append(all, p.model(id, at))
		}
		y += height
	}
	return all
}

func (p Panel) model(id int, at object) object {
	var targets []object
	for n, q := range p.Queries {
		targets = append(targets, object{"refId": string(rune('A' + n)), "datasource": source, "expr": q.Expr, "legendFormat": q.Legend, "range": true})
	}
	defaults := object{"unit": string(p.Unit)}
	if p.Kind == Graph {
		defaults["min"] = 0
		defaults["custom"] = object{"fillOpacity": 5, "showPoints": "never", "lineWidth": 1}
	}
	model := object{
		"id": id, "type": string(p.Kind), "title": p.Title, "description": p.Description, "gridPos": at, "datasource": source,
		"targets": targets, "fieldConfig": object{"defaults": defaults, "overrides": []object{}}, "options": p.Kind.options(),
	}
	if p.Runbook != "" {
		model["links"] = []object{{"type": "link", "title": "What to do", "url": "${docs}" + p.Runbook, "targetBlank": true,
			"tags": []string{}, "asDropdown": false, "icon": "doc", "includeVars": false, "keepTime": false, "tooltip": ""}}
	}
	return model
}

// options are those of a kind, with all that Grafana's model requires.
func (k Kind) options() object {
	legend := object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}}
	tooltip := object{"mode": "multi", "sort": "desc"}
	switch k {
	case Figure:
		return object{
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}, "colorMode": "value", "graphMode": "area",
			"justifyMode": "auto", "orientation": "auto", "textMode": "auto", "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
		}
	case States:
		return object{"mergeValues": true, "showValue": "auto", "rowHeight": 0.9, "legend": legend, "tooltip": tooltip}
	}
	return object{"legend": legend, "tooltip": tooltip}
}
