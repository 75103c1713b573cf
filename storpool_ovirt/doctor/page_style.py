"""How the page of doctor looks: on a desk, on a phone, in the dark, on paper."""

from __future__ import annotations

# A colour has two jobs here, each with its own name: the ink of words (`--critical`), readable on
# paper and card alike, and the wash behind them.  tests/doctor/test_page_looks.py measures all of
# them.
STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f4f5f7; --card: #ffffff; --ink: #1b2430; --quiet: #566273; --line: #d8dde4;
  --code: #eef1f5;
  --critical: #b3171f; --critical-wash: #fdecec;
  --warning: #8a5300; --warning-wash: #fff4dd;
  --unknown: #4a4f9c; --unknown-wash: #eeeffb;
  --ok: #14693b; --ok-wash: #e5f5ec;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #12161c; --card: #1b2129; --ink: #e6eaf0; --quiet: #a0acbb; --line: #323b47;
    --code: #252d38;
    --critical: #ff8f8f; --critical-wash: #401b1f;
    --warning: #f3bd62; --warning-wash: #3a2c12;
    --unknown: #b3b8ff; --unknown-wash: #272a4a;
    --ok: #74d39c; --ok-wash: #173525;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif;
  overflow-wrap: anywhere;
}
.critical { --hue: var(--critical); --wash: var(--critical-wash); }
.warning { --hue: var(--warning); --wash: var(--warning-wash); }
.unknown { --hue: var(--unknown); --wash: var(--unknown-wash); }
.ok { --hue: var(--ok); --wash: var(--ok-wash); }
header { background: var(--wash); border-bottom: 3px solid var(--hue); }
header > div, main, footer { max-width: 60rem; margin: 0 auto; padding: 1.25rem 1rem; }
header p { margin: 0; }
header .program { color: var(--hue); font-weight: 600; font-size: .875rem; }
h1 { margin: .25rem 0 .35rem; font-size: 1.75rem; line-height: 1.2; text-wrap: balance; }
h2 { margin: 2rem 0 .75rem; font-size: 1.15rem; line-height: 1.3; }
h3 { margin: 0; font-size: 1.05rem; line-height: 1.4; }
code, .command dd { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { font-size: .875em; }
.filter { border: 0; margin: 0; padding: 0; display: none; flex-wrap: wrap; gap: .5rem; }
.filter legend {
  float: left; padding: 0; margin-right: .25rem; line-height: 2.25rem; color: var(--quiet);
}
.filter input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.filter label { position: relative; cursor: pointer; }
.filter span {
  display: block; padding: 0 .8rem; line-height: 2.125rem; border: 1px solid var(--line);
  border-radius: 2rem; background: var(--card); color: var(--hue, var(--ink));
}
.filter input:checked + span {
  border-color: currentColor; box-shadow: inset 0 0 0 1px currentColor;
}
.filter input:focus-visible + span { outline: 3px solid var(--unknown); outline-offset: 2px; }
@supports selector(:has(a)) {
  .filter { display: flex; }
  main:has(#show-critical:checked) > section:not(.critical),
  main:has(#show-warning:checked) > section:not(.warning),
  main:has(#show-unknown:checked) > section:not(.unknown),
  main:has(#show-ok:checked) > section:not(.ok) { display: none; }
}
article {
  background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 1rem 1.1rem .8rem; margin: 0 0 .9rem;
}
.badge {
  display: inline-block; margin-right: .35rem; padding: 0 .55rem; border-radius: 1rem;
  background: var(--wash); color: var(--hue); font-size: .8125rem; font-weight: 600;
  line-height: 1.5rem; vertical-align: .06em;
}
article.critical .badge { background: var(--critical); color: var(--card); }
.doubt { font-weight: 400; color: var(--quiet); }
article .subject { margin: .3rem 0 0; color: var(--quiet); }
dl { margin: .7rem 0 0; }
dl > div { display: grid; grid-template-columns: 4.25rem 1fr; margin: .4rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; min-width: 0; }
.command dd {
  background: var(--code); border-radius: 4px; padding: .3rem .6rem; font-size: .875rem;
  white-space: pre-wrap;
}
dd bdi, td bdi { display: block; max-height: 24em; overflow-y: auto; }
.check { margin: .7rem 0 0; color: var(--quiet); font-size: .875rem; }
table {
  width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
}
caption { text-align: left; color: var(--quiet); padding: 0 0 .4rem; font-size: .875rem; }
th, td {
  text-align: left; vertical-align: top; padding: .55rem .75rem; border-top: 1px solid var(--line);
}
thead th { color: var(--quiet); font-weight: 600; font-size: .875rem; }
tbody th { font-weight: 600; }
tbody th code { display: block; font-weight: 400; color: var(--quiet); }
.subject { font-weight: 400; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.checks tbody th { width: 42%; }
.versions tbody th { width: 42%; font-weight: 400; color: var(--quiet); }
.nowrap { white-space: nowrap; }
footer { color: var(--quiet); font-size: .875rem; }
@media (max-width: 40rem) {
  h1 { font-size: 1.45rem; }
  .filter legend { float: none; width: 100%; line-height: 1.5; }
  .checks thead {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  }
  .checks tr { display: block; border-top: 1px solid var(--line); padding: .5rem .75rem; }
  .checks tbody th, .checks td {
    display: block; width: auto; padding: 0; border: 0; text-align: left;
  }
  .checks .number::after { content: " s"; }
  .checks .number { color: var(--quiet); font-size: .875rem; }
  dl > div { display: block; }
}
@media print {
  body { background: #fff; color: #000; font-size: 10pt; }
  .filter { display: none; }
  header { background: none; }
  header > div, main, footer { max-width: none; padding: .25rem 0; }
  article, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  dd bdi, td bdi { max-height: none; overflow: visible; }
  .badge { border: 1px solid currentColor; background: none; }
  main > section { display: block !important; }
}
"""
