"""The command line: exit codes, messages, streams, files; what is computed is replaced."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jsonschema
import meshio
import numpy as np
import pytest
from click.testing import CliRunner
from results_fake import fake_comparison, fake_optimize_result, fake_placement
from test_metrics import block_head

from efield import forward
from efield.cli import main
from efield.cli.compare import _summary as comparison_words
from efield.errors import ConvergenceError, MeshError, OutputError, ResourceError, TargetError
from efield.model import heads
from efield.model.target_text import parse_target
from efield.results import OptimizeResult, json_schema
from efield.results.comparison import COLUMNS
from efield.results.store import FIELD_FILES, FILES
from efield.search import optimize as optimize_module
from efield.targeting import METHODS


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="efield")


def assert_refused(result, *words, code=2):
    assert result.exit_code == code, result.output + repr(result.exception)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture
def calls(monkeypatch):
    """Replace loading and optimizing; returns what they were called with."""
    seen = SimpleNamespace(result=fake_optimize_result())

    def load_head(source, **options):
        seen.head, seen.head_options = source, options
        return block_head(n=2)

    def optimize_coil(head, coil, target, **options):
        seen.coil, seen.target, seen.options = coil, target, options
        if isinstance(seen.result, BaseException):
            raise seen.result
        return seen.result

    monkeypatch.setattr(heads, "load_head", load_head)
    monkeypatch.setattr(optimize_module, "optimize_coil", optimize_coil)
    return seen


# --- help


@pytest.mark.parametrize(
    "command",
    [
        "",
        "optimize",
        "simulate",
        "compare",
        "cohort",
        "export",
        "head",
        "head info",
        "head check",
        "coil",
        "coil info",
        "doctor",
    ],
)
def test_help(command):
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage: efield" in result.output


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys; from efield.cli import main;"
        "main(['--help'], standalone_mode=False);"
        "print(sorted({'numba', 'scipy', 'matplotlib', 'rich', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.rstrip().endswith("[]")
    assert "efield optimize" in out


def test_doctor_and_version():
    text = run("doctor").output
    for words in ("kernel cache", "threads", "mni152-small (", "[report]", "[view]", "numba"):
        assert words in text


def test_doctor_tells_what_is_missing(monkeypatch):
    monkeypatch.setattr("efield.cli.doctor._there", lambda module: module != "plotly")
    assert "[report]        not installed: pip install 'efield[report]'" in run("doctor").output


def test_doctor_sees_a_cache_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "NOT WRITABLE" in run("doctor").output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    text = run("completion", shell).output
    assert "_EFIELD_COMPLETE" in text and "efield" in text


def test_completion_knows_commands_and_options(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "efield optimize --cert")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_EFIELD_COMPLETE", "bash_complete")
    done = CliRunner().invoke(main, [], prog_name="efield")
    assert {line.partition(",")[2] for line in done.output.split()} == {"--certify", "--certify-to"}


def completed(monkeypatch, line):
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    monkeypatch.setenv("_EFIELD_COMPLETE", "bash_complete")
    return CliRunner().invoke(main, [], prog_name="efield").output.split()


@pytest.mark.parametrize(
    "line, names",
    [
        ("efield optimize mni", {"plain,mni152", "plain,mni152-small"}),
        ("efield optimize --coil figure8-7", {"plain,figure8-70mm"}),
        ("efield optimize --target dlpfc-l", {"plain,dlpfc-left"}),
        ("efield optimize head", {"file,head"}),
        ("efield report res", {"file,res"}),
        ("efield simulate mni152 --placement res", {"file,res"}),
        ("efield coil convert figure8-70mm my", {"file,my"}),
        ("efield optimize --out res", {"file,res"}),
    ],
)
def test_completion_knows_names_and_paths(monkeypatch, tmp_path, line, names):
    monkeypatch.chdir(tmp_path)
    assert names <= set(completed(monkeypatch, line))


def test_completion_prefers_files_that_are_there(monkeypatch, tmp_path):
    """A shell can complete either files or names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m2m_ernie").mkdir()
    assert completed(monkeypatch, "efield optimize m") == ["file,m"]
    assert completed(monkeypatch, "efield optimize mn") == ["plain,mni152", "plain,mni152-small"]


def test_help_teaches_the_path():
    text = run("--help").output
    steps = ("efield head check", "efield optimize head.msh", "efield report", "efield export")
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    assert re.fullmatch(r"efield \d+\.\d+\.\d+\S*\n", run("--version").output)


