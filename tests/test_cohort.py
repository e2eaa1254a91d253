"""Cohorts: who the subjects are, resuming, failures, workers, statistics, files, command line."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from results_fake import fake_cohort, fake_comparison, fake_optimize_result
from scipy import stats
from small_heads import few_dipoles
from test_anisotropy import FIBRE, constant_image

import efield
from efield import memory
from efield.analytic.shapes import random_layered_sphere
from efield.cli import main
from efield.cohort import one, study, workers
from efield.cohort.subjects import read_subjects
from efield.cohort.workers import Workers, parse_bytes
from efield.errors import CohortError, FormatError, MeshError, MissingExtraError, PlacementError, TargetError
from efield.io.gmsh import write_msh
from efield.io.records import MeshRecord
from efield.model.coil_files import save_coil
from efield.results import json_schema
from efield.results.cohort import paired_statistics

SETTINGS = ("--target", "-30,30,42", "--radius", "12", "--search-radius", "9")
N_SUBJECTS = 20
PATIENCE_S = 240


def write_head(path, seed, tags=(2, 3, 4, 5)):
    """A layered sphere of some twenty thousand tetrahedra, each of another size."""
    radii = (1 + 0.005 * seed) * np.array([60.0, 70.0, 78.0, 85.0])
    mesh = random_layered_sphere(radii, tags, 26.0, seed=seed)
    write_msh(path, MeshRecord(np.asarray(mesh.nodes_mm), np.asarray(mesh.tets), np.asarray(mesh.tags)))


def write_table(path, rows, header="subject,head"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def command(table, out, *options):
    """The command line in a process group of its own, with the coil file beside the table."""
    words = [sys.executable, "-m", "efield.cli", "cohort", str(table), "--out", str(out)]
    words += [*SETTINGS, "--coil", str(table.with_name("few.ccd")), *options]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process):
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    return process.returncode, stdout, stderr


def complete(out):
    return [p for p in Path(out, "subjects").glob("[!.]*") if (p / one.RECORD).exists()]


def wait_for(n, out, process):
    """Wait until `n` subjects are complete and the run goes on."""
    end = time.monotonic() + PATIENCE_S
    while len(complete(out)) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def ends(group, patience_s=10.0):
    """Whether the last process of a group ends within some seconds."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


# --- twenty heads on two workers


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """A table of twenty heads, the eleventh of them corrupt, and a run that nobody disturbed."""
    pytest.importorskip("distributed", reason="Dask is not installed (pip install 'efield[cohort]')")
    folder = tmp_path_factory.mktemp("cohort")
    for i in range(N_SUBJECTS):
        write_head(folder / f"h{i:02}.msh", i)
    corrupt = folder / "h10.msh"
    corrupt.write_bytes(corrupt.read_bytes()[:5000])
    save_coil(few_dipoles(), folder / "few.ccd")
    table = write_table(folder / "heads.csv", [f"s{i:02},h{i:02}.msh" for i in range(N_SUBJECTS)])
    ended = finish(command(table, folder / "whole", "--workers", "2"))
    return table, folder / "whole", ended


def test_a_corrupt_head_is_named_and_the_others_are_there(twenty):
    _, out, (code, stdout, stderr) = twenty
    assert code == 1, stderr
    assert "19 of 20 subjects done" in stdout
    assert "1 of 20 subjects failed: s10" in stderr
    assert "Traceback" not in stderr
    rows = list(csv.DictReader((out / "cohort.csv").read_text().splitlines()))
    assert [row["subject"] for row in rows] == [f"s{i:02}" for i in range(N_SUBJECTS)]
    assert [row["subject"] for row in rows if row["status"] == "failed"] == ["s10"]
    assert "h10.msh" in rows[10]["error"]
    assert rows[10]["value"] == ""
    values = [float(row["value"]) for row in rows if row["status"] == "done"]
    assert len(set(values)) == 19
    assert not (out / "subjects/s10").exists()
    for row in (r for r in rows if r["status"] == "done"):
        result = efield.OptimizeResult.load(out / "subjects" / row["subject"])
        assert float(row["value"]) == result.objective.value


