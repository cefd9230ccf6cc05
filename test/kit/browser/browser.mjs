// The browser of the scripts beside it.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'
import bundled from '@sparticuz/chromium'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const { CHROMIUM, SHOTS, PATIENCE } = process.env

// open opens a page, which reaches this machine alone. shot(name) takes a picture of what is
// seen of it, or of all. problems are what the page has thrown, or written as an error.
// Pictures that move, and graphics in three dimensions, would take half a processor. A script that fails says what the
// page showed.
export async function open(viewport = { width: 1400, height: 900 }) {
  bundled.setGraphicsMode = false
  const browser = await chromium.launch({
    executablePath: CHROMIUM || await bundled.executablePath(),
    args: [...(CHROMIUM ? ['--no-sandbox'] : bundled.args), '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
    headless: true,
  })
  const page = await browser.newPage({ viewport, reducedMotion: 'reduce' })
  page.setDefaultTimeout(Number(PATIENCE))
  const problems = []
  page.on('pageerror', error => problems.push(error.stack ?? error.message))
  page.on('console', message => message.type() === 'error' && problems.push(message.text()))
  process.on('uncaughtException', async error => {
    console.error(error.stack ?? error)
    console.error(`the page at the end, ${page.url()}:\n${await page.innerText('body', { timeout: 10_000 }).catch(String)}`)
    process.exit(1)
  })
  return { page, problems, shot: (name, fullPage = false) => page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage }), close: () => browser.close() }
}

// judge returns what axe finds on a page that is serious or critical: a line for each element.
export async function judge(page) {
  // Not as a script of the page, whose policy allows none but its own.
  const { violations, passes } = await page.evaluate(`{ const module = undefined, exports = undefined, define = undefined; ${axe} } axe.run(document)`)
  if (passes.length < 10) throw new Error(`axe has hardly looked at the page: ${passes.length} rules passed`)
  return violations.filter(v => ['serious', 'critical'].includes(v.impact)).flatMap(v => v.nodes.map(n => `${v.impact} ${v.id}: ${n.html.slice(0, 200)} ${n.failureSummary}`))
}