def test_a_command_of_a_group_is_pointed_to():
    assert_refused(run("check", "head.msh"), "'efield head check'")
    assert_refused(run("optimise"), "optimise")


# --- optimize


def test_optimize_defaults(calls):
    result = run("optimize")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert calls.head == "mni152"
    assert calls.head_options == {"unit": "mm", "conductivity": None}
    assert calls.coil.name.startswith("figure8-70mm")
    assert calls.target.name == "dlpfc-left"
    options = calls.options
    assert (options["objective"], options["didt"], options["n_best"]) == ("mean_magnitude", 1e6, 10)
    assert options["search"].radius_mm == 25
    assert options["constraints"].distance_mm == 4.0
    assert options["progress"] is None


def test_optimize_passes_its_options(calls):
    result = run(
        *("optimize", "head.msh", "--unit", "m", "--target", "-42,44,30", "--radius", 7),
        *("--search-radius", 12, "--objective", "directional", "--direction", "0,-1,0.5"),
        *("--didt", "67e6", "--distance", 6, "--n-best", 3),
        *("--conductivity", "bone=0.02", "--conductivity", "5=0.4"),
        *("--max-tilt", 8, "--clearance", 1.5, "--yaw-range", "-90,45", "--exclude", "1,2,3,4"),
        *("--exclude", "5,6,7,8", "--certify-to", "0.02", "--robust", "cap", "--element-order", 2),
        *("--deform", 5),
    )
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert calls.head == "head.msh"
    assert calls.head_options == {"unit": "m", "conductivity": {"bone": 0.02, "5": 0.4}}
    assert calls.target.name == "sphere (-42.0, 44.0, 30.0) r 7 mm"
    options = calls.options
    assert options["objective"] == "directional"
    assert options["direction"] == (0.0, -1.0, 0.5)
    assert (options["didt"], options["n_best"], options["element_order"]) == (67e6, 3, 2)
    assert options["search"].radius_mm == 12
    limits = options["constraints"]
    assert (limits.distance_mm, limits.max_tilt_deg, limits.min_clearance_mm) == (6, 8, 1.5)
    assert limits.yaw_range_deg == (-90, 45)
    assert limits.exclude == ((1, 2, 3, 4), (5, 6, 7, 8))
    assert (options["certify"], options["robust"].position_sd_mm) == (0.02, 10.66)
    assert options["deform"] == 5


def test_deform_needs_a_coil_with_movable_parts():
    assert_refused(run("optimize", "mni152-small", "--deform", 3), "no movable parts", "figure8-70mm")


def test_summary_says_where_movable_parts_are(calls):
    assert "movable parts" not in run("optimize").stdout
    search = {**calls.result.search, "deformations": {"deform0": -12.5, "deform1": 3.0}}
    calls.result = fake_optimize_result(search=search)
    assert "deform0 = -12.5, deform1 = 3" in run("optimize", "--deform", 5).stdout


@pytest.mark.parametrize(("words", "wanted"), [([], False), (["--certify"], True)])
def test_certify_has_a_share_of_its_own(calls, words, wanted):
    assert run("optimize", *words, "--quiet").exit_code == 0
    assert calls.options["certify"] is wanted and calls.options["robust"] is None


def test_certify_before_the_head_does_not_swallow_it(calls):
    assert run("optimize", "--certify", "head.msh", "--quiet").exit_code == 0
    assert (calls.head, calls.options["certify"]) == ("head.msh", True)


def test_summary_says_where_which_angle_how_strong_how_sure_how_long(calls):
    text = run("optimize").stdout
    for words in (
        "Best placement of figure8-70mm on mni152 for dlpfc-left",
        "mm, MNI space, RAS",
        "left, posterior and inferior",
        "52.5° from posterior towards the subject's left (+52.5°)",
        "mean |E| in the target",
        "mean 1.311, median 1.300, p95 1.500, p99 1.600 V/m at 1 A/µs",
        "221 elements",
        "agrees: relative difference 2.0e-08",
        "489 positions x 24 angles = 11,736",
        "edge_of_search",
        "--out DIR",
    ):
        assert words in text, text
    assert "\x1b" not in text


def test_disagreeing_check_is_said(calls):
    from efield.results import Check

    calls.result = fake_optimize_result(check=Check(1.3, 0.008, 0.001))
    assert "DISAGREES" in run("optimize").stdout
    calls.result = fake_optimize_result(check=None)
    assert "not done" in run("optimize").stdout


