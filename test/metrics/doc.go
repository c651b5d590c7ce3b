// Package metrics has the metrics of package metrics read by Prometheus' own parser and linter.
package metrics
