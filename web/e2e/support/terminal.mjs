/** A room's terminals, as people see and use them in the page. */
import { until } from './wait.mjs';

/** Longer than it takes to start a container on a busy machine. */
export const START_MS = 60_000;

const rows = (person, screen) => person.page.locator(`[data-testid="${screen}"]:visible .xterm-rows`);

/** Everything the emulator in front holds, its scrollback too, without the padding. */
export const shown = (person, screen = 'terminal-screen') =>
  rows(person, screen).evaluate((rows) =>
    [...rows.children].map((row) => row.textContent.replaceAll('\u00a0', ' ').trimEnd()).join('\n'),
  );

/** Waits until the emulator in front holds this. */
export const sees = (person, part, ms, screen) =>
  until(
    `${person.name} to see ${JSON.stringify(part)}`,
    async () => (await shown(person, screen)).includes(part),
    ms,
  );

export async function lookAtTerminal(person) {
  await person.get('lower-terminal').click();
  await rows(person, 'terminal-screen').waitFor();
}

/** Opens a terminal and waits for its prompt. */
export async function openTerminal(person) {
  await person.get('lower-terminal').click();
  await person.get('open-terminal').click();
  await rows(person, 'terminal-screen').waitFor();
  await sees(person, '/workspace $', START_MS);
}

export async function type(person, text) {
  await person.page.locator('[data-testid="terminal-screen"]:visible .xterm-helper-textarea').focus();
  await person.page.keyboard.type(text);
}