def test_json_on_stdout_is_alone(calls):
    result = run("optimize", "--json", "-")
    assert result.exit_code == 0
    body = json.loads(result.stdout)
    jsonschema.validate(body, json_schema("efield.optimize/1"))
    assert body["timings_s"]["load"] >= 1.2
    assert body["timings_s"]["total"] >= 6.7
    assert result.stderr == ""


def test_out_and_json_files(calls, tmp_path):
    result = run("optimize", "--out", tmp_path / "out", "--json", tmp_path / "a.json", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "out" / "scalp.png").exists()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "out" / "result.json").read_bytes()


def test_library_warnings_are_short_lines_on_stderr(calls, monkeypatch):
    import warnings

    def load_head(source, **options):
        warnings.warn("compiled kernels cannot be cached", RuntimeWarning, stacklevel=2)
        return block_head(n=2)

    monkeypatch.setattr(heads, "load_head", load_head)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run("optimize", "--json", "-")
    assert result.stderr == "efield: warning: compiled kernels cannot be cached\n"
    json.loads(result.stdout)


# --- what goes wrong


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MeshError("bone is -1"), 2),
        (TargetError("no target"), 2),
        (ConvergenceError("stalled at 1e-2"), 1),
        (ResourceError("needs 99 GiB"), 1),
        (OutputError("disk full"), 1),
        (MemoryError(), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(calls, tmp_path, error, code):
    calls.result = error
    result = run("optimize", "--out", tmp_path / "out", "--json", tmp_path / "a.json")
    assert_refused(result, "efield: ", str(error), code=code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "dlpfc-lfet"], ["dlpfc-lfet", "dlpfc-left"]),
        (["--target", "1,2"], ["'1,2'", "x,y,z"]),
        (["--target", "mni:1,2,nan"], ["mni:1,2,nan"]),
        (["--target", "roi.nii.gz", "--radius", "5"], ["--radius", "roi.nii.gz"]),
        (["--target", "1,2,3", "--radius", "-5"], ["-5"]),
        (["--coil", "no-such-coil"], ["no-such-coil", "figure8-70mm"]),
        (["--direction", "1,2"], ["1,2", "x,y,z"]),
        (["--conductivity", "bone"], ["bone", "TAG=VALUE"]),
        (["--conductivity", "bone=x"], ["bone=x"]),
        (["--search-radius", "-1"], ["-1"]),
        (["--distance", "-1"], ["-1"]),
        (["--max-tilt", "60"], ["45 degrees", "60"]),
        (["--yaw-range", "10"], ["'10'", "two finite numbers LOW,HIGH"]),
        (["--exclude", "1,2,3"], ["four finite numbers x,y,z,r"]),
        (["--exclude", "1,2,3,-1"], ["positive radius"]),
        (["--robust", "hand"], ["hand", "neuronavigation"]),
        (["--n-best", "0"], ["--n-best"]),
        (["--deform", "1"], ["--deform", "x>=2"]),
        (["--unit", "inch"], ["inch", "'mm'"]),
        (["--json", "no/such/folder/a.json"], ["no/such/folder"]),
        (["a.msh", "b.msh"], ["b.msh"]),
    ],
)
def test_unusable_options(calls, arguments, words):
    assert_refused(run("optimize", *arguments), *words)
    assert not hasattr(calls, "options")


