// The browser of the scripts beside it.
import { chromium } from 'playwright-core'
import bundled from '@sparticuz/chromium'

const { CHROMIUM, SHOTS, PATIENCE } = process.env

// open opens a page, which reaches this machine alone. shot(name) takes a picture of it.
// Pictures that move, and graphics in three dimensions, would take half a processor.
export async function open(viewport = { width: 1400, height: 900 }) {
  bundled.setGraphicsMode = false
  const browser = await chromium.launch({
    executablePath: CHROMIUM || await bundled.executablePath(),
    args: [...(CHROMIUM ? ['--no-sandbox'] : bundled.args), '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
    headless: true,
  })
  const page = await browser.newPage({ viewport, reducedMotion: 'reduce' })
  page.setDefaultTimeout(Number(PATIENCE))
  return { page, shot: name => page.screenshot({ path: `${SHOTS}/${name}.png` }), close: () => browser.close() }
}
