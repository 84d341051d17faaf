#!/usr/bin/env python3
"""Draws docs/img/kserver.svg: the dumbbell on which Double Coverage lets one of two servers pay 2/3.

    docs/img/make_kserver_picture.py build/mpi/bin/tessera-algos

The bars are what the program reports for 1000 laps of the six requests.
"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

LAP = [15, 24, 16, 8, 11, 6]
STARTS = [10, 6]
LAPS = 1000
STEP = 34
COLORS = ["#e15759", "#4e79a7"]


def edges():
    """Hubs 0 and 4 joined by 1-3; arms 5-9 and 10-14 at hub 0, 15-19 and 20-24 at hub 4."""
    out = [(i, i + 1) for i in range(4)]
    for hub, first in ((0, 5), (0, 10), (4, 15), (4, 20)):
        out += [(hub if i == 0 else first + i - 1, first + i) for i in range(5)]
    return out


def positions():
    at = {i: (230 + STEP * i, 190.0) for i in range(5)}
    slope = math.radians(40)
    for hub, first, dx, dy in ((0, 5, -1, -1), (0, 10, -1, 1), (4, 15, 1, -1), (4, 20, 1, 1)):
        for i in range(5):
            reach = STEP * (i + 1)
            at[first + i] = (at[hub][0] + dx * reach * math.cos(slope), at[hub][1] + dy * reach * math.sin(slope))
    return at


def shares(program, *options):
    with tempfile.TemporaryDirectory() as folder:
        tree, requests = pathlib.Path(folder, "tree.json"), pathlib.Path(folder, "requests.json")
        tree.write_text(json.dumps({"kind": "tree", "edges": [[a, b, 1] for a, b in edges()]}))
        requests.write_text(json.dumps({"servers": STARTS, "requests": LAP * LAPS}))
        answer = json.loads(subprocess.run([program, "kserver", "online", tree, requests, "--json", *options],
                                           check=True, capture_output=True, text=True).stdout)
    return [cost / answer["cost"] for cost in answer["costs"]]


def bars(x, y, title, parts):
    out = [f'<text x="{x}" y="{y - 10}" class="l">{title}</text>']
    for server, part in enumerate(parts):
        top = y + 24 * server
        out.append(f'<rect x="{x}" y="{top}" width="{180 * part:.1f}" height="18" rx="3" fill="{COLORS[server]}"/>')
        out.append(f'<text x="{x + 180 * part + 6:.1f}" y="{top + 14}" class="l">server {server}: {100 * part:.1f} %</text>')
    return out


def main():
    program = sys.argv[1]
    at = positions()
    svg = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 370" font-family="sans-serif">',
           '<style>.t{font-size:16px;font-weight:bold;text-anchor:middle}.l{font-size:13px;fill:#333}'
           '.n{font-size:10px;text-anchor:middle;fill:#555}.r{font-size:11px;text-anchor:middle;fill:#fff;font-weight:bold}'
           '.s{font-size:12px;text-anchor:middle;fill:#444}</style>',
           '<rect width="860" height="370" fill="#fff"/>',
           '<text x="298" y="28" class="t">Two servers on a dumbbell; six requests, for ever</text>']
    for a, b in edges():
        svg.append(f'<line x1="{at[a][0]:.1f}" y1="{at[a][1]:.1f}" x2="{at[b][0]:.1f}" y2="{at[b][1]:.1f}" stroke="#bbb" stroke-width="3"/>')
    for node, (x, y) in at.items():
        if node in LAP:
            svg.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="#444"/>'
                       f'<text x="{x:.1f}" y="{y + 4:.1f}" class="r">{LAP.index(node) + 1}</text>')
        else:
            svg.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#999"/>')
        if node in STARTS:
            server = STARTS.index(node)
            svg.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="15" fill="none" stroke="{COLORS[server]}" stroke-width="4"/>')
        svg.append(f'<text x="{x:.1f}" y="{y - 19:.1f}" class="n">{node}</text>')
    svg.append('<text x="298" y="345" class="s">dark: the order of the requests; rings: the starts of '
               'servers 0 (red) and 1 (blue)</text>')
    svg.append('<text x="695" y="28" class="t">Who pays</text>')
    svg += bars(585, 90, "Double Coverage", shares(program))
    svg += bars(585, 190, "roles dealt anew, eps 0.1", shares(program, "--fair", "--eps", "0.1", "--seed", "1"))
    svg += bars(585, 290, "a fair share", [0.5, 0.5])
    svg.append("</svg>")
    pathlib.Path(__file__).with_name("kserver.svg").write_text("\n".join(svg) + "\n")


if __name__ == "__main__":
    main()
