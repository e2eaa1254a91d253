"""From tissue names, tags, tables and arrays to one conductivity per tetrahedron."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import random_rotation

from efield.analytic.shapes import box
from efield.errors import MeshError
from efield.model.conductivity import resolve_conductivity, tag_of
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.tissues import DEFAULT_CONDUCTIVITY, TISSUE_NAMES, TISSUE_TAGS

TAGS = np.array([1, 2, 2, 3, 5])


def tensor(values, seed=0):
    turn = random_rotation(np.random.default_rng(seed))
    result = turn @ np.diag(values) @ turn.T
    return 0.5 * (result + result.T)


# --- what is understood


def test_defaults():
    expected = [0.126, 0.275, 0.275, 1.654, 0.465]
    np.testing.assert_array_equal(resolve_conductivity(TAGS), expected)
    np.testing.assert_array_equal(resolve_conductivity(TAGS, {}), expected)


@pytest.mark.parametrize("key", ["csf", 3, np.int32(3), "3"])
def test_override_by_name_and_tag(key):
    sigma = resolve_conductivity(TAGS, {key: 1.5})
    np.testing.assert_array_equal(sigma, [0.126, 0.275, 0.275, 1.5, 0.465])


@pytest.mark.parametrize("name", TISSUE_TAGS)
def test_every_tissue_name(name):
    tags = np.array([TISSUE_TAGS[name]])
    assert resolve_conductivity(tags, {name: 0.77}).tolist() == [0.77]
    assert tag_of(name) == tags[0]
    assert TISSUE_NAMES[int(tags[0])] == name


def test_a_tag_of_your_own():
    assert resolve_conductivity(np.array([2, 501]), {501: 0.3}).tolist() == [0.275, 0.3]


def test_overrides_of_tissues_that_are_not_there():
    np.testing.assert_array_equal(
        resolve_conductivity(TAGS, {"fat": 0.05, 44: 1.0}), resolve_conductivity(TAGS)
    )


def test_tensor_of_one_tissue_makes_every_tissue_a_tensor():
    white = tensor([0.1, 0.2, 0.3])
    sigma = resolve_conductivity(TAGS, {"white_matter": white})
    assert sigma.shape == (5, 3, 3)
    np.testing.assert_array_equal(sigma[0], white)
    np.testing.assert_array_equal(sigma[3], 1.654 * np.eye(3))
    absent = resolve_conductivity(TAGS, {"bone": tensor([0.1, 0.2, 0.3])})
    assert absent.shape == (5,)


@given(
    values=st.lists(st.floats(1e-3, 10), min_size=5, max_size=5),
    tensors=st.booleans(),
)
def test_arrays_pass_through(values, tensors):
    given = np.array(values)
    if tensors:
        given = given[:, None, None] * tensor([0.5, 1.0, 2.0])
    sigma = resolve_conductivity(TAGS, given)
    np.testing.assert_array_equal(sigma, given)
    assert not np.shares_memory(sigma, given)


def test_a_head_keeps_its_own_copy():
    mesh = box(1, 10.0)
    values = np.full(6, 0.3)
    head = HeadModel(mesh, values)
    values[:] = 9
    np.testing.assert_array_equal(head.conductivity, 0.3)
    with pytest.raises(ValueError, match="read-only"):
        head.conductivity[0] = 1


def test_table_for_reports():
    mesh = box(1, 10.0)
    mesh = TetMesh(mesh.nodes_mm, mesh.tets, [1, 1, 2, 2, 3, 3])
    table = HeadModel(mesh, np.array([0.1, 0.1, 0.2, 0.3, 0.4, 0.4])).tag_conductivity
    assert dict(table) == {1: 0.1, 2: "per element", 3: 0.4}
    white = tensor([0.1, 0.2, 0.3])
    assert HeadModel.from_mesh(mesh, conductivity={1: white}).tag_conductivity[1] == white.tolist()


# --- what is refused


@pytest.mark.parametrize("key", ["gray_matter", "GM", "", None, 2.5, (1,)])
def test_unknown_tissue_lists_the_valid_ones(key):
    with pytest.raises(
        MeshError, match=r"unknown tissue .*; known: white_matter, grey_matter, csf, .*, fat"
    ) as caught:
        resolve_conductivity(TAGS, {key: 0.3})
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize(("tag", "name"), [(11, "cartilage"), (12, "fat"), (77, "unknown tissue")])
def test_tissues_without_default(tag, name):
    with pytest.raises(
        MeshError, match=rf"no conductivity for tag {tag} \({name}\); pass conductivity=\{{{tag}:"
    ):
        resolve_conductivity(np.array([2, tag]))


def test_every_tissue_but_cartilage_and_fat_has_a_default():
    assert set(TISSUE_NAMES) - set(DEFAULT_CONDUCTIVITY) == {11, 12}
    assert min(DEFAULT_CONDUCTIVITY.values()) > 0


@pytest.mark.parametrize("value", [0.0, -0.0, -0.3])
def test_a_value_that_is_not_positive(value):
    with pytest.raises(MeshError, match=rf"'csf' is {value}; it must be positive"):
        resolve_conductivity(TAGS, {"csf": value})
    values = np.full(5, 0.3)
    values[3] = value
    with pytest.raises(MeshError, match=rf"tetrahedron 3 \(tag 3\) is {value}; it must be positive"):
        resolve_conductivity(TAGS, values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite(value):
    with pytest.raises(MeshError, match="'csf' is not finite"):
        resolve_conductivity(TAGS, {"csf": value})
    values = np.full((5, 3, 3), np.eye(3))
    values[2, 0, 0] = value
    with pytest.raises(MeshError, match=r"tetrahedron 2 \(tag 2\) is not finite"):
        resolve_conductivity(TAGS, values)


@pytest.mark.parametrize("value", ["high", {}, object(), [1, [2, 3]]])
def test_values_that_are_no_numbers(value):
    with pytest.raises(MeshError, match="conductivity of 'csf' must be numbers in S/m"):
        resolve_conductivity(TAGS, {"csf": value})


@pytest.mark.parametrize("shape", [(2,), (3,), (1, 3, 3), (6,)])
def test_shape_of_a_tissue(shape):
    with pytest.raises(MeshError, match=r"'csf' has shape .* give a scalar or"):
        resolve_conductivity(TAGS, {"csf": np.ones(shape)})


@pytest.mark.parametrize("shape", [(4,), (5, 3), (5, 6), (3, 3), ()])
def test_shape_of_an_array(shape):
    with pytest.raises(MeshError, match=r"conductivity has shape .* expected \(5,\), \(5, 3, 3\) or a table"):
        resolve_conductivity(TAGS, np.ones(shape))


@pytest.mark.parametrize(
    "bad",
    [
        tensor([0.1, 0.2, -0.3]),
        tensor([0.1, 0.2, 0.0]),
        np.array([[0.3, 0.1, 0], [0, 0.3, 0], [0, 0, 0.3]]),
        np.zeros((3, 3)),
    ],
    ids=["indefinite", "singular", "not symmetric", "zero"],
)
def test_tensors_that_are_not_symmetric_positive_definite(bad):
    with pytest.raises(MeshError, match=r"'csf' is .*symmetric positive definite"):
        resolve_conductivity(TAGS, {"csf": bad})
    values = np.full((5, 3, 3), 0.3 * np.eye(3))
    values[4] = bad
    with pytest.raises(MeshError, match=r"tetrahedron 4 \(tag 5\)"):
        resolve_conductivity(TAGS, values)
