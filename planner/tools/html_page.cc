#include "planner/tools/html_page.h"

#include <fmt/format.h>

#include "planner/tools/svg.h"

namespace tessera::planner::tools {
namespace {

constexpr const char* kStyle = R"css(
:root { --page: #fbfbf9; --ink: #1c1d1f; --soft: #6a6d73; --line: #dcdcd6; --idle: #ecece6;
  --forward: #3f74c8; --backward: #1d9a83; --busy: #2e87a6; --send: #c59a33; --reduce: #b4506e; --gather: #8a62b8;
  --update: #7d828c; --static: #8b93a5; --activation: #3f74c8; --workspace: #c59a33; --free: #ecece6;
  --bad: #c0392b; --t0: #cfe0f7; --t1: #cdeee4; --t2: #f7e4c3; --t3: #f3d3dc; --t4: #e4d8f2; --t5: #dfe3e8; }
@media (prefers-color-scheme: dark) { :root { --page: #17181a; --ink: #e7e7e3; --soft: #9a9da3; --line: #35373b;
  --idle: #26282b; --forward: #5b8fe0; --backward: #2fb39b; --busy: #45a1bd; --send: #d3ab4a; --reduce: #cc6a88; --gather: #a37dd0;
  --update: #8f949e; --static: #6e7689; --activation: #5b8fe0; --workspace: #d3ab4a; --free: #26282b; --bad: #ff7b6b;
  --t0: #24406a; --t1: #1d5247; --t2: #5e4a1f; --t3: #5e2f3e; --t4: #46336a; --t5: #3a3f47; } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, sans-serif;
  max-width: 1220px; margin: 28px auto 60px; padding: 0 20px; }
h1 { font-size: 25px; font-weight: 600; margin: 0 0 4px; } h2 { font-size: 18px; font-weight: 600; margin: 34px 0 8px; }
p { margin: 6px 0; max-width: 78ch; } .soft { color: var(--soft); }
svg { width: 100%; height: auto; display: block; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 6px 0; }
th { text-align: right; font-weight: 500; color: var(--soft); border-bottom: 1px solid var(--line); }
td { text-align: right; border-bottom: 1px solid var(--line); } th, td { padding: 4px 12px 4px 0; white-space: nowrap; }
th.left, td.left { text-align: left; } tr.sum td { font-weight: 600; } .bad { color: var(--bad); }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 9px 15px; min-width: 118px; }
.card b { display: block; font-size: 20px; font-weight: 600; } .card span { color: var(--soft); font-size: 13px; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin: 0 5px 0 14px; vertical-align: -1px; }
text { font-family: inherit; fill: var(--ink); dominant-baseline: central; font-size: 12px; }
text.heading { font-weight: 600; font-size: 13px; } text.label { fill: var(--soft); } text.number { fill: #fff; font-size: 9.5px; }
text.middle { text-anchor: middle; } text.end { text-anchor: end; } text.start { text-anchor: start; }
text.bad { fill: var(--bad); }
rect.forward { fill: var(--forward); } rect.backward { fill: var(--backward); } rect.busy { fill: var(--busy); } rect.send { fill: var(--send); }
rect.reduce { fill: var(--reduce); } rect.gather { fill: var(--gather); } rect.update { fill: var(--update); }
rect.idle { fill: var(--idle); } rect.static { fill: var(--static); } rect.activation { fill: var(--activation); }
rect.workspace { fill: var(--workspace); } rect.free { fill: var(--free); }
rect.node { fill: none; stroke: var(--line); } rect.unused { fill: var(--page); stroke: var(--line); stroke-dasharray: 3 2; }
rect.t0 { fill: var(--t0); } rect.t1 { fill: var(--t1); } rect.t2 { fill: var(--t2); } rect.t3 { fill: var(--t3); }
rect.t4 { fill: var(--t4); } rect.t5 { fill: var(--t5); }
line.axis { stroke: var(--line); } line.mark { stroke: var(--ink); stroke-dasharray: 4 3; opacity: 0.55; }
line.limit { stroke: var(--bad); stroke-width: 1.5; }
)css";

}  // namespace

std::string html_page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n"
      "<style>{}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
      escaped(title), kStyle, body);
}

}  // namespace tessera::planner::tools