def test_killed_and_resumed_the_table_is_the_same(twenty, tmp_path):
    table, undisturbed, _ = twenty
    process = command(table, tmp_path, "--workers", "2")
    wait_for(8, tmp_path, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    there = {p.name: p.stat().st_mtime_ns for p in complete(tmp_path)}
    assert 8 <= len(there) < 19
    assert not (tmp_path / "cohort.json").exists()
    code, stdout, _ = finish(command(table, tmp_path, "--workers", "2"))
    assert code == 1
    assert f"{len(there)} of them in an earlier run" in stdout
    assert all((tmp_path / "subjects" / name).stat().st_mtime_ns == at for name, at in there.items())
    assert (tmp_path / "cohort.csv").read_bytes() == (undisturbed / "cohort.csv").read_bytes()
    assert sorted(p.name for p in (tmp_path / "subjects").iterdir()) == sorted(
        p.name for p in (undisturbed / "subjects").iterdir()
    )


def test_interrupted_it_leaves_whole_folders_and_no_process(twenty, tmp_path):
    table, _, _ = twenty
    process = command(table, tmp_path, "--workers", "2")
    wait_for(2, tmp_path, process)
    os.killpg(process.pid, signal.SIGINT)
    code, stdout, stderr = finish(process)
    assert code == 130, stderr
    assert "interrupted" in stderr
    assert stdout == ""
    assert ends(process.pid), "a worker is still there"
    assert not (tmp_path / "cohort.csv").exists()
    assert set(complete(tmp_path)) == set((tmp_path / "subjects").glob("[!.]*"))


# --- in this process, without Dask


@pytest.fixture
def fast(monkeypatch):
    """Replace what computes; returns the subjects' arguments."""
    seen = []

    def optimize(head, coil, target, **settings):
        seen.append((head.name, coil, target.name, settings))
        if head.name == "bug":
            raise KeyError("a bug")
        return fake_optimize_result()

    def compare(head, coil, target, **settings):
        seen.append((head.name, coil, target.name, settings))
        return fake_comparison()

    monkeypatch.setattr(study, "STUDIES", {"optimize": optimize, "compare": compare})
    monkeypatch.setattr("efield.results.picture.save_scalp_picture", lambda result, path: path.touch())
    optimize.__signature__ = study.inspect.signature(efield.optimize_coil)
    compare.__signature__ = study.inspect.signature(efield.compare_targeting)
    return seen


@pytest.fixture
def heads(tmp_path):
    for i, name in enumerate(("a", "b", "bug")):
        write_head(tmp_path / f"{name}.msh", i, (1, 2, 3, 5))
    return tmp_path


def rows(heads, *names):
    return [{"subject": name, "head": heads / f"{name}.msh"} for name in names]


def test_without_dask_one_after_another(fast, heads, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setattr(workers, "_installed", lambda name: False)
    found = efield.run_cohort(rows(heads, "a", "b"), heads / "out")
    assert [s["status"] for s in found.subjects] == ["done", "done"]
    with pytest.raises(MissingExtraError, match=r"efield\[cohort\]"):
        efield.run_cohort(rows(heads, "a", "b"), heads / "other", workers=2)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingExtraError, match=r"efield\[(cohort|slurm)\]"):
        efield.run_cohort(rows(heads, "a", "b"), heads / "other", workers=2, slurm=True)


def test_a_bug_in_one_subject_costs_no_other(fast, heads):
    found = efield.run_cohort(rows(heads, "a", "bug", "b"), heads / "out", workers=1)
    assert found.failed == ("bug",)
    assert found.subjects[1]["error"] == "KeyError: 'a bug'"
    again = efield.run_cohort(rows(heads, "a", "bug", "b"), heads / "out", workers=1)
    assert again.reused == ("a", "b")  # what failed is tried again
    assert [name for name, *_ in fast] == ["a", "bug", "b", "bug"]
    assert again.to_csv() == found.to_csv()


def test_other_settings_are_refused_or_computed_again(fast, heads):
    efield.run_cohort(rows(heads, "a", "b"), heads / "out", workers=1)
    with pytest.raises(CohortError, match=r"other inputs or settings \(didt differ\) for a, b"):
        efield.run_cohort(rows(heads, "a", "b"), heads / "out", workers=1, didt=2e6)
    write_head(heads / "b.msh", 7)
    with pytest.raises(CohortError, match=r"\(head differ\) for b;"):
        efield.run_cohort(rows(heads, "a", "b"), heads / "out", workers=1)
    del fast[:]
    found = efield.run_cohort(rows(heads, "a", "b"), heads / "out", workers=1, recompute=True)
    assert found.reused == ("a",)
    assert [name for name, *_ in fast] == ["b"]


def test_a_moved_head_is_the_same_head(fast, heads):
    efield.run_cohort(rows(heads, "a"), heads / "out", workers=1)
    (heads / "moved").mkdir()
    (heads / "a.msh").rename(heads / "moved/a.msh")
    found = efield.run_cohort(rows(heads / "moved", "a"), heads / "out", workers=1)
    assert found.reused == ("a",)


def test_folders_of_others_are_left_alone(fast, heads):
    (heads / "out/subjects/a").mkdir(parents=True)
    (heads / "out/subjects/a/notes.txt").write_text("mine")
    with pytest.raises(CohortError, match=r"in the way: .*subject\.json"):
        efield.run_cohort(rows(heads, "a"), heads / "out", workers=1, recompute=True)
    assert (heads / "out/subjects/a/notes.txt").read_text() == "mine"


def test_memory_is_bounded(fast, heads):
    found = efield.run_cohort(rows(heads, "a"), heads / "out", workers=1, memory="100MB")
    assert "0.1 GiB are available; allow more" in found.subjects[0]["error"]
    assert fast == []


def test_memory_is_that_of_the_order(fast, heads, monkeypatch):
    monkeypatch.setitem(memory.BYTES_PER_TET, 2, 10**9)
    limit = {"workers": 1, "memory": "2GB"}
    found = efield.run_cohort(rows(heads, "a"), heads / "two", element_order=2, **limit)
    assert "1.9 GiB are available; allow more" in found.subjects[0]["error"]
    assert efield.run_cohort(rows(heads, "a"), heads / "one", **limit).subjects[0]["error"] is None


def test_cancelled_by_its_progress(fast, heads):
    def cancel(stage, fraction):
        if fraction >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        efield.run_cohort(rows(heads, "a", "b"), heads / "out", workers=1, progress=cancel)
    assert [p.name for p in complete(heads / "out")] == ["a"]


def test_progress_is_of_what_there_is_to_do(fast, heads):
    """Subjects of an earlier run took no time: they must not make the rest look quick."""
    efield.run_cohort(rows(heads, "a"), heads / "out", workers=1)
    told = []
    settings = {"workers": 1, "progress": lambda *step: told.append(step)}
    efield.run_cohort(rows(heads, "a", "b", "c"), heads / "out", **settings)
    assert told == [("subjects", 0.0), ("subjects", 0.5), ("subjects", 1.0)]


def test_what_is_a_subjects_own(fast, heads):
    table = write_table(
        heads / "t.tsv",
        ["a\ta.msh\tmni:1,2,3\t6\t\t", "b\tb.msh\t\t\t1,2,3\tno"],
        "subject\thead\ttarget\tdistance_mm\thotspot\tlowest",
    )
    efield.run_cohort(table, heads / "out", "compare", workers=1, target="fox2012-left", methods=["5cm"])
    (_, _, first, own), (_, _, second, other) = fast
    assert (first, second) == ("mni (1.0, 2.0, 3.0) r 5 mm", "fox2012-left")
    assert own == {"methods": ["5cm"], "distance_mm": 6.0}
    assert other == {"methods": ["5cm"], "hotspot_mm": (1.0, 2.0, 3.0)}
    with pytest.raises(CohortError, match="'hotspot', which only compare reads"):
        efield.run_cohort(table, heads / "other", workers=1)


# --- tensors


def image_of(path, tensor=FIBRE):
    """The same diffusion all over a head of :func:`write_head`."""
    affine = np.diag([-10.0, 10, 10, 1])
    affine[:3, 3] = [95, -95, -95]
    return constant_image(path, tensor, affine, (20, 20, 20))


@pytest.fixture
def loaded(fast, monkeypatch):
    """The heads that the study gets, by name."""
    seen, optimize = {}, study.STUDIES["optimize"]

    def keep(head, *args, **settings):
        seen[head.name] = head
        return optimize(head, *args, **settings)

    keep.__signature__ = optimize.__signature__
    monkeypatch.setitem(study.STUDIES, "optimize", keep)
    return seen


def test_tensors_of_a_column(loaded, heads):
    image_of(heads / "a.nii.gz")
    table = write_table(heads / "t.csv", ["a,a.msh,a.nii.gz", "b,b.msh,"], "subject,head,dti")
    direct = {"anisotropy": "dir", "workers": 1}
    assert efield.run_cohort(table, heads / "out", **direct).failed == ()
    alone = efield.with_anisotropy(efield.load_head(heads / "a.msh"), heads / "a.nii.gz", mapping="dir")
    np.testing.assert_array_equal(loaded["a"].conductivity, alone.conductivity)
    assert loaded["b"].anisotropy is None
    again = efield.run_cohort(table, heads / "out", **direct)
    assert again.reused == ("a", "b") and again.provenance["settings"]["anisotropy"] == "dir"
    with pytest.raises(CohortError, match=r"\(anisotropy differ\) for a;"):
        efield.run_cohort(table, heads / "out", workers=1)
    isotropic = efield.run_cohort(rows(heads, "b"), heads / "out", workers=1)
    assert isotropic.reused == ("b",) and "anisotropy" not in isotropic.provenance["settings"]
    image_of(heads / "a.nii.gz", 2 * FIBRE)
    with pytest.raises(CohortError, match=r"\(dti differ\) for a;"):
        efield.run_cohort(table, heads / "out", **direct)


def test_tensors_of_a_pattern(loaded, heads):
    for name in ("a", "own"):
        image_of(heads / f"{name}_tensor.nii.gz")
    table = write_table(
        heads / "t.csv", ["a,a.msh,", "bug,bug.msh,", "b,b.msh,own_tensor.nii.gz"], "subject,head,dti"
    )
    words = ["cohort", table, "--out", heads / "out", "--workers", "1", "--anisotropy", "dir"]
    words += ["--dti", heads / "{subject}_tensor.nii.gz", "--dti-frame", "world"]
    ended = CliRunner().invoke(main, list(map(str, words)))
    assert ended.exit_code == 1
    assert "1 of 3 subjects failed: bug" in ended.stderr and "bug_tensor.nii.gz" in ended.stderr
    facts = [[loaded[name].anisotropy[key] for key in ("image", "mapping", "frame")] for name in "ab"]
    assert facts == [["a_tensor.nii.gz", "dir", "world"], ["own_tensor.nii.gz", "dir", "world"]]


# --- subjects


def test_a_folder_of_subjects(tmp_path):
    for name in ("m2m_b", "m2m_a", "other"):
        (tmp_path / name).mkdir()
    assert [(s.name, Path(s.head)) for s in read_subjects(tmp_path)] == [
        ("a", tmp_path / "m2m_a"),
        ("b", tmp_path / "m2m_b"),
    ]
    with pytest.raises(CohortError, match="is one subject"):
        read_subjects(tmp_path / "m2m_a")
    with pytest.raises(CohortError, match="holds no folders m2m_"):
        read_subjects(tmp_path / "other")


def test_paths_are_relative_to_the_table(tmp_path):
    table = write_table(tmp_path / "t.csv", ["a,x/h.msh,", "b,mni152,m/t.nii.gz"], "subject,head,target")
    a, b = read_subjects(table)
    assert a.head == str((tmp_path / "x/h.msh").resolve())
    assert a.own == {}
    assert (b.head, b.own) == ("mni152", {"target": str((tmp_path / "m/t.nii.gz").resolve())})


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("subject,head", [], "names no subjects"),
        ("subject,head", ["a,x.msh", "A,y.msh"], "'A' and 'a' name one folder"),
        ("subject,head", ["../a,x.msh"], r"row 1: '\.\./a' cannot name a folder"),
        ("subject,head", ["a,x.msh", "b,"], "row 2 has no 'head'"),
        ("subject;head", ["a;x.msh"], "unknown column 'subject;head'"),
        ("subject,head,traget", ["a,x.msh,"], "unknown column 'traget'"),
        ("subject,head", ["a,x.msh,1"], "more cells than the header"),
        ("subject,head,target", ["a,x.msh,nowhere"], "row 1, column 'target': unknown target 'nowhere'"),
        ("subject,head,hotspot", ["a,x.msh,12"], "column 'hotspot': '12' is not three finite numbers"),
        ("subject,head,distance_mm", ["a,x.msh,nan"], "column 'distance_mm': 'nan'"),
        ("subject,head,lowest", ["a,x.msh,maybe"], "neither yes nor no"),
    ],
)
def test_unusable_tables(tmp_path, header, lines, message):
    with pytest.raises(CohortError, match=message):
        read_subjects(write_table(tmp_path / "t.csv", lines, header))


