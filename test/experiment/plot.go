package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"time"
)

// curves are the delays of what was received in each second, one run behind
// the other.
type curves struct {
	contenders []string
	runs       []int    // seconds of each round
	seconds    [][]one  // by contender
	total      []delays // by contender
}

// one is of one second.
type one struct {
	records      int
	average, p99 time.Duration
}

func perSecond(results []*result) curves {
	var c curves
	for round := range results[0].runs {
		longest := 0
		for _, r := range results {
			for _, p := range r.runs[round].points {
				longest = max(longest, second(p)+1)
			}
		}
		c.runs = append(c.runs, longest)
	}
	for _, r := range results {
		c.contenders = append(c.contenders, r.contender)
		c.total = append(c.total, r.delays())
		var line []one
		for round, run := range r.runs {
			by := make([]delays, c.runs[round])
			for _, p := range run.points {
				by[second(p)] = append(by[second(p)], p.delay)
			}
			for _, d := range by {
				slices.Sort(d)
				line = append(line, one{len(d), d.average(), d.quantile(0.99)})
			}
		}
		c.seconds = append(c.seconds, line)
	}
	return c
}

// second is that in which a record was received, from 0.
func second(p point) int { return max(0, int(p.received/time.Second)) }

// csv has a line for each second.
func (c curves) csv() []byte {
	var b bytes.Buffer
	b.WriteString("run,second")
	for _, contender := range c.contenders {
		fmt.Fprintf(&b, ",%s_records,%s_avg_ms,%s_p99_ms", contender, contender, contender)
	}
	b.WriteByte('\n')
	at := 0
	for round, length := range c.runs {
		for s := range length {
			fmt.Fprintf(&b, "%d,%d", round+1, s)
			for _, line := range c.seconds {
				fmt.Fprintf(&b, ",%d,%d,%d", line[at].records, line[at].average.Milliseconds(), line[at].p99.Milliseconds())
			}
			b.WriteByte('\n')
			at++
		}
	}
	return b.Bytes()
}

// Sizes of the plot in pixels.
const (
	plotWidth, plotHeight   = 920, 700
	panelLeft, panelWidth   = 70, 820
	panelTop, panelHeight   = 84, 250
	panelStep               = 308
	leastShown, mostShown   = 50 * time.Millisecond, 60 * time.Second
	secondsBetweenTimeMarks = 20
)

// colours of the contenders, as far apart for those who see few of them.
var colours = map[string]string{before: "#d55e00", after: "#0072b2", millrace: "#009e73"}

// svg draws two panels, average and p99, over time; delays on a logarithmic
// scale, since on another Millrace would be the axis.
func (c curves) svg() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", plotWidth, plotHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="16" font-weight="bold">From received by the collector to saved in Elasticsearch</text>`+"\n", panelLeft)
	for i, contender := range c.contenders {
		x := panelLeft + i*275
		fmt.Fprintf(&b, `<path d="M%d 46h24" stroke="%s" stroke-width="3"/><text x="%d" y="50">%s</text>`+"\n", x, colours[contender], x+30, titles[contender])
	}
	for i, panel := range []struct {
		title string
		of    func(one) time.Duration
		all   func(delays) time.Duration
	}{
		{"average of each second", func(o one) time.Duration { return o.average }, delays.average},
		{"p99 of each second", func(o one) time.Duration { return o.p99 }, func(d delays) time.Duration { return d.quantile(0.99) }},
	} {
		top := float64(panelTop + i*panelStep)
		title := panel.title + ": in all "
		for j := range c.contenders {
			title += fmt.Sprintf("%.3s %s   ", titles[c.contenders[j]], seconds(panel.all(c.total[j])))
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.0f" font-weight="bold" xml:space="preserve">%s</text>`+"\n", panelLeft, top-8, title)
		c.axes(&b, top)
		for j, line := range c.seconds {
			c.curve(&b, top, line, panel.of, colours[c.contenders[j]])
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// x is where a second stands, counted over all runs.
func (c curves) x(at float64) float64 {
	total := 0
	for _, length := range c.runs {
		total += length
	}
	return panelLeft + panelWidth*at/math.Max(1, float64(total))
}

// y is where a delay stands, below the top of its panel.
func y(d time.Duration) float64 {
	d = min(max(d, leastShown), mostShown)
	return panelHeight * (1 - math.Log(float64(d)/float64(leastShown))/math.Log(float64(mostShown)/float64(leastShown)))
}

func (c curves) axes(b *bytes.Buffer, top float64) {
	fmt.Fprintf(b, `<g stroke="#ddd">`)
	marks := []time.Duration{50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000} // milliseconds
	for _, ms := range marks {
		fmt.Fprintf(b, `<path d="M%d %.1fh%d"/>`, panelLeft, top+y(ms*time.Millisecond), panelWidth)
	}
	fmt.Fprintf(b, "</g>\n")
	for _, ms := range marks {
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, panelLeft-8, top+y(ms*time.Millisecond)+4, seconds(ms*time.Millisecond))
	}
	begin := 0
	for round, length := range c.runs {
		if round > 0 {
			fmt.Fprintf(b, `<path d="M%.1f %.1fv%d" stroke="#888" stroke-dasharray="4 3"/>`, c.x(float64(begin)), top, panelHeight)
		}
		for s := 0; s < length; s += secondsBetweenTimeMarks {
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%d s</text>`, c.x(float64(begin+s)), top+panelHeight+18, s)
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#666">run %d</text>`+"\n", c.x(float64(begin)+float64(length)/2), top+panelHeight+34, round+1)
		begin += length
	}
}

// curve draws one line, interrupted between runs and where nothing came.
func (c curves) curve(b *bytes.Buffer, top float64, line []one, of func(one) time.Duration, colour string) {
	fmt.Fprintf(b, `<path fill="none" stroke="%s" stroke-width="1.8" stroke-linejoin="round" d="`, colour)
	at := 0
	for _, length := range c.runs {
		down := false
		for range length {
			if o := line[at]; o.records > 0 {
				fmt.Fprintf(b, "%s%.1f %.1f", map[bool]string{false: "M", true: "L"}[down], c.x(float64(at)+0.5), top+y(of(o)))
				down = true
			} else {
				down = false
			}
			at++
		}
	}
	b.WriteString(`"/>` + "\n")
}
