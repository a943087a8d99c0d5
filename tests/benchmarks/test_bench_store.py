"""The benchmark of the store runs in its quick mode and shows all that it must; its parts say what is true."""

from __future__ import annotations

import json
import math

import bench_store
import numpy as np
import pytest
import store_bound
import store_made
import store_speed
import store_table
import store_ways
import store_wide
from textbook import realistic

from logitcache.store import EncodingOptions


@pytest.fixture(scope="module")
def logits():
    """Logits with as many classes as a head needs."""
    return realistic(rows=600, classes=101)


@pytest.fixture(scope="module")
def quick(logits, finished_run, tmp_path_factory):
    """What a quick run writes, about a tiny run and tiny logits."""
    folder = tmp_path_factory.mktemp("bench_store")
    np.savez(folder / "logits.npz", logits=logits)
    words = ["--recipe", finished_run.recipe, "--run", finished_run.out, "--logits", folder / "logits.npz"]
    sections = "table,bound,gather,encode,flips,students"
    with pytest.raises(SystemExit) as ended:
        bench_store.main([str(w) for w in (*words, "--quick", "--only", sections, "--out", folder / "out/b.json")])
    assert ended.value.code == 0
    return json.loads((folder / "out/b.json").read_text())


def figures(quick, section, what):
    return [figure for figure in quick["figures"][section] if figure["what"] == what]


def test_the_file_says_on_what_it_was_measured(quick):
    assert {"machine", "versions", "command", "seconds", "figures", "broken"} == set(quick)
    assert quick["broken"] is False


def test_the_table_has_every_encoding_on_both_sets_of_logits(quick):
    rows = figures(quick, "table", "encoding")
    by_logits = {name: [r["encoding"] for r in rows if r["logits"] == name] for name in {r["logits"] for r in rows}}
    assert len(by_logits) == 2
    for names in by_logits.values():
        kinds = [name.split(",")[0].split()[0] for name in names]
        for kind, count in {"float16": 1, "affine": 2, "uniform": 1, "spectral": 6, "auto": 3}.items():
            assert kinds.count(kind) == count
        assert sum(kind.startswith("top-") for kind in kinds) == 2
    assert all(row["bytes_with_shared"] >= row["bytes_per_row"] > 0 for row in rows)
    assert all(len(row["kl_mean"]) == len(row["kl_largest"]) == len(row["signal_lost"]) == 4 for row in rows)
    assert all(row["write_rows_per_second"] > 0 < row["read_rows_per_second"] for row in rows)
    assert len(figures(quick, "table", "target")) == 4


def test_a_finer_step_costs_bytes_and_loses_less(quick):
    rows = {r["encoding"]: r for r in figures(quick, "table", "encoding") if r["logits"] == bench_store.NAME}
    coarse, middle, fine = (rows[f"spectral, step {step}"] for step in ("4", "1.5", "0.49"))
    assert coarse["bytes_per_row"] < middle["bytes_per_row"] < fine["bytes_per_row"]
    assert coarse["rmse"] > middle["rmse"] > fine["rmse"] > 0
    assert all(a > b for a, b in zip(coarse["kl_mean"], fine["kl_mean"], strict=True))
    assert rows["spectral, step 4, head 8"]["top1_kept"] == 1


def test_every_bound_is_kept(quick):
    found = figures(quick, "bound", "bound")
    assert [figure["max_kl"] for figure in found] == [0.1, 0.03, 0.01]
    assert all(0 < figure["largest_kl"] <= figure["max_kl"] for figure in found)
    assert all(figure["temperatures"] == 101 for figure in found)


def test_gathers_stand_beside_memmap_and_the_processor_is_named(quick):
    [machine] = figures(quick, "gather", "gathers on")
    assert isinstance(machine["amx"], bool)
    ratios = figures(quick, "gather", "gather")
    assert len(ratios) == 10
    assert all(ratio["kind"] == "memmap float16" and ratio["rows_per_second"] > 0 for ratio in ratios)
    assert max(ratio["largest_difference"] for ratio in ratios) < 1e-2
    assert all(ratio["result"] for ratio in ratios if "product" not in ratio["against"])


def test_encoding_is_timed_at_three_bounds(quick):
    found = figures(quick, "encode", "encoding speed")
    assert [figure["max_kl"] for figure in found] == [0.1, 0.03, 0.01]
    assert all(figure["rows_per_second"] > 0 for figure in found)


