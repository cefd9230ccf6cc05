// What an operator does in Temporal's Web UI who is woken at night: pauses a shard, finds it by
// a saved view, resumes it, and starts a recovery.
import { open } from './browser.mjs'

const { UI, SHARD, RECOVERED, PATIENCE } = process.env // UI is that of the namespace
const { page, shot, close } = await open()

const workflow = id => `${UI}/workflows/${encodeURIComponent(id)}`

// details waits until the current details of a workflow, a document in a frame, hold a text. They are read when the page
// opens, which may be too early for them, or even for their tab.
const details = async (id, text) => {
  for (const begin = Date.now(); Date.now() - begin < PATIENCE;) {
    await page.goto(workflow(id))
    const opened = await page.getByTestId('user-metadata-tab').click({ timeout: PATIENCE / 6 }).then(() => true, () => false)
    for (let look = 0; opened && look < 10; look++) {
      for (const frame of page.frames().slice(1)) {
        if ((await frame.textContent('body').catch(() => '')).includes(text)) return
      }
      await page.waitForTimeout(1000)
    }
  }
  throw new Error(`the details of ${id} do not say ${text}`)
}

// signal sends a signal with an input.
const signal = async (id, name, input) => {
  await page.goto(workflow(id))
  await page.getByRole('button', { name: 'More Actions' }).locator('visible=true').first().click()
  await page.getByRole('menuitem', { name: /signal/i }).locator('visible=true').first().click()
  const modal = page.locator('[role=dialog]:visible, dialog:visible').first()
  await modal.getByTestId('signal-select-button').click()
  await modal.getByRole('option', { name, exact: true }).click()
  await modal.locator('.cm-content:visible').first().click()
  await page.keyboard.insertText(JSON.stringify(input))
  await modal.getByTestId('confirm-modal-button').dispatchEvent('click') // a click of the mouse would only leave the editor
  await modal.waitFor({ state: 'hidden' })
}

// startRecovery starts Recover with {}. The form fills its input from what an earlier run got, after it is shown: what is
// typed before is gone. A click of the mouse would only leave the editor.
const startRecovery = async () => {
  const isAnswer = response => response.request().method() === 'POST' && response.url().includes('/workflows/recover')
  for (const begin = Date.now(); Date.now() - begin < PATIENCE;) {
    await page.goto(`${UI}/workflows/start-workflow?workflowId=recover&taskQueue=millrace-recover&workflowType=Recover`, { waitUntil: 'networkidle' })
    const editor = page.locator('.cm-content:visible').first()
    await editor.click()
    await page.keyboard.insertText('{}')
    if ((await editor.textContent()) !== '{}') continue
    const answer = page.waitForResponse(isAnswer, { timeout: PATIENCE / 6 }).catch(() => null)
    await page.getByTestId('start-workflow-button').dispatchEvent('click')
    const response = await answer
    if (!response) continue
    if (response.ok() || response.status() === 409) return // 409: started by a click before, whose answer came late
    throw new Error(`Recover does not start: ${await response.text()}`)
  }
  throw new Error('Recover does not start: the form is not ready')
}

if (RECOVERED) { // a recovery takes long, and a browser that waits takes as much of a processor as the recovery
  await details('recover', 'complete')
  await shot('recovery')
} else {
  await details(SHARD, 'running')
  await signal(SHARD, 'pause', { by: 'night watch', reason: 'a look' })
  await details(SHARD, 'night watch')
  await shot('shard-paused')

  const view = 'Paused shards'
  await page.goto(`${UI}/workflows?query=` + encodeURIComponent(`WorkflowType="ProcessShard" AND MillraceState="paused"`))
  await page.getByTestId('create-view-button').click()
  await page.getByTestId('workflow-save-view-modal-input').fill(view)
  await page.getByTestId('confirm-modal-button').locator('visible=true').click()
  await page.goto(`${UI}/workflows`)
  await page.getByRole('button', { name: /Saved Views/ }).click()
  await page.getByText(view).locator('visible=true').first().click()
  await page.getByRole('link', { name: SHARD }).first().waitFor()
  await shot('saved-view')

  await signal(SHARD, 'resume', { by: 'night watch' })
  await details(SHARD, 'running')

  await startRecovery()
}
await close()
