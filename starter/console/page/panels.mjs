// The panels below the picture. Each shows a part of the state, how old that is, and what failed.
import { h } from './dom.mjs'
import { count, plural, rate, seconds, clock, number } from './text.mjs'
import { chart, spark } from './chart.mjs'

const time = text => Date.parse(text)
const ago = (state, at) => seconds(Math.max(0, (time(state.at) - time(at)) / 1000))

// mark is a sign for what a word beside it says: color is never alone.
export const mark = level => h('span', { class: 'mark ' + level, 'aria-hidden': 'true' }, { bad: '✕', warn: '!', note: 'i', ok: '✓' }[level])

// copy is a command with a button that copies it.
export const copy = (command, copied) => h('span', { class: 'command' },
  h('code', {}, command),
  h('button', { type: 'button', 'data-copy': command, key: command, 'aria-label': `Copy ${command}` }, copied === command ? 'Copied' : 'Copy'))

// workflow is a link to a workflow in Temporal's Web UI, or its id where that is not known.
export const workflow = (state, id, text = id) => !id ? null : state.temporalUi
  ? h('a', { class: 'id', href: `${state.temporalUi}/workflows/${encodeURIComponent(id)}`, target: '_blank', rel: 'noreferrer', title: id }, text)
  : h('span', { class: 'id', title: id }, text)

// panel has a title, and what is known of how old its figures are.
function panel(state, name, title, part, ...children) {
  const age = part?.at && part.at !== state.at ? `as of ${ago(state, part.at)} ago` : ''
  const failed = part?.error && h('p', { class: 'failed' }, mark('warn'),
    `No answer for ${ago(state, part.since)}: ${part.error}. `, part.at ? `What is shown is ${ago(state, part.at)} old.` : 'Nothing is known yet.')
  const body = !part || part.at ? children : part.off ? [h('p', { class: 'quiet' }, `Not shown: ${part.off}.`)] : part.error ? [] : [h('p', { class: 'quiet' }, 'Asking…')]
  return h('section', { class: 'panel', key: name, id: name, 'aria-labelledby': name + '-title' },
    h('div', { class: 'title' }, h('h2', { id: name + '-title' }, title), h('span', { class: 'age' }, part?.error ? '' : age)), failed, body)
}

// table has columns with a name and a class; on a phone its rows become blocks.
function table(label, columns, rows) {
  return h('table', { 'aria-label': label, role: 'table' },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map(([name, kind]) => h('th', { scope: 'col', role: 'columnheader', class: kind }, name)))),
    h('tbody', { role: 'rowgroup' }, rows.map(({ key, cells }) => h('tr', { role: 'row', key }, cells.map((cell, at) =>
      h('td', { role: 'cell', class: columns[at][1], 'data-name': columns[at][0] }, cell))))))
}

// listed is a link to a list of workflows in Temporal's Web UI.
const listed = (state, query, text) => state.temporalUi
  ? h('a', { href: `${state.temporalUi}/workflows?query=${encodeURIComponent(query)}`, target: '_blank', rel: 'noreferrer' }, text) : text

const facts = (...pairs) => h('dl', {}, pairs.filter(Boolean).map(([name, ...value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))))

const holder = holds => (holds ?? []).map(hold => `${hold.by}${hold.until ? ' until ' + hold.until.slice(11, 16) + ' UTC' : ''}${hold.reason ? ` (${hold.reason})` : ''}`).join(', ')

const levels = { waiting: 'bad', tripped: 'bad', closed: 'bad', terminated: 'bad', failed: 'bad', timedout: 'bad', absent: 'bad', canceled: 'warn', paused: 'warn', 'not complete': 'bad', complete: 'ok' }
const badge = state => h('span', { class: 'state' }, levels[state] && mark(levels[state]), state)

