// Looks at the console in one state of a pipeline: what it says, at a desk and on a phone, in light and dark, by mouse and
// by keys.
import { open, judge } from './browser.mjs'

const { CONSOLE, STATE, EXPECTED } = process.env
const { page, problems, shot, close } = await open()
await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])

const fail = text => { throw new Error(`${STATE}: ${text}`) }
const sizes = { desktop: { width: 1400, height: 900 }, phone: { width: 390, height: 844 } }

await page.goto(CONSOLE)
for (const text of JSON.parse(EXPECTED)) {
  await page.waitForFunction(text => document.body.textContent.includes(text), text).catch(error => fail(`it does not say ${text}: ${error.message}`))
}
if (STATE === 'loaded') {
  await page.waitForFunction(() => document.querySelectorAll('.edge.flows').length >= 6 && document.querySelector('.line.p99')?.getAttribute('d').includes('L'))
}

if (STATE === 'loaded') {
  // Each region has delays, and the chart shows those of one that is chosen, also after later looks.
  const elsewhere = 'ap-southeast-4'
  await page.waitForFunction(name => [...document.querySelectorAll('#regions tbody tr')].some(row =>
    row.firstChild.textContent === name && [4, 5].every(at => /\d/.test(row.children[at].textContent))), elsewhere)
  const looked = page.waitForResponse(response => response.url().endsWith('?region=' + elsewhere))
  await page.getByLabel('of all regions').selectOption(elsewhere)
  const { delay } = await (await looked).json()
  if (delay.region !== elsewhere || !delay.p99 || !delay.points.some(p => p.p99)) fail(`the delay of ${elsewhere} is ${JSON.stringify(delay).slice(0, 200)}`)
  await page.waitForResponse(/state/)
  if (await page.locator('[data-choose]').inputValue() !== elsewhere) fail('a look undoes what was chosen')
}

for (const scheme of ['light', 'dark']) {
  await page.emulateMedia({ colorScheme: scheme })
  for (const [name, size] of Object.entries(sizes)) {
    await page.setViewportSize(size)
    await page.waitForSelector(name === 'phone' ? '.picture.tall' : '.picture.wide')
    const wide = await page.evaluate(() => [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120)))
    if (wide.length > 0 || await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) fail(`it is wider than a ${name}: ${wide.join('\n')}`)
    const cut = await page.evaluate(() => [...document.querySelectorAll('.node')].filter(n => [...n.querySelectorAll('text')].some(t =>
      t.getBoundingClientRect().right > n.querySelector('rect').getBoundingClientRect().right)).map(n => n.textContent))
    if (cut.length > 0) fail(`texts leave their boxes on a ${name}: ${cut}`)
    const covered = await page.evaluate(() => [...document.querySelectorAll('.node')].filter(n => {
      const [badge, name] = ['.badge', '.name'].map(part => n.querySelector(part)?.getBoundingClientRect())
      return badge && badge.left < name.right && badge.bottom > name.top + name.height / 3 // below is the room for accents
    }).map(n => n.textContent))
    if (covered.length > 0) fail(`badges cover names on a ${name}: ${covered}`)
    const found = await judge(page)
    if (found.length > 0) fail(`axe finds, ${scheme} on a ${name}:\n${found.join('\n')}`)
    await shot(`console-${STATE}-${name}-${scheme}`)
    await shot(`console-${STATE}-${name}-${scheme}-whole`, true)
  }
}

if (STATE === 'idle') {
  // What has the focus keeps it while others come, go and change places around it.
  const lost = await page.evaluate(async () => {
    const { h, patch } = await import('/dom.mjs')
    const list = document.body.appendChild(document.createElement('div'))
    const show = keys => patch(list, [keys.length > 2 && h('p', {}, 'some'), keys.map(key => h('button', { key }, key))].flat().filter(Boolean))
    show(['b'])
    list.firstChild.focus()
    for (const keys of [['a', 'b'], ['b'], ['b', 'c'], ['x', 'a', 'b', 'c'], ['a', 'b', 'x'], ['y', 'b'], ['b']]) {
      show(keys)
      const shown = [...list.querySelectorAll('button')].map(button => button.textContent)
      if (document.activeElement.textContent !== 'b' || shown.join() !== keys.join() || list.childNodes.length !== keys.length + (keys.length > 2)) return `${keys}: ${list.innerHTML}`
    }
    list.remove()
  })
  if (lost) fail(`the focus is lost: ${lost}`)
}
await page.setViewportSize(sizes.desktop)
if (STATE === 'loaded') await page.locator('[data-choose]').selectOption('')
if (STATE !== 'idle') {
  // By keys alone: the first command is copied, and looks that come in between leave the focus where it is.
  const command = await page.locator('[data-copy]:visible').first().getAttribute('data-copy')
  for (let tabs = 0; tabs < 40 && await page.evaluate(() => !document.activeElement.dataset.copy); tabs++) await page.keyboard.press('Tab')
  const focused = () => page.evaluate(() => document.activeElement.dataset.copy ?? document.activeElement.outerHTML.slice(0, 200))
  const reached = await focused()
  await page.waitForResponse(/state/).then(() => page.waitForResponse(/state/))
  if (await focused() !== reached) fail(`looks take the focus from ${reached} to ${await focused()}`)
  await page.keyboard.press('Enter')
  await page.getByText(`Copied: ${reached}`).waitFor({ state: 'attached' })
  const clipboard = await page.evaluate(() => navigator.clipboard.readText())
  if (!clipboard.startsWith('starter ') || STATE === 'broken' && clipboard !== command) fail(`${clipboard} was copied, not ${command}`)
  const link = await page.locator('#shards a.id').first().getAttribute('href')
  if (!/^http:\/\/127\.0\.0\.1:\d+\/namespaces\/[^/]+\/workflows\/process%2F/.test(link)) fail(`a shard leads to ${link}`)
}
if (STATE === 'loaded') {
  const reprocess = await page.locator('#letters [data-copy]').first().getAttribute('data-copy')
  if (reprocess !== 'starter dlq reprocess --error-type document_parsing_exception --wait') fail(`dead letters are indexed again by ${reprocess}`)
}
if (problems.length > 0) fail(`the page has said:\n${problems.join('\n')}`)

// Whatever is written in the state, by tenants above all, stays text.
const markup = '<img src=x onerror="document.title=0"><script>document.title=0</script>'
await page.route('**/state', async route => {
  const kept = /At$|^at$|^(since|started|ended|first|last|readUpTo|level|node|state|temporalUi)$/
  const spoil = value => Array.isArray(value) ? value.map(spoil) : value && typeof value === 'object'
    ? Object.fromEntries(Object.entries(value).map(([key, of]) => [key, typeof of === 'string' && !kept.test(key) ? markup + of : spoil(of)]))
    : typeof value === 'string' && !/^\d{4}-/.test(value) ? markup + value : value
  const response = await route.fetch()
  await route.fulfill({ response, json: spoil(await response.json()) })
})
await page.getByText(markup).first().waitFor()
if (await page.locator('img').count() > 0 || await page.locator('script').count() > 1 || await page.title() === '0') fail('what was written by others is markup')
await page.unroute('**/state')

// The console goes, and comes again.
await page.route('**/state', route => route.abort())
await page.getByText('the console does not answer').waitFor()
await page.unroute('**/state')
await page.getByText(/live, \d\d:\d\d UTC/).waitFor()
await close()
