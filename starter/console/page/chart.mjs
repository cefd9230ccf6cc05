// The delay of the last hour at most: seconds on a logarithmic scale, since an outage makes minutes of milliseconds.
import { h } from './dom.mjs'
import { seconds, rate } from './text.mjs'

const ticks = [0.01, 0.1, 1, 10, 60, 600, 3600]
const spans = [240, 1200, 3600] // seconds
const left = 52, right = 12, top = 10, bottom = 24

// spanOf is how far back a chart goes: no further than it has something to show.
const spanOf = (delay, end) => spans.find(s => s >= end - (delay.points.find(p => p.accepted !== null || p.p50 !== null)?.at ?? end)) ?? 3600

// paths draws what is known of a series, with gaps where nothing is.
function paths(points, value, x, y) {
  const all = []
  let path = '', last = null
  for (const point of points) {
    const now = value(point)
    if (now === null || last !== null && point.at - last > 60) {
      if (path) all.push(path)
      path = ''
    }
    if (now !== null) {
      path += `${path ? 'L' : 'M'}${x(point.at).toFixed(1)} ${y(now).toFixed(1)}`
      last = point.at
    }
  }
  return path ? [...all, path] : all
}

// chart draws the delay.
export function chart(delay, end, width) {
  const height = 190
  const span = spanOf(delay, end)
  const inner = width - left - right
  const delays = delay.points.flatMap(p => [p.p50, p.p99]).filter(v => v !== null)
  const most = ticks.find(t => t >= Math.max(delay.objective * 2, ...delays)) ?? ticks.at(-1)
  const least = ticks.findLast(t => t <= Math.min(0.1, ...delays)) ?? ticks[0]
  const x = at => left + inner * (1 - Math.min(1, Math.max(0, (end - at) / span)))
  const y = value => {
    const share = Math.log(Math.min(most, Math.max(least, value)) / least) / Math.log(most / least)
    return top + (height - top - bottom) * (1 - share)
  }
  const line = (value, name) => paths(delay.points, value, x, y).map(d => h('path', { class: 'line ' + name, d: d.includes('L') ? d : d + 'h2' }))
  const label = `Delay over the last ${seconds(span)}: p50 ${seconds(delay.p50)}, p99 ${seconds(delay.p99)} at present`
  return h('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label },
    ticks.filter(t => t >= least && t <= most).map(t => h('g', {},
      h('line', { class: 'grid', x1: left, x2: width - right, y1: y(t), y2: y(t) }),
      h('text', { class: 'tick end', x: left - 8, y: y(t) + 4 }, seconds(t)))),
    (inner < 400 ? [1, 0.5, 0] : [1, 0.75, 0.5, 0.25, 0]).map(share => h('text', {
      class: 'tick ' + (share === 0 ? 'end' : share === 1 ? '' : 'middle'), x: x(end - share * span), y: height - 6,
    }, share === 0 ? 'now' : `−${+(share * span / 60).toFixed(2)} min`)),
    h('line', { class: 'objective', x1: left, x2: width - right, y1: y(delay.objective), y2: y(delay.objective) }),
    h('text', { class: 'tick', x: left + 6, y: y(delay.objective) - 5 }, `objective ${seconds(delay.objective)}`),
    line(p => p.p50, 'p50'), line(p => p.p99, 'p99'))
}

// spark draws the records a second of the same time, accepted and indexed.
export function spark(delay, end, width) {
  const height = 64
  const span = spanOf(delay, end)
  const most = Math.max(1, ...delay.points.flatMap(p => [p.accepted ?? 0, p.indexed ?? 0]))
  const x = at => left + (width - left - right) * (1 - Math.min(1, Math.max(0, (end - at) / span)))
  const y = value => 8 + (height - 14) * (1 - value / most)
  const line = (value, name) => paths(delay.points, value, x, y).map(d => h('path', { class: 'line ' + name, d: d.includes('L') ? d : d + 'h2' }))
  const last = delay.points.at(-1)
  return h('svg', {
    class: 'chart', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img',
    'aria-label': `Records over the last ${seconds(span)}: ${rate(last?.accepted)} accepted and ${rate(last?.indexed)} indexed at present`,
  },
  [0, most].map(v => h('g', {},
    h('line', { class: 'grid', x1: left, x2: width - right, y1: y(v), y2: y(v) }),
    h('text', { class: 'tick end', x: left - 8, y: y(v) + 4 }, rate(v)))),
  line(p => p.accepted, 'accepted'), line(p => p.indexed, 'indexed'))
}