// chosen lets the reader choose the region whose delay is shown, where there are several.
const chosen = (state, region) => {
  const names = [...new Set([...state.regions.map(r => r.region), region].filter(Boolean))]
  return names.length > 1 && h('label', { class: 'chosen' }, 'of ', h('select', { 'data-choose': 'region' }, h('option', { value: '' }, 'all regions'),
    names.map(name => h('option', { value: name, key: name, selected: name === region && 'selected' }, name))))
}

const delay = (state, width, region) => {
  const d = state.delay
  const source = d.source === 'prometheus' ? 'from Prometheus' : `since the console started, ${ago(state, state.started)} ago`
  return h('section', { class: 'panel', key: 'delay', id: 'delay', 'aria-labelledby': 'delay-title' },
    h('div', { class: 'title' }, h('h2', { id: 'delay-title' }, 'Delay, from received to indexed'), chosen(state, region), h('span', { class: 'age' }, source)),
    h('div', { class: 'figures' },
      h('div', {}, h('b', {}, seconds(d.p50)), h('span', { class: 'key p50' }, 'p50')),
      h('div', {}, h('b', {}, seconds(d.p99)), h('span', { class: 'key p99' }, 'p99')),
      h('div', {}, h('b', {}, rate(state.edges.accepted?.records)), h('span', { class: 'key accepted' }, 'accepted')),
      h('div', {}, h('b', {}, rate(state.edges.indexed?.records)), h('span', { class: 'key indexed' }, 'indexed'))),
    d.p50 === null && h('p', { class: 'quiet' }, `Nothing ${d.region ? `of ${d.region} ` : ''}was indexed in the last 10 s.`),
    chart(d, time(state.at) / 1000, width), spark(d, time(state.at) / 1000, width))
}

const ways = { temporal: 'by IngestBatch', direct: 'direct', queue: 'through the queue' }

const agents = state => h('section', { class: 'panel', key: 'regions', id: 'regions', 'aria-labelledby': 'regions-title' },
  h('div', { class: 'title' }, h('h2', { id: 'regions-title' }, 'Regions and ways')),
  state.regions.length === 0 && h('p', { class: 'quiet' }, 'Not shown: give the processes by --collector-url and --worker-url.'),
  state.regions.length > 0 && table('Regions', [['region of collectors', ''], ['accepted', 'n'], ['refused', 'n'], ['answer p99', 'n'], ['delay p50', 'n'], ['p99', 'n']],
    state.regions.map(r => ({ key: r.region, cells: [r.region, rate(r.accepted), rate(r.refused), seconds(r.p99), seconds(r.delayP50), seconds(r.delayP99)] }))),
  state.regions.length > 0 && table('Ways', [['way into the stream', ''], ['records', 'n'], ['durable p50', 'n'], ['p99', 'n']],
    state.ways.map(w => ({ key: w.way, cells: [ways[w.way], rate(w.records), seconds(w.p50), seconds(w.p99)] }))))

const shards = state => panel(state, 'shards', 'Shards', state.shards,
  state.shards.value.total > state.shards.value.shards?.length && h('p', { class: 'quiet' },
    `${state.shards.value.shards.length} of ${state.shards.value.total} are shown: those that do not run come first.`),
  table('Shards', [['shard', ''], ['state', ''], ['lag', 'n'], ['in doubt', 'n'], ['worker', 'cut'], ['why, and who holds it', 'wide']],
    (state.shards.value.shards ?? []).map(s => ({
      key: s.id, cells: [
        workflow(state, s.workflow, number(s.id)) ?? number(s.id), badge(s.state), seconds(s.lag), s.batches ? listed(state, `WorkflowType="ProcessBatch" AND MillraceShard="${s.id}"`, count(s.batches)) : '0', h('span', { title: s.worker }, s.worker || '–'),
        [holder(s.holds) && h('span', {}, 'held by ' + holder(s.holds)), s.why && h('span', { class: 'why', title: s.why }, s.why), (s.offenders ?? []).map(o => h('span', { class: 'why' }, 'offender ' + o))],
      ],
    }))))

