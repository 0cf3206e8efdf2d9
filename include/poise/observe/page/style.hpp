// SPDX-License-Identifier: MIT
#pragma once

// The live page's style. A state has a shape and a word beside its colour.

#include <string_view>

namespace poise::inline v0_1_0::observe::detail {

inline constexpr std::string_view page_style = R"css(
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 14px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1, h2, h3, p, ul, ol, dl, dd, pre { margin: 0; padding: 0; }
h1 { font-size: 16px; overflow-wrap: anywhere; }
h2 { font-size: 13px; color: var(--faint); font-weight: 600; }
h3 { font-size: 13px; color: var(--faint); font-weight: 600; margin-top: 10px; }
ul, ol { list-style: none; }
a { color: var(--info); }
button, input { font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--edge); border-radius: 6px; padding: 2px 10px; min-height: 26px; }
button { cursor: pointer; }
button:hover { background: var(--raised); }
button[aria-pressed=true] { background: var(--text); color: var(--card); }
:focus-visible { outline: 3px solid var(--info); outline-offset: 1px; border-radius: 4px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
header { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; padding: 7px 16px;
  background: var(--card); border-bottom: 1px solid var(--line); }
noscript p { padding: 12px 16px; font-size: 16px; font-weight: 600; }
#policy { color: var(--faint); }
#balancers button { max-width: 100%; overflow-wrap: anywhere; }
#balancers { display: flex; gap: 4px; flex-wrap: wrap; }
#live { margin-left: auto; font-weight: 600; }
#live[data-state=live] { color: var(--good); }
#live[data-state=stale], #live[data-state=silent] { background: var(--bad-back);
  color: var(--bad); font-weight: 700; padding: 2px 8px;
  border: 2px solid var(--bad); border-radius: 6px; }
main { display: grid; gap: 10px; padding: 10px 16px;
  grid-template-columns: minmax(0, 1fr) 340px;
  grid-template-areas: "verdict recent" "figures recent" "charts charts" "detail detail"
    "backends backends"; grid-template-rows: auto auto; }
#verdict { grid-area: verdict; } #recent { grid-area: recent; } #figures { grid-area: figures; }
#charts { grid-area: charts; } #backends { grid-area: backends; } #detail { grid-area: detail; }
.stale main { opacity: .75; filter: grayscale(1); }
#recent, figure, #backends, #detail, #verdict, #figures div { background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; }
#verdict { border-left: 8px solid var(--edge); overflow-wrap: anywhere; }
#verdict h2 { font-size: 21px; line-height: 1.25; color: var(--text); }
#verdict[data-level=good] { border-color: var(--good); background: var(--good-back); }
#verdict[data-level=warn] { border-color: var(--warn); background: var(--warn-back); }
#verdict[data-level=bad] { border-color: var(--bad); background: var(--bad-back); }
[data-level=good] > #verdict-title { color: var(--good); }
[data-level=warn] > #verdict-title { color: var(--warn); }
[data-level=bad] > #verdict-title { color: var(--bad); }
#traffic { font-size: 15px; font-weight: 600; margin: 1px 0 3px; }
#troubles li { margin-top: 3px; padding-left: 16px; text-indent: -16px; }
#notices li { margin-top: 5px; padding: 3px 8px; border: 1px solid currentcolor; font-weight: 600;
  border-radius: 6px; background: var(--card); }
#recent { position: relative; min-height: 130px; }
#log { position: absolute; inset: 30px 2px 6px 12px; overflow-y: auto; font-size: 13px; }
#log li, #detail-log li { padding: 1px 0; overflow-wrap: anywhere; }
time { color: var(--faint); }
#figures { display: grid; grid-template-columns: repeat(10, minmax(0, auto)); gap: 6px; }
#figures div { display: flex; flex-direction: column-reverse; padding: 3px 8px; }
#figures dt { color: var(--faint); font-size: 12px; white-space: nowrap; }
#figures dd { font-size: 18px; font-weight: 600; white-space: nowrap; }
#charts { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 10px; }
figure { margin: 0; min-width: 0; display: flex; flex-direction: column; }
figcaption { flex: 1; font-size: 12px; color: var(--faint); display: flex; flex-wrap: wrap;
  gap: 0 10px; align-content: flex-start; }
figcaption b { color: var(--text); flex-basis: 100%; font-size: 13px; }
svg { display: block; width: 100%; overflow: visible; }
.chart { height: 84px; margin-top: 4px; border-bottom: 1px solid var(--edge);
  background: linear-gradient(var(--line), var(--line)) 0 0 / 100% 1px no-repeat,
    linear-gradient(var(--line), var(--line)) 0 50% / 100% 1px no-repeat; }
