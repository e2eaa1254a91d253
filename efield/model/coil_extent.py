"""The points of a coil that may touch a head, in blocks, so that few of many must be measured."""

from dataclasses import dataclass

import numpy as np

__all__ = ["SECTORS", "ExtentBlocks"]

SECTORS = 16
"""Parts of a coil round its axis, each with a clearance of its own: a bent coil rests on several."""

BLOCK_MM = 8.0
"""Edge of the cubes whose points make a block."""


@dataclass(frozen=True, eq=False)
class ExtentBlocks:
    """Points of one sector in one cube each, with a ball round each block.

    Attributes
    ----------
    order : (n,) int array
        The points, block by block.
    starts : (n_blocks + 1,) int array
        Where each block begins in `order`.
    centres_mm, radii_mm : (n_blocks, 3), (n_blocks,) arrays
    sector : (n,) int array
        Of each point.
    """

    order: np.ndarray
    starts: np.ndarray
    centres_mm: np.ndarray
    radii_mm: np.ndarray
    sector: np.ndarray

    @classmethod
    def of(cls, points_mm):
        """Blocks of points (n, 3) in a coil's frame."""
        azimuth = np.arctan2(points_mm[:, 1], points_mm[:, 0])
        sector = np.floor((azimuth + np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
        cells = np.column_stack([sector, np.floor(points_mm / BLOCK_MM).astype(int)])
        _, block = np.unique(cells, axis=0, return_inverse=True)
        block = block.ravel()
        order = np.argsort(block, kind="stable")
        count = np.bincount(block)
        centres = np.stack([np.bincount(block, weights=x) for x in points_mm.T], axis=1) / count[:, None]
        radii = np.zeros(len(count))
        np.maximum.at(radii, block, np.linalg.norm(points_mm - centres[block], axis=1))
        return cls(order, np.concatenate([[0], np.cumsum(count)]), centres, radii, sector)

    def lowest(self, points_mm, pose, surface):
        """Indices of points of which one has the smallest signed distance of its sector.

        Blocks and then points are left out whose distance, by its bounds, another's in their sector must
        undercut; a block's is that of its centre to within its radius.

        Parameters
        ----------
        points_mm : (n, 3) array
            Those that the blocks are of.
        pose : (4, 4) array
            Coil frame to the surface's.
        surface : TriSurface
        """
        low, high = surface.signed_bounds(_moved(self.centres_mm, pose))
        sector = self.sector[self.order[self.starts[:-1]]]
        kept = np.flatnonzero(_undercut_by_none(low - self.radii_mm, high + self.radii_mm, sector))
        index = np.concatenate([self.order[self.starts[k] : self.starts[k + 1]] for k in kept])
        low, high = surface.signed_bounds(_moved(points_mm[index], pose))
        return index[_undercut_by_none(low, high, self.sector[index])]


def _moved(points_mm, pose):
    return points_mm @ pose[:3, :3].T + pose[:3, 3]


def _undercut_by_none(low, high, group):
    """(n,) bool: items whose lowest value is no more than the least highest one of their group."""
    best = np.full(SECTORS, np.inf)
    np.minimum.at(best, group, high)
    return low <= best[group]