const queue = state => {
  const q = state.queue.value
  return panel(state, 'queue', 'Fallback queue', state.queue, facts(
    ['waiting', plural(q.messages, 'message')], ['being redriven', plural(q.inFlight, 'message')],
    ['into the stream', rate(state.edges.redriven?.records)], ['Redrive', badge(q.state), ' ', workflow(state, q.workflow, 'open')],
    q.holds && ['held by', holder(q.holds)], q.pace > 0 && ['bounded to', rate(q.pace)], q.lastError && ['last error', q.lastError]))
}

const letters = (state, copied) => {
  const d = state.letters.value
  return panel(state, 'letters', 'Dead letters', state.letters,
    d.open === 0 && h('p', { class: 'quiet' }, mark('ok'), 'The ledger has no open entry.'),
    d.read < d.open && h('p', { class: 'quiet' }, `From the first ${count(d.read)} of ${count(d.open)}${d.more ? '+' : ''} open entries; starter dlq list reads all.`),
    (d.groups ?? []).map(g => h('article', { class: 'letter', key: g.error + g.held },
      h('h3', {}, h('b', {}, plural(g.records, 'record')), ' ', h('code', {}, g.error), g.held && ' held by a batch, not given up'),
      g.reasons.map(reason => h('p', { class: 'why' }, reason)),
      h('p', { class: 'quiet' }, `${plural(g.entries, 'entry', 'entries')}, ${clock(g.first, state.at)} to ${clock(g.last, state.at)}`,
        g.tenants.length > 0 && `, of ${g.tenants.join(', ')}`),
      g.command && copy(g.command, copied))),
    (d.parked ?? []).map(p => h('p', { key: p.index }, 'Parked for ', workflow(state, p.workflow, p.index), ': ', badge(p.state))),
    d.reprocessing && h('p', {}, 'Reprocessing ', workflow(state, d.reprocessing.workflow, 'now'), ': ' + d.reprocessing.progress))
}

const safe = state => {
  const b = state.backup.value
  const s = state.snapshots.value
  return [
    panel(state, 'backup', 'Backup', state.backup, facts(
      ['behind by', seconds(b.lag)], ['records', rate(state.edges.backedUp?.records)], ['BackupStream', badge(b.state), ' ', workflow(state, b.workflow, 'open')],
      b.holds && ['held by', holder(b.holds)], b.lastError && ['last error', b.lastError])),
    panel(state, 'snapshots', 'Snapshots', state.snapshots,
      !s.last && h('p', { class: 'quiet' }, 'There is none: starter snapshot schedule takes one an hour.'),
      s.last && facts(
        ['last good', s.good ? `${ago(state, s.good.started)} old` : 'none'], s.good && ['documents', `${count(s.good.documents)} in ${plural(s.good.indices, 'index', 'indices')}`],
        ['last taken', `${s.last.state.toLowerCase()}, ${clock(s.last.started, state.at)}`], s.last.remark && ['remark', s.last.remark])),
  ]
}

const recoveries = state => panel(state, 'recoveries', 'Recoveries and drills', state.recoveries,
  (state.recoveries.value ?? []).length === 0 && h('p', { class: 'quiet' }, 'None, as far as Temporal remembers.'),
  (state.recoveries.value ?? []).map(r => h('article', { class: 'letter', key: r.run },
    h('h3', {}, workflow(state, r.workflow, { Recover: 'Recovery', Replay: 'Replay', DrillRecovery: 'Drill' }[r.kind]), ' ', badge(r.state), r.stage && !r.ended && ` ${r.stage}`),
    !r.ended && r.share !== null && h('div', { class: 'progress' },
      h('progress', { max: 1, value: r.share, 'aria-label': `${r.kind}, ${r.stage}` }), h('span', {}, `${Math.floor(r.share * 100)} %`), r.left > 0 && h('span', { class: 'quiet' }, `${seconds(r.left)} left`)),
    h('p', { class: 'quiet' }, [r.detail, r.ended ? `ended ${clock(r.ended, state.at)}` : `since ${clock(r.started, state.at)}${r.by ? `, started by ${r.by}` : ''}`].filter(Boolean).join(', ')),
    r.error && h('p', { class: 'why' }, r.error))))

