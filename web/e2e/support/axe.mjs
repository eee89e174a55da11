/** What axe finds on a page that keeps people out. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SOURCE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

/** What stays: dockview has the button that closes a tab inside of it, where keys reach it. */
const KNOWN = { 'nested-interactive': '#dv-tab-' };

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** A line for each element that breaks a rule of WCAG 2.2 (A, AA), of what axe calls serious or critical. */
export async function faults({ page }) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(SOURCE);
  return await page.evaluate(
    async ([rules, known]) => {
      const { violations } = await window.axe.run(document, {
        runOnly: { type: 'tag', values: rules },
        resultTypes: ['violations'],
      });
      return violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .flatMap(({ id, nodes }) =>
          nodes
            .filter(({ target }) => !(id in known && String(target[0]).startsWith(known[id])))
            .map(({ target, any, all, none }) => {
              const why = [...any, ...all, ...none].map(({ message }) => message).join('; ');
              return `${id}: ${target.join(' ')}: ${why}`;
            }),
        );
    },
    [RULES, KNOWN],
  );
}
