"""Values that other programs recorded on the same mesh, coil and pose."""

import numpy as np

import efield
from efield.tissues import TISSUE_TAGS

CHARM_CONDUCTIVITY = {1: 0.126, 2: 0.275, 3: 1.654, 5: 0.465, 7: 0.008, 8: 0.025, 9: 0.6}
CHARM_LARGEST = 0.556
"""V/m in grey matter; other first-order codes gave 0.546 to 0.562."""


def test_charm_patch(shared):
    head = efield.load_head(
        shared("data/meshes/charm_head_patch_r25.msh.gz"), conductivity=CHARM_CONDUCTIVITY
    )
    coil = efield.load_coil(shared("data/coils/MagStim_D70.ccd"))
    top = head.scalp.vertices_mm[np.argmax(head.scalp.vertices_mm[:, 2])]
    np.testing.assert_allclose(top, (-2.612, -5.177, 108.268), atol=1e-3)
    pose = np.diag([-1.0, 1.0, -1.0, 1.0])
    pose[:3, 3] = top + np.array([0.0, 0.0, 4.0])
    field = efield.simulate(head, coil, pose, didt=1e6)
    largest = field.magnitude[head.tags == TISSUE_TAGS["grey_matter"]].max()
    np.testing.assert_allclose(largest, CHARM_LARGEST, rtol=0.05)
