// Asks for the state again and again while the page is looked at, and shows it.
import { h, patch } from './dom.mjs'
import { clock, seconds, plural } from './text.mjs'
import { picture } from './picture.mjs'
import { panels, mark, copy, workflow } from './panels.mjs'

const head = document.getElementById('head')
const content = document.getElementById('content')
const said = document.getElementById('said')
const patience = 10_000 // milliseconds for an answer of the console

let state = null // the last one
let received = 0 // when, by the clock of the page
let failed = '' // why there is no newer one
let copied = '' // the command that was copied last
let region = '' // whose delay is shown; empty: all
let timer = 0

async function look() {
  clearTimeout(timer)
  const of = region
  try {
    const response = await fetch('state' + (of && `?region=${encodeURIComponent(of)}`), { signal: AbortSignal.timeout(patience) })
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    const answer = await response.json()
    if (of !== region) return // another look has begun since
    state = answer
    received = Date.now()
    failed = ''
  } catch (error) {
    failed = error.message
  }
  show()
  if (!document.hidden) timer = setTimeout(look, 1000 * (state?.every ?? 2))
}

const problem = p => h('li', { class: 'problem ' + p.level, key: [p.level, p.node, p.see, p.advice, ...(p.do ?? [])].join(' ') },
  mark(p.level),
  h('div', {},
    h('p', { class: 'what' }, p.what),
    h('p', { class: 'quiet' }, `since ${clock(p.since, state.at)}, for ${seconds((Date.parse(state.at) - Date.parse(p.since)) / 1000)}`,
      p.cost && `; ${p.cost}`, p.see && h('span', {}, '; see ', h('span', { class: 'id' }, `docs/${p.see}`)), p.workflow && ['; ', workflow(state, p.workflow, 'open the workflow')]),
    (p.do ?? []).map(command => copy(command, copied)), p.advice && h('p', {}, p.advice)))

// verdict says how the pipeline is in a line, and then what is wrong.
function verdict() {
  const of = level => state.problems.filter(p => p.level === level)
  const [bad, warn, note] = [of('bad'), of('warn'), of('note')]
  const unknown = !state.shards.at
  const level = bad.length ? 'bad' : warn.length ? 'warn' : unknown ? 'note' : 'ok'
  const words = {
    bad: `${plural(bad.length, 'thing is', 'things are')} wrong` + (warn.length ? `, and ${plural(warn.length, 'needs', 'need')} a look` : ''),
    warn: plural(warn.length, 'thing needs', 'things need') + ' a look', note: 'Looking at the pipeline…', ok: 'All is well',
  }[level]
  return h('section', { class: 'verdict ' + level, key: 'verdict', 'aria-label': 'What is wrong' },
    h('p', { class: 'words' }, mark(level), h('strong', {}, words)),
    bad.length + warn.length > 0 && h('ul', {}, [...bad, ...warn].map(problem)),
    note.length > 0 && h('details', {}, h('summary', {}, plural(note.length, 'note')), h('ul', {}, note.map(problem))))
}

function show() {
  const age = received ? (Date.now() - received) / 1000 : 0
  const live = !failed
  patch(head, [
    h('h1', {}, h('span', { class: 'brand' }, 'Millrace'), ' ', state ? state.stream : ''),
    state && h('span', { class: 'quiet' }, `namespace ${state.namespace}`),
    h('span', { class: 'live ' + (live ? '' : 'stale') }, mark(live ? 'ok' : 'bad'),
      live && state ? `live, ${clock(state.at, state.at)}` : state ? `the console does not answer: all is ${seconds(age)} old` : `the console does not answer: ${failed}`),
  ].filter(Boolean))
  if (!state) return
  const bad = state.problems.filter(p => p.level === 'bad').length
  document.title = `${failed ? '? ' : bad ? `✕ ${bad} ` : ''}${state.stream} · Millrace`
  const inner = Math.min(content.clientWidth, document.documentElement.clientWidth)
  const column = () => content.querySelector('.column')?.clientWidth ?? inner
  const draw = width => patch(content, [
    verdict(), h('figure', { key: 'picture' + (inner >= 980) }, picture(state, inner >= 980)), panels(state, Math.max(280, width - 34), copied, region),
  ])
  const width = column()
  draw(width)
  if (column() !== width) draw(column()) // the first time, only then is it known
}

document.addEventListener('click', async event => {
  const command = event.target.closest?.('[data-copy]')?.dataset.copy
  if (!command) return
  try {
    await navigator.clipboard.writeText(command)
    copied = command
    said.textContent = `Copied: ${command}`
  } catch { // the browser may refuse: then it is selected, for the reader to copy
    getSelection().selectAllChildren(event.target.closest('.command').querySelector('code'))
    said.textContent = 'Selected: copy it yourself'
  }
  show()
  setTimeout(() => { copied = ''; show() }, 2500)
})
document.addEventListener('change', event => {
  if (event.target.dataset.choose !== 'region') return
  region = event.target.value
  look()
})
document.addEventListener('visibilitychange', () => { if (!document.hidden) look() })
addEventListener('resize', show)
look()
