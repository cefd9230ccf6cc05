package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// allocations runs the Go benchmarks of what happens to each record on its way
// through the processor.
func (b *bench) allocations(ctx context.Context) error {
	for _, one := range []struct{ name, pack, benchmark string }{
		{"decode", "./internal/stream", "BenchmarkDecode"},
		{"dedup", "./internal/dedup", "BenchmarkFull/mark"},
		{"bulk", "./internal/index", "BenchmarkParseAndAdd"},
	} {
		values, err := goBenchmark(ctx, one.pack, one.benchmark)
		if err != nil {
			return err
		}
		allocations, nanoseconds := values["allocs/op"], values["ns/op"]
		if of, perRecord := values["allocs/record"]; perRecord {
			allocations, nanoseconds = of, values["ns/record"]
		}
		b.figures.add(one.name+"_allocs", allocations, "allocations per record, in %.0f ns; %s of %s", nanoseconds, one.benchmark, one.pack)
	}
	return nil
}

// goBenchmark runs one Go benchmark and returns its values by their units.
func goBenchmark(ctx context.Context, pack, benchmark string) (map[string]float64, error) {
	say("allocations", "%s %s", pack, benchmark)
	// Each level of the name is a pattern of its own.
	pattern := "^" + strings.ReplaceAll(benchmark, "/", "$/^") + "$"
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench="+pattern, "-benchmem", pack)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s", benchmark, err, output)
	}
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], benchmark) {
			continue
		}
		values := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("read the result of %s: %w", benchmark, err)
			}
			values[fields[i+1]] = value
		}
		return values, nil
	}
	return nil, fmt.Errorf("run %s: there is no result\n%s", benchmark, output)
}
