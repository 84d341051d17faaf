#!/usr/bin/env python3
"""Draws docs/img/mesh.svg: who computes which block of the attention matrix, Ring against Mesh, nine ranks.

The owners come from the closed form owner(i, j) = a * (i div a) + (j mod a) of docs/mesh_attention.md.
"""
import pathlib

CELL, N, HIGHLIGHT = 24, 9, 4
COLORS = ["#4e79a7", "#f28e2b", "#59a14f", "#b6992d", "#e15759", "#76b7b2", "#9c755f", "#af7aa1", "#79706e"]


def owner(i, j, a):
    return a * (i // a) + j % a


def panel(x, y, a, title, lines):
    out = [f'<text x="{x + N * CELL / 2}" y="{y - 34}" class="t">{title}</text>',
           f'<text x="{x + N * CELL / 2}" y="{y - 12}" class="s">KV chunks 0 … 8</text>']
    rows = {i for i in range(N) for j in range(N) if owner(i, j, a) == HIGHLIGHT}
    cols = {j for i in range(N) for j in range(N) if owner(i, j, a) == HIGHLIGHT}
    for i in range(N):
        for j in range(N):
            r = owner(i, j, a)
            mine = r == HIGHLIGHT
            out.append(f'<rect x="{x + j * CELL}" y="{y + i * CELL}" width="{CELL - 1}" height="{CELL - 1}" rx="3" '
                       f'fill="{COLORS[r]}" opacity="{1 if mine else 0.25}"/>')
            out.append(f'<text x="{x + j * CELL + CELL / 2 - 0.5}" y="{y + i * CELL + 16}" class="{"m" if mine else "c"}">{r}</text>')
    for i in rows:
        out.append(f'<circle cx="{x - 10}" cy="{y + i * CELL + CELL / 2}" r="4" fill="{COLORS[HIGHLIGHT]}"/>')
    for j in cols:
        out.append(f'<circle cx="{x + j * CELL + CELL / 2}" cy="{y - 5}" r="4" fill="{COLORS[HIGHLIGHT]}"/>')
    for k, line in enumerate(lines):
        out.append(f'<text x="{x + N * CELL / 2}" y="{y + N * CELL + 24 + 18 * k}" class="s">{line}</text>')
    return out


def main():
    svg = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 360" font-family="sans-serif">',
           '<style>.t{font-size:16px;font-weight:bold;text-anchor:middle}.s{font-size:12px;text-anchor:middle;fill:#444}'
           '.c{font-size:11px;text-anchor:middle;fill:#555}.m{font-size:11px;text-anchor:middle;fill:#fff;font-weight:bold}</style>',
           '<rect width="640" height="360" fill="#fff"/>']
    svg += panel(60, 76, 1, "Ring-Attention: 1 x 9", ["rank 4 needs 1 Q chunk and 9 KV chunks:", "receives 8 KV = 16 chunk sizes"])
    svg += panel(370, 76, 3, "Mesh-Attention: 3 x 3", ["rank 4 needs 3 Q chunks and 3 KV chunks:", "receives 2 Q + 2 KV + 2 O = 8 chunk sizes"])
    svg.append("</svg>")
    (pathlib.Path(__file__).parent / "mesh.svg").write_text("\n".join(svg) + "\n")


if __name__ == "__main__":
    main()
