// SPDX-License-Identifier: MIT
#pragma once

// The live page's style: light and dark; text has a contrast of 4.5 and more, marks of 3 and more.
// A state has a shape and a word beside its colour, which is one of Okabe and Ito's or close to it.

#include <string_view>

namespace poise::inline v0_1_0::observe::detail {

inline constexpr std::string_view page_style = R"css(
:root {
  --back: #ffffff; --raised: #f5f6f8; --line: #d4d9df; --text: #15191e; --faint: #556070;
  --good: #0b6e4f; --warn: #8a5a00; --bad: #b3261e; --info: #0a5ea8;
  --good-back: #e9f5f0; --warn-back: #fff4dc; --bad-back: #fdebe9;
  --a: #0072b2; --b: #d55e00; --c: #009e73; --d: #a3468a; --e: #8a6d00; --f: #4b4b9c;
  --g: #6f4e37; --rest: #8a94a0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12151a; --raised: #1b2027; --line: #39424e; --text: #e8ecf1; --faint: #a3afbd;
    --good: #4fd1a1; --warn: #f0b429; --bad: #ff8a80; --info: #7cc4ff;
    --good-back: #12291f; --warn-back: #33270a; --bad-back: #3a1715;
    --a: #56b4e9; --b: #ff8c42; --c: #2fc79a; --d: #e29cc6; --e: #e8d94a; --f: #a9a9f5;
    --g: #c9a184; --rest: #7b8794;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 14px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1, h2, p, ul, ol, dl, dd { margin: 0; padding: 0; }
h1 { font-size: 16px; overflow-wrap: anywhere; }
h2 { font-size: 13px; color: var(--faint); font-weight: 600; }
ul, ol { list-style: none; }
a { color: var(--info); }
button { font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--faint);
  border-radius: 4px; padding: 2px 10px; min-height: 26px; cursor: pointer; }
button[aria-pressed=true] { background: var(--text); color: var(--back); }
:focus-visible { outline: 3px solid var(--info); outline-offset: 1px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
header { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; padding: 6px 16px;
  border-bottom: 1px solid var(--line); }
#policy { color: var(--faint); }
#balancers { display: flex; gap: 4px; flex-wrap: wrap; }
#live { margin-left: auto; }
#live[data-state=stale] { background: var(--bad-back); color: var(--bad); font-weight: 700;
  padding: 2px 8px; border: 2px solid var(--bad); border-radius: 4px; }
main { display: grid; gap: 10px 16px; padding: 10px 16px;
  grid-template-columns: minmax(0, 1fr) 340px;
  grid-template-areas: "verdict recent" "figures recent" "charts charts" "detail detail"
    "backends backends"; grid-template-rows: auto auto; }
#verdict { grid-area: verdict; } #recent { grid-area: recent; } #figures { grid-area: figures; }
#charts { grid-area: charts; } #backends { grid-area: backends; } #detail { grid-area: detail; }
.stale main { opacity: .75; filter: grayscale(1); }
#verdict { border-left: 6px solid var(--faint); padding: 6px 12px; background: var(--raised);
  border-radius: 4px; overflow-wrap: anywhere; }
#verdict h2 { font-size: 19px; color: var(--text); }
#verdict[data-level=good] { border-color: var(--good); background: var(--good-back); }
#verdict[data-level=warn] { border-color: var(--warn); background: var(--warn-back); }
#verdict[data-level=bad] { border-color: var(--bad); background: var(--bad-back); }
#troubles li { margin-top: 2px; } #notices li { font-weight: 700; }
#recent { position: relative; min-height: 130px; }
#log { position: absolute; inset: 20px 0 0; overflow-y: auto; font-size: 13px; }
#log li, #detail-log li { padding: 1px 0; overflow-wrap: anywhere; }
time { color: var(--faint); }
#figures { display: flex; flex-wrap: wrap; gap: 4px 22px; }
#figures div { display: flex; flex-direction: column-reverse; }
#figures dt { color: var(--faint); font-size: 12px; }
#figures dd { font-size: 18px; font-weight: 600; }
#charts { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 12px; }
figure { margin: 0; min-width: 0; }
figure { display: flex; flex-direction: column; }
figcaption { flex: 1; font-size: 12px; color: var(--faint); display: flex; flex-wrap: wrap;
  gap: 0 10px; align-content: flex-start; }