def test_unusable_sources(tmp_path):
    with pytest.raises(CohortError, match=r"give a \.csv or \.tsv"):
        read_subjects(tmp_path / "t.xlsx")
    with pytest.raises(CohortError, match="cannot read"):
        read_subjects(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(CohortError, match="no table of text"):
        read_subjects(tmp_path / "t.csv")


def test_settings_that_no_subject_could_use(tmp_path):
    subjects = [{"subject": "a", "head": "mni152-small"}]
    for error, message, settings in (
        (CohortError, "unknown study", {"study": "fit"}),
        (CohortError, "no setting 'methods'", {"methods": ["5cm"]}),
        (PlacementError, "unknown targeting methods: f3", {"study": "compare", "methods": ["f3"]}),
        (TargetError, "unknown target", {"target": "nowhere"}),
        (CohortError, "use plain settings", {"objective": lambda e, v: e.sum()}),
        (MeshError, "unknown mapping .*'mean'; known: vn, dir", {"anisotropy": "mean"}),
        (FormatError, "unknown frame .*'ras'; known: fsl, world", {"dti_frame": "ras"}),
        (CohortError, "memory 'much' is no size", {"memory": "much"}),
        (CohortError, "at least 1, not 0", {"workers": 0}),
        (CohortError, "not both", {"scheduler": "tcp://x:1", "slurm": True}),
        (CohortError, "number of workers", {"slurm": True}),
    ):
        with pytest.raises(error, match=message):
            efield.run_cohort(subjects, tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


def test_sizes():
    sizes = {"4GB": 4e9, "3.5 GiB": 3.5 * 2**30, "100mb": 1e8, 5: 5}
    assert {text: parse_bytes(text) for text in sizes} == sizes


# --- workers


def test_a_running_scheduler(fast, heads):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address=None, threads_per_worker=1
    ) as cluster:
        found = efield.run_cohort(rows(heads, "a", "b"), heads / "out", scheduler=cluster.scheduler_address)
    assert found.failed == ()
    assert len(fast) == 2


def test_a_slurm_job_asks_for_what_its_worker_gets():
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    made = {}

    class Cluster:
        def __init__(self, **options):
            made["script"] = jobqueue.slurm.SLURMJob(
                "tcp://x:1", "n", **{k: v for k, v in options.items() if k != "scheduler_options"}
            ).job_script()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def adapt(self, **options):
            made["jobs"] = options

    workers_ = Workers(5, 8, "6GB", slurm=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobqueue, "SLURMCluster", Cluster)
        with workers_._cluster(5):
            pass
    assert "#SBATCH --cpus-per-task=8" in made["script"]
    assert "#SBATCH --mem=6G" in made["script"]
    assert "export EFIELD_NUM_THREADS=8" in made["script"]
    assert "--nthreads 1" in made["script"]
    assert made["jobs"] == {"minimum_jobs": 5, "maximum_jobs": 5}


# --- statistics


def compared(method, means, optima):
    return [
        {"method": method, "mean": mean, "percent_of_optimum": None if mean is None else 100 * mean / best}
        for mean, best in zip(means, optima, strict=True)
    ]


def test_paired_statistics():
    """Against scipy's own paired t test."""
    optima = np.array([1.2, 1.0, 1.4, 0.9, 1.1])
    means = optima * [0.8, 0.9, 0.7, 0.85, 0.95]
    best, other = paired_statistics(compared("optimised", optima, optima) + compared("5cm", means, optima))
    test = stats.ttest_rel(means, optima)
    low, high = test.confidence_interval(0.95)
    assert (other["method"], other["n"]) == ("5cm", 5)
    assert other["mean"] == pytest.approx(means.mean())
    assert other["sd"] == pytest.approx(np.std(means, ddof=1))
    assert other["difference"] == pytest.approx(np.mean(means - optima))
    assert (other["difference_low"], other["difference_high"]) == (pytest.approx(low), pytest.approx(high))
    assert other["dz"] == pytest.approx(test.statistic / np.sqrt(5))
    assert other["percent_mean"] == pytest.approx(84.0)
    assert best["difference"] == 0
    assert best["dz"] is None


def test_statistics_of_few():
    none, one_only = paired_statistics(
        compared("x", [None, None], [1, 1]) + compared("y", [0.5, None], [1, 1])
    )
    assert (none["n"], none["mean"], none["dz"]) == (0, None, None)
    assert (one_only["n"], one_only["mean"], one_only["sd"], one_only["mean_low"]) == (1, 0.5, None, None)


# --- files


def test_files_of_a_cohort(tmp_path):
    made = fake_cohort()
    made.save(tmp_path)
    body = json.loads((tmp_path / "cohort.json").read_text())
    jsonschema.validate(body, json_schema("efield.cohort/1"))
    assert (body["n_subjects"], body["n_failed"]) == (3, 1)
    table = list(csv.DictReader((tmp_path / "cohort.csv").read_text().splitlines()))
    assert [r["method"] for r in table] == ["5cm", "optimised", "map-peak"] * 2 + [""]
    assert (tmp_path / "cohort.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "cohort.pdf").read_bytes().startswith(b"%PDF")
    lines = list(csv.DictReader((tmp_path / "statistics.csv").read_text().splitlines()))
    assert [(r["method"], r["n"]) for r in lines] == [("5cm", "2"), ("optimised", "2"), ("map-peak", "0")]


def test_the_same_table_as_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (efield[parquet])")
    made = fake_cohort()
    made.export(tmp_path / "c.parquet")
    assert parquet.read_table(tmp_path / "c.parquet").to_pylist() == made.rows


# --- command line


def test_the_command_refuses(tmp_path):
    def refused(*words):
        result = CliRunner().invoke(main, ["cohort", *map(str, words)], prog_name="efield")
        assert result.exit_code == 2
        assert result.stdout == ""
        return result.stderr

    table = write_table(tmp_path / "t.csv", ["a,mni152-small"])
    out = ("--out", tmp_path / "out")
    assert "--methods is not of --study optimize" in refused(table, *out, "--methods", "5cm")
    assert "--element-order" in refused(table, *out, "--element-order", "3")
    assert "cannot read" in refused(tmp_path / "none.csv", *out)
    (tmp_path / "file").touch()
    assert "is not a folder" in refused(table, "--out", tmp_path / "file")
