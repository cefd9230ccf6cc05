// The path of the records as a picture, in two layouts: wide for desks, tall for phones.
import { h } from './dom.mjs'
import { rate, seconds, count, plural } from './text.mjs'

// Nodes have the middle of their box; edges a path, and where their rate is written.
const wide = {
  width: 1320, height: 268, box: [136, 58],
  nodes: {
    agents: [78, 92], collector: [296, 92], ingest: [514, 92], stream: [732, 92], worker: [950, 92], index: [1242, 92],
    queue: [514, 230], backup: [732, 230], batch: [890, 230], ledger: [1066, 230], snapshots: [1242, 230],
  },
  edges: {
    accepted: ['M146 92H226', 186, 82], temporal: ['M364 92H444', 404, 82], stream: ['M582 92H662', 622, 82],
    processed: ['M800 92H880', 840, 82], indexed: ['M1018 92H1172', 1095, 82],
    direct: ['M296 63C296 12 732 12 732 61', 514, 16], queue: ['M500 121V199', 492, 164, 'end'],
    redriven: ['M582 218C640 200 690 180 700 123', 636, 176, 'end'], backedUp: ['M740 121V199', 750, 164, 'start'],
    handedOver: ['M926 121L902 199', 904, 164, 'end'], dead: ['M974 121L1044 199', 1022, 164, 'start'], snapshots: ['M1242 121V199'],
    bisected: ['M958 230H996'],
  },
}
const tall = {
  width: 358, height: 606, box: [136, 52],
  nodes: {
    agents: [96, 28], collector: [96, 124], ingest: [96, 220], stream: [96, 330], worker: [96, 426], index: [96, 572],
    queue: [288, 220], backup: [288, 330], batch: [288, 426], ledger: [288, 499], snapshots: [288, 572],
  },
  edges: {
    accepted: ['M96 54V96', 104, 80, 'start'], temporal: ['M96 150V192', 104, 176, 'start'], stream: ['M96 246V302', 104, 278, 'start'],
    processed: ['M96 356V398', 104, 382, 'start'], indexed: ['M96 452V544', 104, 532, 'start'],
    direct: ['M28 124C4 150 4 304 26 328', 24, 176, 'start'], queue: ['M164 220H218', 191, 212], redriven: ['M270 246C250 290 210 300 166 318', 254, 292, 'start'],
    backedUp: ['M164 334H218', 191, 352], handedOver: ['M164 426H218', 191, 418], dead: ['M140 452C150 492 180 499 218 499', 176, 486, 'start'],
    snapshots: ['M164 572H218'], bisected: ['M288 452V471'],
  },
}
const labels = { direct: 'direct ' }

// told is what stands below the name of a node.
function told(state, name) {
  const answering = kind => {
    const all = state.processes.filter(p => p.kind === kind)
    if (all.length === 0) return 'no address given'
    return `${all.filter(p => !p.error && p.at).length} of ${all.length} answer`
  }
  const part = (of, text) => of.at ? text(of.value) : of.off ? 'not shown' : '…'
  const batches = shards => shards.shards.reduce((sum, s) => sum + (s.batches ?? 0), 0)
  switch (name) {
    case 'agents': return state.edges.refused?.records > 0 ? `${rate(state.edges.refused.records)} refused` : 'none refused'
    case 'collector': return answering('collector')
    case 'ingest': return state.ways[0]?.p99 ? `p99 ${seconds(state.ways[0].p99)}` : 'one per batch'
    case 'stream': return part(state.shards, v => plural(v.total, 'shard'))
    case 'worker': return answering('worker')
    case 'index': {
      const missing = state.processes.some(p => p.missing?.includes('elasticsearch'))
      return missing ? 'does not answer' : `${rate(state.edges.duplicates?.records)} already there`
    }
    case 'queue': return part(state.queue, v => `${count(v.messages + v.inFlight)} waiting`)
    case 'backup': return part(state.backup, v => v.lag === null ? v.state : `${seconds(v.lag)} behind`)
    case 'batch': return part(state.shards, v => `${count(batches(v))} in doubt`)
    case 'ledger': return part(state.letters, v => `${count(v.open)}${v.more ? '+' : ''} open`)
    case 'snapshots': return part(state.snapshots, v => v.good ? `${seconds((Date.parse(state.at) - Date.parse(v.good.started)) / 1000)} old` : 'none yet')
  }
}

