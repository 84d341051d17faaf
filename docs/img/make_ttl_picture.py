#!/usr/bin/env python3
"""Draws docs/img/ttl.svg: deposits rounded up to the grid, and the ring that holds them, before and after a step.

T = 10, k = 4, so the grid is w = 3 and at most four of its points are live. The numbers are computed from the rule.
"""
import pathlib

TTL, BUCKETS = 10, 4
WIDTH = -(-TTL // BUCKETS)
DEPOSITS = [(1, 20), (5, 7), (6, 4), (8, 9)]  # tick, amount
COLORS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759"]
LEFT, TICK = 40, 27
SLOTS = 4


def expiry(t):
    return -(-(t + TTL) // WIDTH) * WIDTH


def x(t):
    return LEFT + t * TICK


def timeline(y):
    out = [f'<line x1="{x(0)}" y1="{y}" x2="{x(22)}" y2="{y}" stroke="#444"/>']
    for t in range(22):
        grid = t % WIDTH == 0
        out.append(f'<line x1="{x(t)}" y1="{y - (9 if grid else 3)}" x2="{x(t)}" y2="{y + (9 if grid else 3)}" '
                   f'stroke="{"#000" if grid else "#999"}" stroke-width="{2 if grid else 1}"/>')
        if grid:
            out.append(f'<text x="{x(t)}" y="{y + 24}" class="c">{t}</text>')
    for i, (t, amount) in enumerate(DEPOSITS):
        top = y - 24 - 20 * i
        exact, end = x(t + TTL), x(expiry(t))
        out += [f'<circle cx="{x(t)}" cy="{y}" r="4" fill="{COLORS[i]}"/>',
                f'<line x1="{x(t)}" y1="{top}" x2="{exact}" y2="{top}" stroke="{COLORS[i]}" stroke-width="7"/>',
                f'<line x1="{exact}" y1="{top}" x2="{end}" y2="{top}" stroke="{COLORS[i]}" stroke-width="7" opacity="0.35"/>',
                f'<text x="{x(t) - 6}" y="{top + 4}" class="r">{amount} at {t}</text>',
                f'<text x="{end + 6}" y="{top + 4}" class="l">lapses at {expiry(t)}</text>']
    return out


def ring(y, now, title):
    first = now // WIDTH + 1  # number of the first grid point after now
    amounts = {}
    for i, (t, amount) in enumerate(DEPOSITS):
        if t <= now < expiry(t):
            amounts.setdefault(expiry(t) // WIDTH, []).append((amount, COLORS[i]))
    out = [f'<text x="{LEFT}" y="{y - 12}" class="l b">{title}</text>']
    cell = 120
    for place in range(SLOTS):
        bucket = next(b for b in range(first, first + SLOTS) if b % SLOTS == place)
        held = amounts.get(bucket, [])
        left = LEFT + place * (cell + 6)
        out.append(f'<rect x="{left}" y="{y}" width="{cell}" height="34" rx="4" fill="{held[0][1] if held else "#eee"}" '
                   f'opacity="{0.9 if held else 1}"/>')
        text = " + ".join(str(a) for a, _ in held) or "0"
        out.append(f'<text x="{left + cell / 2}" y="{y + 22}" class="{"m" if held else "c"}">{text}</text>')
        mark = " (head)" if bucket == first else ""
        out.append(f'<text x="{left + cell / 2}" y="{y + 50}" class="c">lapses at {bucket * WIDTH}{mark}</text>')
    return out


def main():
    svg = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 400" font-family="sans-serif">',
           '<style>.c{font-size:12px;text-anchor:middle;fill:#444}.r{font-size:12px;text-anchor:end}'
           '.l{font-size:12px}.b{font-weight:bold}.m{font-size:14px;text-anchor:middle;fill:#fff;font-weight:bold}</style>',
           '<rect width="700" height="400" fill="#fff"/>']
    svg += timeline(130)
    svg += ring(210, 8, "at tick 8: four numbers are the account; 4 and 9 lapse together")
    svg += ring(325, 12, "at tick 12: one place was cleared, and its turn comes again for what lapses at 24")
    svg.append("</svg>")
    (pathlib.Path(__file__).parent / "ttl.svg").write_text("\n".join(svg) + "\n")


if __name__ == "__main__":
    main()