.ends { display: flex; justify-content: space-between; font-size: 11px; color: var(--faint); }
path { fill: none; stroke-width: 1.8; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; }
path.dashed { stroke-dasharray: 5 3; }
path.dotted { stroke-dasharray: 1.5 2.5; }
path.incident { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 3 2; }
.key::before { content: ""; display: inline-block; width: 16px; height: 0; margin-right: 4px;
  vertical-align: middle; border-top: 3px solid var(--hue); }
.key.dashed::before { border-top-style: dashed; }
.key.dotted::before { border-top-style: dotted; }
.key.filled::before { border-top-width: 10px; width: 10px; border-radius: 2px; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; contain: layout; }
th, td { text-align: right; padding: 4px 6px; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; background: var(--card); z-index: 1; font-size: 12px;
  vertical-align: bottom; padding: 0; }
thead button { border: 0; background: none; font-weight: 600; width: 100%; text-align: right;
  padding: 3px 6px; color: var(--faint); border-radius: 0; }
thead [aria-sort] button { color: var(--text); text-decoration: underline; }
thead th:nth-child(1) { width: 13%; } thead th:nth-child(2) { width: 31%; }
thead th:nth-child(3) { width: 11%; } thead th:nth-child(6) { width: 9%; }
thead th:nth-child(9) { width: 9%; } thead th:nth-child(10) { width: 7%; }
th:first-child, th:nth-child(2), td:nth-child(2), th:first-child button,
th:nth-child(2) button { text-align: left; }
tbody th { font-weight: 600; }
tbody th button { border: 0; background: none; padding: 0; text-align: left; font-weight: 600;
  color: var(--info); text-decoration: underline; overflow-wrap: anywhere; min-height: 24px; }
tr[data-level=bad] { background: var(--bad-back); }
tr[data-level=warn] { background: var(--warn-back); }
tbody th:first-child { border-left: 4px solid transparent; }
tr[data-level=bad] th:first-child { border-left-color: var(--bad); }
tr[data-level=warn] th:first-child { border-left-color: var(--warn); }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.state { font-weight: 700; white-space: nowrap; }
.bar { display: block; position: relative; height: 7px; margin-top: 3px; background: var(--line);
  border-radius: 4px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--a); border-radius: 4px; }
.bar b { position: absolute; top: -3px; bottom: -3px; width: 2px; background: var(--text); }
.spark { height: 20px; } .spark path { stroke: var(--a); stroke-width: 1.3; }
#detail { border: 2px solid var(--info); }
#detail h2 { display: inline; color: var(--text); font-size: 16px; overflow-wrap: anywhere; }
#close { float: right; }
#detail-figures { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 6px 0; }
#detail-figures div { min-width: 0; }
#detail-figures dd { overflow-wrap: anywhere; }
#detail-figures dt { color: var(--faint); font-size: 12px; }
#key { width: 260px; max-width: 100%; }
pre { font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  max-height: 320px; overflow-y: auto; margin: 3px 0; }
footer { padding: 6px 16px 14px; color: var(--faint); font-size: 12px; }
@media (max-width: 900px) {
  main { grid-template-columns: minmax(0, 1fr); grid-template-areas: "verdict" "figures" "detail"
    "backends" "charts" "recent"; grid-template-rows: none; }
  #charts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  #figures { grid-template-columns: repeat(5, minmax(0, 1fr)); }
  #log { position: static; max-height: 300px; }
  thead th:nth-child(9), td:nth-child(9) { display: none; }
}
@media (max-width: 600px) {
  header, main, footer { padding-left: 8px; padding-right: 8px; }
  #verdict h2 { font-size: 18px; }
  #charts { grid-template-columns: minmax(0, 1fr); }
  #figures { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  #figures dd { font-size: 16px; }
  #backends { padding: 8px 4px; }
  thead { display: none; }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); padding: 5px 4px;
    border-bottom: 1px solid var(--line); }
  th, td { border: 0; padding: 1px 3px; text-align: left; }
  tbody th, tbody td:nth-child(2) { grid-column: 1 / -1; }
  td[data-name]::before { content: attr(data-name); display: block; color: var(--faint);
    font-size: 12px; }
  td:nth-child(2)::before { content: none; }
}
@media print {
  :root { --back: #fff; }
  button, footer, #live, #explanations { display: none; }
  th button { display: inline; color: inherit; }
  #log { position: static; max-height: none; overflow: visible; }
  main { display: flex; flex-direction: column; padding: 0; }
  #recent { order: 1; }
  #charts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  thead th { position: static; }
  tr, figure { break-inside: avoid; }
}
@media (forced-colors: active) {
  .bar i { background: Highlight; } .bar b { background: CanvasText; }
  path { stroke: CanvasText !important; }
}
)css";

}  // namespace poise::inline v0_1_0::observe::detail
