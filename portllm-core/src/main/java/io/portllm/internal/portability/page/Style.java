package io.portllm.internal.portability.page;

/** The style sheet of the page. Characters that markup gives a meaning to do not occur in it, so that it is the same as HTML and as XML. */
final class Style {
  static final String SHEET =
      """

      :root { color-scheme: light dark; --bg: #f6f7f9; --card: #ffffff; --ink: #1b2330; --soft: #566172; --line: #d8dde5;
        --grid: #e7eaef; --a: #1f5fa8; --b: #b4540a; --v0: #a3242b; --v1: #8a5a00; --v2: #176b3a;
        --t0: #fbeced; --t1: #fdf4df; --t2: #e8f5ec;
        --s0: #eef4fa; --s1: #d3e4f3; --s2: #aecfe9; --s3: #80b2db; --s4: #5291c7; --s5: #2f70ab; --s6: #185088; --s7: #08305d;
        --c1: #bcd8f0; --c2: #5f9fd6; --c3: #17528f; --n: #ebedf0; --w1: #f6d3ad; --w2: #dd8a3c; --w3: #8f4407; --on1: #1b2330; }
      @media screen and (prefers-color-scheme: dark) {
        :root { --bg: #11151b; --card: #191f28; --ink: #e6eaf0; --soft: #a3aebd; --line: #333d4b;
          --grid: #28303c; --a: #78b4f0; --b: #f0a35a; --v0: #ff8d92; --v1: #f0be55; --v2: #6fd098;
          --t0: #33191c; --t1: #322811; --t2: #142b1e;
          --s0: #1f2935; --s1: #1d3a58; --s2: #1f4c78; --s3: #2a659e; --s4: #4084c0; --s5: #66a5dc; --s6: #9bc8f0; --s7: #dcefff;
          --c1: #21476b; --c2: #3f83bf; --c3: #a5d2f8; --n: #2a313b; --w1: #634018; --w2: #c87a2a; --w3: #ffcb94; --on1: #0c1015; }
      }
      * { box-sizing: border-box; }
      body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
      main { max-width: 1180px; margin: 0 auto; padding: 24px 20px 60px; }
      header { margin: 0 0 16px; }
      h1 { font-size: 1.5rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
      h1 span { font-weight: 400; color: var(--soft); }
      h2 { font-size: 1.2rem; margin: 0 0 10px; }
      h3 { font-size: 1rem; margin: 20px 0 8px; }
      section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 18px 20px; margin: 0 0 16px; }
      p { margin: 0 0 10px; max-width: 80ch; }
      .kind { color: var(--soft); font-size: .85rem; margin: 0 0 2px; letter-spacing: .03em; }
      .note, figcaption { color: var(--soft); font-size: .87rem; }
      .note { max-width: 110ch; }
      .verdict { border-left-width: 8px; }
      .verdict.v0 { border-left-color: var(--v0); background: var(--t0); }
      .verdict.v1 { border-left-color: var(--v1); background: var(--t1); }
      .verdict.v2 { border-left-color: var(--v2); background: var(--t2); }
      .verdict h2 { font-size: 1.9rem; line-height: 1.2; display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; }
      .verdict h2 small { font-size: 1rem; font-weight: 400; color: var(--soft); }
      .advice { font-size: 1.1rem; font-weight: 600; }
      .icon { width: 1.05em; height: 1.05em; flex: none; vertical-align: -.15em; margin-right: .3em; }
      .verdict h2 .icon { margin: 0; }
      .icon path { fill: none; stroke: var(--card); stroke-width: 2.6; stroke-linecap: round; stroke-linejoin: round; }
      .icon.v0 rect { fill: var(--v0); } .icon.v1 .body { fill: var(--v1); stroke: none; } .icon.v2 circle { fill: var(--v2); }
      .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 240px), 1fr)); gap: 12px; margin: 14px 0; }
      .tile { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px; }
      .tile p { margin: 0; font-size: .87rem; color: var(--soft); overflow-wrap: anywhere; }
      .tile .name { font-weight: 600; color: var(--ink); }
      .tile .figure { font-size: 1.7rem; line-height: 1.3; color: var(--ink); font-variant-numeric: tabular-nums; }
      .reasons { margin: 0 0 10px; padding-left: 20px; max-width: 95ch; overflow-wrap: anywhere; }
      .reasons li { margin: 0 0 4px; }
      .reasons li::first-letter { text-transform: uppercase; }
      .sentence { font-weight: 600; } .sentence::first-letter { text-transform: uppercase; }
      table { border-collapse: collapse; font-size: .87rem; }
      th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
      thead th { border-bottom: 1px solid var(--line); color: var(--soft); font-weight: 600; vertical-align: bottom; }
      tbody th { font-weight: 400; }
      .facts { width: 100%; } .facts th { color: var(--soft); } .facts tbody th { white-space: nowrap; }
      .facts bdi, .findings td { overflow-wrap: anywhere; }
      .facts td:first-of-type { font-weight: 600; min-width: 6em; }
      code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
      .findings th { white-space: nowrap; font-weight: 600; } .f0 th { color: var(--v0); } .f1 th { color: var(--v1); }
      td.num, table.num td, table.num thead th { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
      table.num td, table.num th { padding: 3px 0 3px 16px; }
      table.num th:first-child { text-align: left; padding-left: 0; }
      table.num thead th.word, table.num td.word { text-align: left; }
      .sum th, .sum td { font-weight: 600; }
      .scroll { overflow-x: auto; max-width: 100%; }
      .scroll:focus-visible { outline: 2px solid var(--a); outline-offset: 2px; }
      .all { max-height: 85vh; overflow-y: auto; }
      .tensors thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
      .tensors th:first-child { position: sticky; left: 0; background: var(--card); min-width: 17rem; max-width: 26rem;
      overflow-wrap: anywhere; }
      .tensors thead th:first-child { z-index: 2; }
      .tensors thead th { white-space: normal; min-width: 4.6rem; }
      .tensors tbody tr:hover td, .tensors tbody tr:hover th { background: var(--grid); }
      .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 16px 28px; }
      .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 20px 28px; margin: 16px 0; }
      .maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 24px 28px; margin: 12px 0; }
      .maps.long { grid-template-columns: minmax(0, 1fr); }
      figure { margin: 0 0 12px; max-width: 100%; min-width: 0; }
      .maps figcaption { max-width: 62ch; min-height: 3em; } .maps.long figcaption { min-height: 0; }
      figcaption b { color: var(--ink); }
      details { margin: 8px 0; } summary { cursor: pointer; color: var(--a); }
      svg text { font-size: 12px; fill: var(--soft); font-family: inherit; }
      svg .mid { text-anchor: middle; } svg .end { text-anchor: end; }
      .plot { display: block; width: 100%; max-width: 560px; height: auto; } .plot.wide { max-width: 640px; }
      .legend { display: block; margin: 4px 0; max-width: 100%; height: auto; }
      .heat { display: block; } .heat rect { height: 17px; } .heat .end { font-size: 11px; fill: var(--ink); }
      .w56 rect { width: 55px; } .w26 rect { width: 25px; } .w18 rect { width: 17px; } .w11 rect { width: 10.2px; }
      .w9 rect { width: 8.4px; } .w7 rect { width: 6.5px; }
      .on0, .on1, .on2 { pointer-events: none; } .heat .on0, .heat .on1, .heat .on2 { font-size: 11px; }
      svg .on0 { fill: var(--ink); } svg .on1 { fill: var(--on1); } svg .on2 { fill: var(--card); }
      .heat rect:hover { stroke: var(--ink); stroke-width: 1.5; }
      .s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
      .s4 { fill: var(--s4); } .s5 { fill: var(--s5); } .s6 { fill: var(--s6); } .s7 { fill: var(--s7); }
      .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); } .n { fill: var(--n); }
      .w1 { fill: var(--w1); } .w2 { fill: var(--w2); } .w3 { fill: var(--w3); }
      .none { fill: none; stroke: var(--line); stroke-dasharray: 1 3; }
      .grid { stroke: var(--grid); } .rule { stroke: var(--soft); stroke-dasharray: 4 3; }
      text.rule { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-dasharray: none; }
      .note text, text.note { font-weight: 600; fill: var(--ink); }
      .line { fill: none; stroke-width: 2; } .line.a { stroke: var(--a); } .line.b { stroke: var(--b); stroke-dasharray: 5 3; }
      .dot.a, .bar.a { fill: var(--a); } .dot.b { fill: var(--b); }
      .range { stroke-width: 2.5; opacity: .45; } .range.thin { stroke-width: 1; } .range.a { stroke: var(--a); }
      .range.b { stroke: var(--b); }
      .gauge { display: block; width: 100%; max-width: 240px; margin: 2px 0 6px; }
      .z0 { fill: var(--v0); } .z1 { fill: var(--v1); } .z2 { fill: var(--v2); } .hand { fill: var(--ink); }
      .pin { stroke: var(--ink); stroke-width: 1.5; }
      @media (max-width: 600px) {
        main { padding: 12px 10px 40px; } section { padding: 14px 12px; } .plot text { font-size: 15px; } .verdict h2 { font-size: 1.5rem; }
        .tensors th:first-child { min-width: 9rem; max-width: 9rem; }
      }
      @media print {
        :root { font-size: 11.5px; } body { background: none; font-size: 1rem; } main { max-width: none; padding: 0; }
        section { border: 0; padding: 0 0 10px; }
        .verdict { padding: 8px 12px; border-left: 8px solid; } .all { max-height: none; } .scroll { overflow: visible; }
        figure, .tile, tr { break-inside: avoid; } details::details-content { content-visibility: visible; }
        .tensors { font-size: 6px; } .tensors td, .tensors th { padding: 1px 0 1px 3px !important; } .tensors thead th { min-width: 0; }
        * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
      }
      """;

  private Style() {}
}
