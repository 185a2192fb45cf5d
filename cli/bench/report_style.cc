#include "cli/bench/report_style.h"

namespace cli::bench {

const char kReportStyle[] = R"css(
:root {
  color-scheme: light dark;
  --ground: #ffffff; --card: #f5f6f8; --ink: #1b1f24; --soft: #59636e; --rule: #d5dae0;
  --malloc: #b04400; --mmap: #0060a8; --mlock: #8f3584; --pool: #00704f; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1e2329; --ink: #e8eaed; --soft: #a3adb8; --rule: #353c45;
    --malloc: #ff9d5c; --mmap: #6cbcff; --mlock: #eba4dc; --pool: #3fd9a4; --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1064px; padding: 28px 32px 56px; background: var(--ground);
  color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: 15px; font-weight: 600; color: var(--soft); }
h2 { margin: 44px 0 6px; font-size: 20px; line-height: 1.3; }
p { margin: 6px 0 12px; max-width: 72ch; }
.verdict { margin: 10px 0 14px; font-size: 25px; line-height: 1.32; font-weight: 600; max-width: none; }
.verdict.bad { color: var(--bad); }
.soft, caption { color: var(--soft); }
.notes { margin: 14px 0; padding: 10px 16px; border-left: 4px solid var(--soft); background: var(--card); }
.notes p { margin: 4px 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin: 22px 0 0; }
.card { background: var(--card); border-top: 4px solid var(--c); border-radius: 6px; padding: 12px 14px; }
.card h3 { margin: 0; font-size: 17px; color: var(--c); }
.card p { margin: 0; font-size: 13px; line-height: 1.35; color: var(--soft); min-height: 2.7em; }
.card dl { margin: 8px 0 0; display: grid; grid-template-columns: auto 1fr; gap: 0 8px; }
.card dt { font-size: 13px; color: var(--soft); align-self: center; }
.card dd { margin: 0; text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.card .big { font-size: 22px; line-height: 1.35; }
.scroll { overflow-x: auto; margin: 8px 0; }
.scroll:focus-visible { outline: 2px solid var(--mmap); }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .words { text-align: left; }
tbody th { color: var(--c, var(--ink)); }
.facts td { white-space: normal; text-align: left; }
.facts th { text-align: left; width: 11em; vertical-align: top; }
.facts td, .facts th { padding: 4px 10px 4px 0; }
pre { margin: 8px 0; padding: 12px 14px; background: var(--card); border-radius: 6px; overflow-x: auto; font-size: 14px; }
figure { margin: 10px 0 0; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg.narrow { display: none; max-width: 520px; }
@media (max-width: 759px) {
  body { padding: 18px 16px 40px; }
  .verdict { font-size: 20px; }
  .cards { grid-template-columns: 1fr 1fr; gap: 10px; }
  .card p { min-height: 4.1em; }
  svg.wide { display: none; }
  svg.narrow { display: block; }
  .facts th { width: 7.5em; }
}
.m-malloc { --c: var(--malloc); } .m-mmap { --c: var(--mmap); }
.m-mlock { --c: var(--mlock); } .m-pool { --c: var(--pool); }
.grid { stroke: var(--rule); stroke-width: 1; }
.tick, .axis { fill: var(--soft); } .value { fill: var(--ink); font-weight: 600; }
.name { fill: var(--c); font-weight: 700; paint-order: stroke; stroke: var(--ground); stroke-width: 4px; stroke-linejoin: round; }
.fill { fill: var(--c); } .fill.soft { fill-opacity: .55; }
.frame { fill: none; stroke: var(--rule); }
.line { fill: none; stroke: var(--c); stroke-width: 2.2; stroke-linejoin: round; }
.line.m-malloc { stroke-dasharray: 9 3; } .line.m-mmap { stroke-dasharray: 2 3; stroke-width: 2.8; }
.line.m-mlock { stroke-dasharray: 9 3 2 3; } .line.m-pool { stroke-width: 3; }
@media print { body { max-width: none; } .scroll { overflow: visible; } }
)css";

}  // namespace cli::bench
