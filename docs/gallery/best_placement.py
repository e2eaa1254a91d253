"""The best placement for a target, and what it gains over the closest scalp point."""

import efield


def run():
    head = efield.prepare("mni152-small")
    coil = efield.load_coil("figure8-70mm")
    target = efield.Target.named("dlpfc-left")
    search = efield.Search(radius_mm=15.0, spacing_mm=5.0, yaw_step_deg=10.0)
    result = efield.optimize_coil(head, coil, target, search=search)
    naive = efield.compare_targeting(head, coil, target, ["closest-scalp"], search=search)
    return {
        "optimum": result.objective.value,
        "closest scalp point": naive["closest-scalp"]["mean"],
        "forward and reciprocity differ by": result.check.relative_difference,
    }


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name}: {value:.4g}")