def test_unwritable_output_is_refused_before_anything_is_computed(calls, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert_refused(run("optimize", "--out", tmp_path / "file"), "file", "not a folder")
    assert_refused(run("optimize", "--out", tmp_path / "file" / "below"), "not a folder")
    assert_refused(run("optimize", "--json", tmp_path), "is a folder")
    assert not hasattr(calls, "head")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("head", ["no-such-head", "no/such/file.msh", "tests", __file__])
def test_unusable_heads(head):
    assert_refused(run("optimize", head), head.rsplit("/", 1)[-1])
    assert_refused(run("head", "info", head), head.rsplit("/", 1)[-1])


def test_parse_target_forms(tmp_path):
    assert parse_target("dlpfc-left").name == "dlpfc-left"
    assert parse_target("-42, 44,30").name == "sphere (-42.0, 44.0, 30.0) r 5 mm"
    assert parse_target("mni:-42,44,30", 10).name == "mni (-42.0, 44.0, 30.0) r 10 mm"
    assert parse_target("mni:roi.nii").name == "mask roi.nii"
    assert parse_target("dlpfc-left", 8).name == "dlpfc-left r 8 mm"


def test_python_errors_are_not_hidden(calls):
    calls.result = ZeroDivisionError("a bug")
    result = run("optimize")
    assert isinstance(result.exception, ZeroDivisionError)


# --- an interrupted process

SLOW_RUN = """
import sys, time
import efield.search.optimize, efield.model.heads
sys.path.insert(0, {tests!r})
from test_metrics import block_head

def wait(*args, **options):
    print("started", file=sys.stderr, flush=True)
    time.sleep(60)

efield.model.heads.load_head = lambda *args, **options: block_head(n=2)
efield.search.optimize.optimize_coil = wait
from efield.cli import main
main(["optimize", "--out", {out!r}, "--json", {json!r}])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_process_leaves_nothing(tmp_path, number, code):
    script = SLOW_RUN.format(
        tests=os.path.dirname(__file__), out=str(tmp_path / "out"), json=str(tmp_path / "a.json")
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "started\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


SLOW_SAVE = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from results_fake import fake_optimize_result
from efield.results import store
from efield.search import optimize

result = fake_optimize_result()
store.save(result, {out!r})

def stall(candidates, path):
    Path(path).write_text("half of it")
    print("started", file=sys.stderr, flush=True)
    time.sleep(60)

store.write_candidate_table = stall
optimize.optimize_coil = lambda *args, **options: result
from efield.cli import main
main(["optimize", "mni152-small", "--out", {out!r}])
"""


def test_interrupted_while_saving_keeps_the_earlier_result(tmp_path):
    out = tmp_path / "out"
    script = SLOW_SAVE.format(tests=os.path.dirname(__file__), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "started\n"
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in stderr) == (130, False)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert OptimizeResult.load(out).objective.value == 1.311


# --- simulate, head, coil


def test_simulate(monkeypatch, tmp_path):
    head = block_head(n=6)
    e_field = np.ones((len(head.tets), 3))
    placement = fake_placement()
    np.savetxt(tmp_path / "pose.txt", placement.matsimnibs)
    seen = {}

    def simulate(head, coil, pose, *, didt, element_order, progress):
        seen.update(pose=pose.matsimnibs, didt=didt, order=element_order)
        return SimpleNamespace(
            head=head,
            E=e_field,
            magnitude=np.linalg.norm(e_field, axis=1),
            placement=pose,
            didt=didt,
            residual=1e-7,
            element_order=element_order,
        )

    monkeypatch.setattr(heads, "load_head", lambda *args, **options: head)
    monkeypatch.setattr(forward, "simulate", simulate)
    pose = ["--placement", tmp_path / "pose.txt"]
    result = run("simulate", "head.msh", *pose, "--didt", "2e6", "--out", tmp_path / "out", "--json", "-")
    assert result.exit_code == 0, result.output + repr(result.exception)
    np.testing.assert_allclose(seen["pose"], placement.matsimnibs, atol=1e-12)
    assert seen["didt"] == 2e6
    body = json.loads(result.stdout)
    jsonschema.validate(body, json_schema("efield.simulate/1"))
    assert body["target"]["name"] == "grey matter"
    assert (seen["order"], body["provenance"]["element_order"]) == (1, 1)
    assert body["target"]["volume_mm3"] == pytest.approx(12.0**3)
    assert body["metrics"]["mean"] == pytest.approx(np.sqrt(3))
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*FIELD_FILES, "scene.npz", "result.json"])
    second = json.loads(run("simulate", "head.msh", *pose, "--element-order", 2, "--json", "-").stdout)
    assert second["provenance"]["element_order"] == 2
    text = run("simulate", "head.msh", *pose, "--target", "6,6,6", "--radius", "3").stdout
    assert "Field of figure8-70mm on block" in text
    assert "1.732 V/m" in text.replace("mean ", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["head.msh"], ["--placement"]),
        (["head.msh", "--placement", "no-such.json"], ["no-such.json"]),
        (["head.msh", "--placement", "p.json", "--radius", "3"], ["--radius", "--target"]),
    ],
)
def test_simulate_refuses(arguments, words):
    assert_refused(run("simulate", *arguments), *words)


def test_sheared_pose_is_refused(tmp_path):
    pose = fake_placement().matsimnibs.copy()
    pose[:3, 0] += 0.3 * pose[:3, 1]
    np.save(tmp_path / "pose.npy", pose)
    assert_refused(run("simulate", "mni152-small", "--placement", tmp_path / "pose.npy"), "orthonormal")


