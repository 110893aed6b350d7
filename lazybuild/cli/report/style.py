"""How the report looks, in the light and in the dark. One constant text; the colours of the states
differ in lightness, too, and every state has a word beside it.
"""

from lazybuild.cli.report.markup import Html

STYLE = Html("""
:root { color-scheme: light dark; --ground: #fafaf8; --paper: #fff; --ink: #1c2024; --soft: #5b6470;
  --line: #d9dde3; --none: #e6e9ed; --asked: #d55e00; --ahead: #0072b2; --kept: #008a64;
  --spare: #8fb8d8; --toc: #9a5aa8; --fill: #6b8fa8; --whole: #8a6d00; --step: #dfe4ea; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --paper: #1c2024; --ink: #e8eaed;
  --soft: #a0a9b4; --line: #343b43; --none: #2b3138; --asked: #ff8c42; --ahead: #4ba8e8;
  --kept: #2ec494; --spare: #34597a; --toc: #c48ad2; --fill: #7fa0b8; --whole: #d9b23a;
  --step: #343d47; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 2rem 1.25rem 4rem; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 .75rem; }
section, figure { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  margin: 1.25rem 0; padding: 1.1rem 1.25rem; }
section figure { border: 0; margin: .75rem 0; padding: 0; }
p { margin: .3rem 0; } .soft, figcaption, dt, caption { color: var(--soft); }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85em;
  overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .75rem;
  margin: 1.25rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: .7rem 1rem; color: var(--soft); }
.tiles strong { display: block; color: var(--ink); font-size: 1.35rem; font-weight: 650; }
.badge { border-radius: 99px; border: 1px solid currentColor; font-size: .75rem; font-weight: 600;
  margin-left: .5rem; padding: .1rem .6rem; vertical-align: .1rem; white-space: nowrap; }
.badge.lazy { color: var(--kept); } .badge.eager { color: var(--asked); }
.badge.local, .badge.plain { color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; margin: 0;
  padding: 0 0 .6rem; color: var(--soft); font-size: .87rem; }
.legend svg { height: 11px; margin-right: .4rem; width: 11px; }
svg { display: block; height: auto; width: 100%; } .legend svg { display: inline; }
.timeline text { fill: var(--ink); font: 10px system-ui, "DejaVu Sans", sans-serif; }
.timeline .axis { fill: var(--soft); } .tick { stroke: var(--line); }
.step rect { fill: var(--step); }
.none { fill: var(--none); } .asked { fill: var(--asked); } .ahead { fill: var(--ahead); }
.kept { fill: var(--kept); } .spare { fill: var(--spare); } .toc { fill: var(--toc); }
.fill { fill: var(--fill); } .whole { fill: var(--whole); }
.s1 { fill-opacity: .5; } .s2 { fill-opacity: .75; }
.first { fill: none; stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3; }
#grid path { stroke: var(--paper); stroke-width: 2; fill: none; }
.scroll { overflow-x: auto; } .timeline { min-width: 720px; } .field { min-width: 320px; }
table { border-collapse: collapse; margin: .5rem 0; width: 100%; }
caption { font-size: .87rem; text-align: left; }
th, td { border-top: 1px solid var(--line); padding: .25rem .75rem .25rem 0; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; } thead th { border-top: 0; font-size: .82rem; }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
dl { display: grid; gap: .1rem 1rem; grid-template-columns: max-content 1fr; margin: .5rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin: .5rem 0; } summary { color: var(--soft); cursor: pointer; }
summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--ahead);
  outline-offset: 2px; }
ol { margin: .4rem 0; max-height: 22rem; overflow: auto; padding-left: 3.2rem; }
footer { color: var(--soft); font-size: .85rem; }
@media print { body { background: none; } section { break-inside: avoid; } }
""")
