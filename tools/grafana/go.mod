// The types of Grafana's own SDK, against which the tests hold the dashboards: Grafana's server is not to be had as a Go
// module.
module millrace/tools/grafana

go 1.26.8

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