def test_coil_list_and_info(tmp_path):
    assert "figure8-70mm" in run("coil", "list").output
    text = run("coil", "info", "figure8-70mm").output
    assert "induced E under the centre along +y" in text
    assert "sha256" in text
    facts = json.loads(run("coil", "info", "figure8-70mm", "--json", "-").stdout)
    assert facts["n_dipoles"] > 0
    run("coil", "info", "figure8-70mm", "--json", tmp_path / "coil.json")
    assert json.loads((tmp_path / "coil.json").read_text()) == facts
    assert_refused(run("coil", "info", "figure9"), "figure9", "figure8-70mm")


def test_head_info_and_check():
    facts = json.loads(run("head", "info", "mni152-small", "--json", "-").stdout)
    assert facts["n_tets"] == 259714
    text = run("head", "info", "mni152-small", "--conductivity", "bone=0.02").stdout
    assert re.search(r"4 +bone +42,722 +632\.2 +5\.56 +0\.02", text)
    assert run("head", "check", "mni152-small").exit_code == 0


def test_head_check_of_a_broken_mesh(tmp_path):
    head = block_head(n=3)
    points = head.nodes_mm.copy()
    points[7] = np.nan
    path = str(tmp_path / "broken.vtu")
    meshio.Mesh(points, [("tetra", head.tets)], cell_data={"tag": [head.tags]}).write(path)
    result = run("head", "check", path)
    assert result.exit_code == 2
    assert "error: not-finite: 1 nodes" in result.stdout
    codes = [f["code"] for f in json.loads(run("head", "check", path, "--json", "-").stdout)]
    assert "not-finite" in codes
    assert_refused(run("optimize", path), "node 7")


# --- the real thing, on the small head


def test_small_head_from_search_to_field(tmp_path, monkeypatch):
    arguments = ("optimize", "mni152-small", "--search-radius", 6, "--n-best", 2, "--json", "-")
    first = run(*arguments, "--out", tmp_path / "out")
    assert first.exit_code == 0, first.output + repr(first.exception)
    body = json.loads(first.stdout)
    jsonschema.validate(body, json_schema("efield.optimize/1"))
    assert sorted(os.listdir(tmp_path / "out")) == sorted(FILES)
    result = OptimizeResult.load(tmp_path / "out")

    monkeypatch.setenv("EFIELD_NUM_THREADS", "1")
    again = json.loads(run(*arguments).stdout)
    for volatile in (body, again):
        del volatile["timings_s"], volatile["provenance"]["run"]
    assert again == body == json.loads(result.to_json(volatile=False))

    pose = ("--placement", tmp_path / "out" / "result.json", "--target", "dlpfc-left")
    field = run("simulate", "mni152-small", *pose, "--didt", "2e6", "--json", "-")
    metrics = json.loads(field.stdout)["metrics"]
    assert metrics["mean"] == pytest.approx(2 * result.objective.value, rel=1e-5)
    assert metrics["clearance_mm"] == pytest.approx(body["metrics"]["clearance_mm"])
    assert metrics["tilt_deg"] == pytest.approx(0.0, abs=1e-3)


# --- the table of a comparison


@pytest.mark.parametrize("columns", [80, 200])
def test_the_table_of_methods_fits_the_terminal(monkeypatch, columns):
    """Every number of the table stands whole in its method's line, under a heading that is explained."""
    monkeypatch.setenv("COLUMNS", str(columns))
    longest = max(METHODS, key=len)
    good, _, failed = fake_comparison().rows
    numbers = {"half_value_volume_mm3": 123456.0, "percent_of_optimum": 100.0, "to_optimum_mm": 131.4}
    reason = "no map was given: " + "say where it lies, " * 10
    rows = [good | numbers | {"method": longest}, good | {"method": "optimised"}]
    rows += [failed | {"method": name, "error": reason} for name in ("map-peak", "map-again")]
    text = comparison_words(fake_comparison(rows=tuple(rows)), None)
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    line = next(line for line in lines if line.startswith(longest))
    for key, _, form in COLUMNS:
        cell = "-" if rows[0][key] is None else format(rows[0][key], form)
        assert f" {cell}" in line, key
    assert len(line.split()) == 1 + len(COLUMNS)
    folded = " ".join(text.split())
    assert folded.count("no map was given") == 1 and "map-peak, map-again: no map was given" in folded
    for word in ("to opt.:", "half vol.:", "off tgt.:", "coil-cor.:", "exp. loss:", "P opt. better:"):
        assert word in folded