const names = {
  agents: 'Agents', collector: 'Collectors', ingest: 'IngestBatch', stream: 'Kinesis', worker: 'Workers', index: 'Elasticsearch',
  queue: 'Fallback queue', backup: 'Backup in S3', batch: 'ProcessBatch', ledger: 'Dead letters', snapshots: 'Snapshots',
}
const marks = { bad: '✕', warn: '!' }

// picture draws the pipeline.
export function picture(state, isWide) {
  const layout = isWide ? wide : tall
  const [w, ht] = layout.box
  const edge = ([name, [path, x, y, anchor = 'middle']]) => {
    const flow = state.edges[name]
    const records = flow?.records ?? 0
    const width = records > 0 ? Math.min(5, 1.6 + Math.log10(1 + records) * 0.9) : 1.4
    return h('g', { class: 'edge' + (records > 0 ? ' flows' : '') },
      h('path', { d: path, 'stroke-width': width.toFixed(1) }), head(path),
      flow && h('text', { x, y, 'text-anchor': anchor }, (labels[name] ?? '') + rate(flow.records)))
  }
  const node = ([name, [x, y]]) => {
    const level = marks[state.nodes[name]] ? state.nodes[name] : ''
    return h('g', { class: 'node ' + level },
      h('rect', { x: x - w / 2, y: y - ht / 2, width: w, height: ht, rx: 9 }),
      h('text', { class: 'name', x: x - w / 2 + 12, y: y - 4 }, names[name]),
      h('text', { class: 'told', x: x - w / 2 + 12, y: y + 15 }, told(state, name)),
      level && h('circle', { class: 'badge', cx: x + w / 2 - 10, cy: y - ht / 2 + 2, r: 8 }),
      level && h('text', { class: 'mark', x: x + w / 2 - 10, y: y - ht / 2 + 6, 'text-anchor': 'middle' }, marks[level]))
  }
  const spoken = `Records flow from agents to collectors at ${rate(state.edges.accepted?.records)}, into Kinesis at ` +
    `${rate(state.edges.stream?.records)}, and into Elasticsearch at ${rate(state.edges.indexed?.records)}. The table Flows has all rates.`
  return h('svg', { class: 'picture ' + (isWide ? 'wide' : 'tall'), viewBox: `0 0 ${layout.width} ${layout.height}`, role: 'img', 'aria-label': spoken },
    Object.entries(layout.edges).map(edge), Object.entries(layout.nodes).map(node))
}

// head is the arrow at the end of a path, which says where it points by its last two points.
function head(path) {
  const points = [...path.matchAll(/([MLHVC])([^MLHVC]*)/g)].reduce((all, [, kind, text]) => {
    const n = text.trim().split(/[ ,]+/).map(Number)
    const last = all.at(-1)
    if (kind === 'H') return [...all, [n[0], last[1]]]
    if (kind === 'V') return [...all, [last[0], n[0]]]
    for (let i = 0; i < n.length; i += 2) all.push([n[i], n[i + 1]])
    return all
  }, [])
  const [[fx, fy], [x, y]] = points.slice(-2)
  const angle = Math.atan2(y - fy, x - fx)
  const at = (turn, length) => `${(x - Math.cos(angle + turn) * length).toFixed(1)},${(y - Math.sin(angle + turn) * length).toFixed(1)}`
  return h('polygon', { points: `${(x + Math.cos(angle) * 2).toFixed(1)},${(y + Math.sin(angle) * 2).toFixed(1)} ${at(0.5, 8)} ${at(-0.5, 8)}` })
}
