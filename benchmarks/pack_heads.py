"""Make the packed heads in meshes/ from the original Gmsh files.

    python benchmarks/pack_heads.py [FOLDER WITH THE .msh.gz FILES]

Prints sizes, rounding errors and the time to open, and writes the same as JSON with --json FILE.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from efield.io.gmsh import read_msh
from efield.io.packed import read_packed, write_packed

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"mni152": "mni152_5tissue.msh.gz", "mni152-small": "mni152_5tissue_small.msh.gz"}


def pack(name, source):
    """Write meshes/<name>.efmesh; return what a report needs."""
    original = read_msh(source)
    target = ROOT / "meshes" / f"{name}.efmesh"
    write_packed(target, original)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        packed = read_packed(target)
        times.append(time.perf_counter() - begin)
    if not np.array_equal(packed.tets, original.tets) or not np.array_equal(
        packed.tet_tags, original.tet_tags
    ):
        raise SystemExit(f"{name}: the packed mesh differs from its source")
    return {
        "name": name,
        "nodes": len(packed.nodes),
        "tets": len(packed.tets),
        "source_bytes": source.stat().st_size,
        "packed_bytes": target.stat().st_size,
        "largest_shift_um": 1000 * float(np.linalg.norm(packed.nodes - original.nodes, axis=1).max()),
        "read_s": sorted(times)[2],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "heads")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [pack(name, options.folder / source) for name, source in SOURCES.items()]
    for row in rows:
        print(
            f"{row['name']:14s} {row['tets']:9,d} tets  {row['source_bytes'] / 1e6:5.1f} -> "
            f"{row['packed_bytes'] / 1e6:5.2f} MB  shift <= {row['largest_shift_um']:.2f} um  "
            f"read {row['read_s']:.2f} s"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
