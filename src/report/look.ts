/** How a report looks, on screens light and dark and on paper, and the lines of JavaScript that sort its tables. */

export const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --paper: #fff; --raised: #f6f8fa; --link: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9ba5b0; --line: #3d444d; --paper: #0d1117; --raised: #161b22; --link: #79b8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; border-bottom: 1px solid var(--line); margin-top: 2rem; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
p, figcaption, caption { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
a { color: var(--link); }
#charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
#charts h2 { grid-column: 1 / -1; margin-bottom: 0; }
figure { margin: 0; padding: 1rem; background: var(--raised); border: 1px solid var(--line); border-radius: 6px; break-inside: avoid; }
figure svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
tbody th { font-weight: 500; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit; }
th[aria-sort] button::after { content: ' ↑'; } th[aria-sort=descending] button::after { content: ' ↓'; }
.groups td { text-align: center; background: hsl(calc(var(--group) * 67), 60%, 85%); color: #111; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; list-style: none; padding: 0; }
.pictures li { display: grid; gap: .25rem; overflow-wrap: anywhere; max-width: 12rem; } .pictures img { width: 6rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
pre { background: var(--raised); padding: .75rem; overflow-x: auto; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media print { nav { display: none; } details::details-content { content-visibility: visible; } body { max-width: none; } .scroll { overflow: visible; } }
`;

/** By numbers where both cells begin with one, else by text; a second click turns the order round. */
export const SORTING = `
for (const table of document.querySelectorAll('table.sorts')) {
  table.tHead.addEventListener('click', ({ target }) => {
    const head = target.closest('th');
    if (!head || !target.closest('button')) return;
    const down = head.getAttribute('aria-sort') === 'ascending';
    for (const other of table.tHead.querySelectorAll('th')) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const of = (row) => row.cells[head.cellIndex].textContent.replace('−', '-');
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [parseFloat(of(a)), parseFloat(of(b))];
      const order = Number.isNaN(x) || Number.isNaN(y) ? (Number.isNaN(x) - Number.isNaN(y) || of(a).localeCompare(of(b))) : x - y;
      return down ? -order : order;
    });
    body.append(...rows);
  });
}
`;
