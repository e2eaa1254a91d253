"""A head: tetrahedral mesh, conductivities, outer scalp."""

from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np

from efield.errors import FrameError
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.model.conductivity import resolve_conductivity
from efield.model.fingerprint import fingerprint
from efield.model.m2m import SubjectFolder
from efield.model.mesh import TetMesh
from efield.model.surface import TriSurface, outer_scalp
from efield.model.transforms import MNI_ITSELF


@dataclass(frozen=True, eq=False)
class HeadModel(FieldsOnlyPickle):
    """A tetrahedral head with its conductivities.

    Use :func:`efield.load_head` to make one from a name or a file.

    Parameters
    ----------
    mesh : TetMesh
    conductivity : (n_tets,) or (n_tets, 3, 3) array, S/m
        One scalar or one symmetric positive definite tensor per tetrahedron.
    name : str
        How results call this head.
    space : {"subject", "mni"}
        Frame of the coordinates; "mni" only where the head is its own MNI space.
    scalp_triangles : (n, 3) int array or None
        Scalp triangles of the file (node indices); None extracts the outer boundary.
    folder : SubjectFolder or None
        Where the head's T1, MNI transforms, EEG positions and surfaces are.
    anisotropy : dict or None
        Where tensors in `conductivity` come from, for provenance: see :func:`efield.with_anisotropy`.
    """

    mesh: TetMesh
    conductivity: np.ndarray
    name: str = "head"
    space: str = "subject"
    scalp_triangles: np.ndarray | None = field(default=None, repr=False)
    folder: SubjectFolder | None = None
    anisotropy: dict | None = field(default=None, repr=False)

    def __post_init__(self):
        sigma = resolve_conductivity(self.mesh.tags, self.conductivity)
        object.__setattr__(self, "conductivity", read_only(sigma))

    @classmethod
    def from_mesh(cls, mesh, *, conductivity=None, **kwargs):
        """Make a head from a mesh and conductivity overrides by tag or tissue name."""
        return cls(mesh, resolve_conductivity(mesh.tags, conductivity), **kwargs)

    @property
    def nodes_mm(self):
        """(n_nodes, 3) node positions in mm."""
        return self.mesh.nodes_mm

    @property
    def tets(self):
        """(n_tets, 4) zero-based node indices."""
        return self.mesh.tets

    @property
    def tags(self):
        """(n_tets,) tissue tags."""
        return self.mesh.tags

    @cached_property
    def scalp(self):
        """Outermost closed surface of the head, a :class:`TriSurface` (mm)."""
        return outer_scalp(self.mesh, self.scalp_triangles)

    @cached_property
    def boundary(self):
        """Every face of the mesh's boundary, closed: what a point is inside of."""
        return TriSurface.of_faces(self.nodes_mm, self.mesh.boundary_faces)

    def tets_at(self, points_mm, tissue=None):
        """The tetrahedron that holds each point.

        Parameters
        ----------
        points_mm : (n, 3) array
        tissue : str or int, optional
            Name or tag: only tetrahedra of this tissue.

        Returns
        -------
        (n,) int array
            -1 where there is none.

        Raises
        ------
        TargetError
            Points that are not (n, 3) finite numbers; a tissue that the head does not have.
        """
        from efield.io.sampling import holding

        return holding(self, np.asarray(points_mm, np.float64), tissue)

    def mni(self, kind="nonlinear"):
        """The transforms between the head's own space and MNI space.

        Parameters
        ----------
        kind : {"nonlinear", "12dof", "6dof"}
            Of an individual head; a head that is its own MNI space maps to itself.

        Returns
        -------
        MniTransform

        Raises
        ------
        FrameError
            The head has no transform, or not this one.
        """
        if self.space == "mni":
            return MNI_ITSELF
        if self.folder is None:
            raise FrameError(
                f"head {self.name!r} carries no MNI transform; open its m2m_<subject> folder, or give "
                "coordinates in the subject's own space"
            )
        return self.folder.mni(kind)

    @cached_property
    def sha256(self):
        """Hash of the geometry, tags and conductivity."""
        return fingerprint(self.nodes_mm, self.tets, self.tags, self.conductivity)

    @cached_property
    def tag_conductivity(self):
        """Conductivity per tag where it is one value per tag, for reports."""
        table = {}
        for tag in np.unique(self.tags):
            values = self.conductivity[self.tags == tag]
            same = np.all(values == values[0])
            table[int(tag)] = values[0].tolist() if same else "per element"
        return MappingProxyType(table)