figcaption b { color: var(--text); }
svg { display: block; width: 100%; overflow: visible; }
.chart { height: 92px; border-bottom: 1px solid var(--line); }
.ends { display: flex; justify-content: space-between; font-size: 11px; color: var(--faint); }
path { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
path.dashed { stroke-dasharray: 5 3; }
path.dotted { stroke-dasharray: 1.5 2.5; }
path.incident { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 3 2; }
.key::before { content: ""; display: inline-block; width: 16px; height: 0; margin-right: 4px;
  vertical-align: middle; border-top: 3px solid var(--hue); }
.key.dashed::before { border-top-style: dashed; }
.key.dotted::before { border-top-style: dotted; }
.key.filled::before { border-top-width: 10px; width: 10px; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; contain: layout; }
th, td { text-align: right; padding: 3px 6px; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
thead th { position: sticky; top: 0; background: var(--back); z-index: 1; font-size: 12px;
  vertical-align: bottom; padding: 0; }
thead button { border: 0; background: none; font-weight: 600; width: 100%; text-align: right;
  padding: 3px 6px; color: var(--faint); border-radius: 0; }
thead [aria-sort] button { color: var(--text); text-decoration: underline; }
thead th:nth-child(1) { width: 13%; } thead th:nth-child(2) { width: 30%; }
thead th:nth-child(3) { width: 11%; } thead th:nth-child(9) { width: 9%; }
th:first-child, th:nth-child(2), td:nth-child(2), th:first-child button,
th:nth-child(2) button { text-align: left; }
tbody th { font-weight: 600; }
tbody th button { border: 0; background: none; padding: 0; text-align: left; font-weight: 600;
  color: var(--info); text-decoration: underline; overflow-wrap: anywhere; min-height: 24px; }
tr[data-level=bad] { background: var(--bad-back); }
tr[data-level=warn] { background: var(--warn-back); }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.state { font-weight: 600; }
.bar { display: block; position: relative; height: 7px; margin-top: 3px; background: var(--line);
  border-radius: 2px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--a); border-radius: 2px; }
.bar b { position: absolute; top: -3px; bottom: -3px; width: 2px; background: var(--text); }
.spark { height: 20px; } .spark path { stroke: var(--a); stroke-width: 1.3; }
#detail { border: 1px solid var(--faint); border-radius: 4px; padding: 8px 12px; }
#detail h2 { display: inline; color: var(--text); font-size: 15px; overflow-wrap: anywhere; }
#close { float: right; }
#detail-figures { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 6px 0; }
#detail-figures dt { color: var(--faint); font-size: 12px; }
footer { padding: 6px 16px 14px; color: var(--faint); font-size: 12px; }
@media (max-width: 900px) {
  main { grid-template-columns: minmax(0, 1fr); grid-template-areas: "verdict" "figures" "detail"
    "backends" "charts" "recent"; grid-template-rows: none; }
  #charts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  #log { position: static; max-height: 300px; }
  thead th:nth-child(9), td:nth-child(9) { display: none; }
}
@media (max-width: 600px) {
  header, main, footer { padding-left: 8px; padding-right: 8px; }
  #charts { grid-template-columns: minmax(0, 1fr); }
  thead { display: none; }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); padding: 5px 4px;
    border-bottom: 1px solid var(--line); }
  th, td { border: 0; padding: 1px 3px; text-align: left; }
  tbody th, tbody td:nth-child(2) { grid-column: 1 / -1; }
  td[data-name]::before { content: attr(data-name) " "; color: var(--faint); font-size: 12px; }
  td:nth-child(2)::before { content: none; }
}
@media print {
  button, footer, #live { display: none; }
  th button { display: inline; color: inherit; }
  #log { position: static; max-height: none; overflow: visible; }
  main { display: block; }
  tr, figure { break-inside: avoid; }
}
@media (forced-colors: active) {
  .bar i { background: Highlight; } .bar b { background: CanvasText; }
  path { stroke: CanvasText !important; }
}
)css";

}  // namespace poise::inline v0_1_0::observe::detail