const flows = [
  ['accepted', 'accepted from agents'], ['refused', 'refused, and answered so'], ['temporal', 'durable in IngestBatch'], ['direct', 'durable directly'], ['stream', 'put into the stream'],
  ['queue', 'into the fallback queue'], ['redriven', 'redriven into the stream'], ['processed', 'read, and done with'], ['indexed', 'indexed'], ['duplicates', 'there already'],
  ['dead', 'dead letters of shards'], ['buried', 'dead letters of collectors'], ['handedOver', 'handed over to ProcessBatch'], ['backedUp', 'backed up'], ['recovered', 'by recoveries'],
]

const conservation = state => {
  const r = state.residual.value
  const verdict = r.audited
    ? [mark(r.records > 0 ? 'bad' : 'ok'), h('b', {}, `Residual ${count(r.records)}`), ` of ${count(r.compared)} audited records`,
        r.at && !r.at.startsWith('0001') ? `, ${ago(state, r.at)} ago` : '', r.detail ? ` (${r.detail}). ` : '. ', workflow(state, r.workflow, 'open')]
    : [mark('note'), h('b', {}, 'Not audited. '), r.detail ? `${r.detail}. ` : 'No audit of the backup has run here. ']
  if (state.missing > r.records) verdict.push(mark('bad'), `Audits have found ${plural(state.missing, 'record')} nowhere since the workers started. `)
  return panel(state, 'conservation', 'Conservation', { ...state.residual, at: state.at, error: state.residual.error },
    h('p', { class: 'verdict-line' }, verdict),
    h('p', { class: 'quiet' }, 'The residual counts records that are in the backup, and in neither index, ledger nor an open batch: it alone proves anything. Flows do not: a replay turns indexed records into duplicates.'),
    table('Flows', [['flow', ''], ['now', 'n'], ['since the console started', 'n']],
      flows.map(([name, text]) => ({ key: name, cells: [text, rate(state.edges[name]?.records), count(state.edges[name]?.total)] }))))
}

const processes = state => h('section', { class: 'panel', key: 'processes', id: 'processes', 'aria-labelledby': 'processes-title' },
  h('div', { class: 'title' }, h('h2', { id: 'processes-title' }, 'Processes')),
  state.processes.length === 0 && h('p', { class: 'quiet' }, 'None is read: give --collector-url and --worker-url for rates and delays.'),
  state.processes.length > 0 && table('Processes', [['process', ''], ['answered', 'n'], ['lacks', 'wide']], state.processes.map(p => ({
    key: p.kind + p.address, cells: [
      [p.kind + ' ', h('span', { class: 'id' }, p.address)], p.at ? `${ago(state, p.at)} ago` : 'never',
      p.error ? h('span', {}, mark('bad'), p.error) : p.missing?.length ? h('span', {}, mark('bad'), p.missing.join(', ')) : h('span', { class: 'quiet' }, 'nothing'),
    ],
  }))),
  state.temporalUi && h('p', { class: 'links' }, 'Workflows: ', (state.workflows ?? []).map((w, at) => [at > 0 && ', ', workflow(state, w.id, w.type)])))

// panels are all of them, in two columns.
export const panels = (state, width, copied, region) => h('div', { class: 'columns', key: 'panels' },
  h('div', { class: 'column' }, delay(state, width, region), shards(state), letters(state, copied), conservation(state)),
  h('div', { class: 'column' }, agents(state), queue(state), safe(state), recoveries(state), processes(state)))