def test_no_flip_is_silently_wrong(quick):
    [found] = figures(quick, "flips", "flips")
    assert found["flips"] == 20
    assert found["silently_wrong"] == 0


def test_students_have_three_seeds_from_every_store(quick):
    found = figures(quick, "students", "students")
    assert len({figure["store"] for figure in found}) == 4
    assert len(found) == 8
    assert all(len(figure["test_accuracy"]) == 3 and figure["standard_deviation"] >= 0 for figure in found)


def test_very_many_classes_are_encoded_in_a_process_of_their_own(tmp_path):
    first, *checks = store_bound.wide(tmp_path, rows=90, classes=2100, rank=8)
    assert first.record["peak_bytes"] >= first.record["peak_bytes_while_choosing"] > 1e8
    assert not any(figure.broken for figure in (first, *checks))
    assert [figure.record["temperatures"] for figure in checks] == [17, 101]
    assert first.record["bytes_per_row"] < 2 * 2100


def test_synthetic_rows_are_as_sure_as_a_networks():
    features, weight = store_wide.features_and_head((500, 3000), 64)
    logits = (features @ weight.T).astype(np.float64)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    surest = (p.max(axis=1) / p.sum(axis=1)).mean()
    assert 0.3 < surest < 0.95
    assert 2 < logits.std() < 4


def test_the_signal_lost_is_a_share_of_what_the_uniform_distribution_loses(tmp_path, logits):
    def flat(path):
        return np.zeros_like(logits)

    way = store_ways.Way("nothing", lambda path, z: path.write_bytes(b"x") and 1.0, flat, flat, lambda path: (1, 0))
    row = store_table.measure_way(way, logits, tmp_path / "x")
    assert row.signal_lost == pytest.approx((1, 1, 1, 1))
    assert row.rmse == pytest.approx(math.sqrt(np.square(logits.astype(np.float64)).mean()), rel=1e-6)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("kl", "reached"), [(0.01, True), (0.02, False)])
def test_a_target_is_reached_with_few_bytes_and_little_kl(kl, reached):
    target = store_table.Target(60, (0.015,) * 4)
    row = store_table.Row(
        "x", 60.0, 99.0, (0.01, 0.01, 0.01, kl), (0.0,) * 4, (0.0,) * 4, 0.0, 1.0, 1.0, 1.0, head=True
    )
    assert target.reached_by(row) is reached
    assert not store_table.Target(59, (1.0,) * 4).reached_by(row)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("classes", [7, 8])
def test_affine_rows_are_within_half_a_step(tmp_path, bits, classes):
    z = realistic(rows=50, classes=classes)
    [way] = [w for w in store_ways.all_ways(classes) if w.name.startswith(f"affine {bits}-bit")]
    way.write(tmp_path / "x", z)
    step = (z.max(axis=1) - z.min(axis=1)) / (2**bits - 1)
    assert (np.abs(way.read(tmp_path / "x") - z) <= 0.51 * step[:, None] + 0.01).all()
    assert way.size(tmp_path / "x")[0] == 128 + 50 * (4 + -(-classes * bits // 8))


def test_bytes_on_disk_are_all_but_labels_and_indices(tmp_path, logits):
    made = store_made.make_store(tmp_path / "s", logits, EncodingOptions(kind="spectral", max_kl=0.1))
    rows, transform = store_made.disk_bytes(made.path)
    files = {f.relative_to(made.path).as_posix(): f.stat().st_size for f in made.path.rglob("*") if f.is_file()}
    apart = sum(size for name, size in files.items() if name.startswith(("train/labels", "train/index")))
    assert rows + transform + apart == sum(files.values())
    shared = [name for name in files if name.split("/")[3:4] in (["basis"], ["mean"], ["spread"])]
    assert transform == sum(files[name] for name in shared) > 0


def test_what_was_stored_is_read_back(tmp_path, logits):
    made = store_made.make_store(tmp_path / "s", logits, EncodingOptions(kind="lossless"), block=256)
    assert (store_made.read_store(made.path) == logits).all()
    assert made.writing > 0 <= made.choosing


def test_tiled_rows_are_nearly_but_not_quite_the_same(logits):
    rows = store_speed.tiled(logits, 3)
    assert rows.shape == (1800, 101)
    assert 0 < np.abs(rows[:600] - rows[600:1200]).max() < 20 * store_speed.NOISE


def test_unknown_sections_are_refused(capsys):
    with pytest.raises(SystemExit):
        bench_store.parse(["--only", "table,chairs"])
    assert "chairs" in capsys.readouterr().err
