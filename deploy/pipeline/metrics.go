package pipeline

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"millrace/deploy/local"
)

// Metric returns the sum of a program's series of a name, of those whose
// labels hold all the given ones: Metric(ctx, "x_total", `result="ok"`).
func (p *Program) Metric(ctx context.Context, name string, labels ...string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Ops+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read the metrics of %s: %w", p.Name, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("read the metrics of %s: answered %s", p.Name, response.Status)
	}
	sum := 0.0
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		value, matches, err := series(lines.Text(), name, labels)
		if err != nil {
			return 0, fmt.Errorf("read the metrics of %s: %w", p.Name, err)
		}
		if matches {
			sum += value
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read the metrics of %s: %w", p.Name, err)
	}
	return sum, nil
}

// series reads one line of Prometheus' text format.
func series(line, name string, labels []string) (value float64, matches bool, err error) {
	rest, found := strings.CutPrefix(line, name)
	if !found || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
		return 0, false, nil
	}
	end := strings.LastIndexByte(rest, ' ')
	for _, label := range labels {
		if !strings.Contains(rest[:end], label) {
			return 0, false, nil
		}
	}
	if value, err = strconv.ParseFloat(rest[end+1:], 64); err != nil {
		return 0, false, fmt.Errorf("%q: %w", line, err)
	}
	return value, true, nil
}
