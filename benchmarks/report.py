"""Tables of a benchmark run, in Markdown."""

import math

DEMAND_S = {
    "full": {
        "head set-up": 2.5,
        "one forward E after set-up, rtol 1e-05": 0.8,
        "forward E in 16, rtol 1e-05": 0.3,
        "optimize_coil |mean E|, 2.1 M placements": 10.0,
        "optimize_coil mean |E|, 2.1 M placements": 25.0,
    },
    "large": {
        "head set-up": 5.0,
        "three adjoints, rtol 1e-4": 1.5,
        "exterior field": 5.0,
        "right-hand side in 16": 0.1,
        "forward solve in 16, rtol 0.001": 0.16,
        "one forward E after set-up, rtol 1e-05": 1.5,
        "placements": 1.0,
        "continuous polish, 20 starts": 1.0,
        "file to grid optimum, 2.1 M placements": 15.0,
        "optimize_coil mean |E|, 2.1 M placements": 50.0,
    },
}
"""Wall seconds to reach on two cores with compiled kernels cached, for the heads they are stated for."""

DEMAND_MIB = 3072
COLUMNS = ("stage", "wall s", "CPU s", "demand s", "peak MiB", "error", "")


def print_rows(title, rows, demands=None):
    """One table of rows (dicts as in :class:`measure.Row`)."""
    demands = demands or {}
    print(f"\n### {title}\n")
    lines = [
        (
            row["stage"],
            seconds(row["wall_s"]),
            seconds(row["cpu_s"]),
            f"{demands[row['stage']]:g}" if row["stage"] in demands else "",
            "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}",
            ", ".join(f"{name} {value:.1e}" for name, value in row["errors"].items()),
            row["note"],
        )
        for row in rows
    ]
    print_table(COLUMNS, lines)


def seconds(value):
    """Seconds with three digits that count."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def print_table(columns, lines):
    """A Markdown table whose columns line up in a terminal, too."""
    rows = [tuple(map(str, line)) for line in (columns, *lines)]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


def print_head(name, record):
    """Everything about one head."""
    size = ", ".join(f"{value:,} {what}" for what, value in record["size"].items() if isinstance(value, int))
    print(f"\n## {name}: {size}")
    demands = DEMAND_S.get(name)
    print_rows(f"{name}: stages", record["stages"], demands)
    print_rows(f"{name}: whole runs from the file", record["runs"], demands)
    print(
        f"\nPeak memory of the whole runs' process: {record['runs_peak_mib']:.0f} MiB (demand {DEMAND_MIB})"
    )
    if "accuracy" in record:
        print_accuracy(name, record["accuracy"])
    for group, rows in record.get("baselines", {}).items():
        print_rows(f"{name}: {group}, side by side", rows)


def print_accuracy(name, record):
    """Errors of the exterior model per band, and of the fast placement values."""
    print(f"\n### {name}: exterior model against the sum over the mesh, at the coil's dipoles\n")
    print("Relative to the largest value at any dipole of the same coil and casing: rms / max\n")
    cases, bands = {}, {}
    for row in record["model"]:
        band = f"{row['low_mm']:g}–{row['high_mm']:g} mm" if row["high_mm"] else f"> {row['low_mm']:g} mm"
        bands[band] = None
        text = "–" if not row["dipoles"] else f"{row['rms']:.1e} / {row['max']:.1e}"
        cases.setdefault((row["coil"], row["casing_mm"], row["origin_mm"]), {})[band] = text
    lines = [
        (coil, f"{casing:g}", f"{origin:.1f}", *found.values())
        for (coil, casing, origin), found in cases.items()
    ]
    print_table(("coil", "casing mm", "origin mm", *bands), lines)
    print(f"\n### {name}: spline and yaw expansion against the sum of the same model over every dipole\n")
    lines = [
        (
            row["coil"],
            f"{row['casing_mm']:g}",
            f"{row['spline']:.1e}",
            f"{row['yaw_and_spline']:.1e}",
            f"{row['engine_estimate']:.1e}",
            "yaw expansion" if row["expansion_used"] else "every dipole: expansion not trusted",
        )
        for row in record["placements"]
    ]
    columns = ("coil", "casing mm", "spline alone", "as used", "expansion, engine's estimate", "used")
    print_table(columns, lines)


def print_growth(heads):
    """How each stage grows from one head to the next larger one."""
    for (small, first), (large, second) in zip(list(heads.items()), list(heads.items())[1:], strict=False):
        ratio = second["size"]["nodes"] / first["size"]["nodes"]
        print(f"\n## Growth from {small} to {large}: {ratio:.2f} times the nodes\n")
        lines = []
        for stage, a, b in common(first, second):
            times = (b["wall_s"] / a["wall_s"], b["cpu_s"] / a["cpu_s"])
            exponents = (math.log(t) / math.log(ratio) for t in times)
            lines.append(
                (
                    stage,
                    *(f"{t:.2f}" for t in times),
                    *(f"{t / ratio:.2f}" for t in times),
                    *(f"{e:.2f}" for e in exponents),
                )
            )
        columns = (
            "stage",
            "wall ratio",
            "CPU ratio",
            "wall / nodes",
            "CPU / nodes",
            "wall exponent",
            "CPU exponent",
        )
        print_table(columns, lines)


def common(first, second):
    """(stage, row, row) of the stages both records hold with a time."""
    rows = [
        {r["stage"]: r for part in ("stages", "runs") for r in record[part]} for record in (first, second)
    ]
    for stage, a in rows[0].items():
        b = rows[1].get(stage)
        if b is not None and all(row[t] for row in (a, b) for t in ("wall_s", "cpu_s")):
            yield stage, a, b


def print_comparison(old, new):
    """Ratios new / old of two JSON files' records."""
    for key in ("cpu", "cores"):
        if old["machine"][key] != new["machine"][key]:
            print(f"\nNOT THE SAME MACHINE: {key} was {old['machine'][key]}, is {new['machine'][key]}")
    print(f"\n## {new['machine']['revision']} against {old['machine']['revision']}: new / old")
    for name in new["heads"]:
        if name not in old["heads"]:
            continue
        print(f"\n### {name}\n")
        lines = []
        for stage, a, b in common(old["heads"][name], new["heads"][name]):
            errors = (
                f"{k} {a['errors'][k]:.1e} -> {v:.1e}" for k, v in b["errors"].items() if k in a["errors"]
            )
            lines.append(
                (
                    stage,
                    f"{b['wall_s'] / a['wall_s']:.2f}",
                    f"{b['cpu_s'] / a['cpu_s']:.2f}",
                    ", ".join(errors),
                )
            )
        print_table(("stage", "wall", "CPU", "error"), lines)
