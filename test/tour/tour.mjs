// Takes a picture of each page when it says something.
import { open } from './browser.mjs'

const { PAGES } = process.env
const { page, shot, close } = await open()
for (const { name, url, text } of JSON.parse(PAGES)) {
  await page.goto(url)
  await page.waitForFunction(text => document.body.textContent.includes(text), text)
  await shot(name)
}
await close()
