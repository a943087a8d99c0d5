"""The independent check of a store's bound, itself checked."""

from __future__ import annotations

import shutil
import subprocess
import sys

import check_bound
import numpy as np
import pytest
import store_plain
import zarr
from scipy.special import rel_entr, softmax
from textbook import realistic
from tiny import command

from logitcache.store import open_store


def check(capsys, *words) -> tuple[int, list[str]]:
    """Exit code and lines."""
    with pytest.raises(SystemExit) as ended:
        check_bound.main([str(word) for word in words])
    return ended.value.code, capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("tau", check_bound.TAUS)
def test_the_kl_is_that_of_another_library(tau):
    random = np.random.default_rng(0)
    logits = random.normal(0, 5, (50, 7))
    decoded = logits + random.uniform(-0.3, 0.3, logits.shape)
    expected = rel_entr(softmax(logits / tau, axis=1), softmax(decoded / tau, axis=1)).sum(axis=1)
    np.testing.assert_allclose(check_bound.kl_rows(logits, decoded, tau), expected, rtol=1e-6, atol=1e-15)


def test_a_run_is_within_its_bound_by_its_own_teacher(finished_run, capsys):
    code, lines = check(capsys, finished_run.out / "store.zarr", "--recipe", finished_run.recipe)
    assert code == 0
    assert len(lines) == 2 * len(check_bound.TAUS)
    assert all(line.endswith("within") for line in lines)
    assert lines[-1].startswith("train/big (360 rows)")


def test_another_teacher_is_above_the_bound(finished_run, capsys, tmp_path):
    shutil.copytree(finished_run.out / "store.zarr", tmp_path / "store.zarr")
    text = finished_run.recipe.read_text()
    recipe = tmp_path / "other.toml"
    recipe.write_text(text.replace("learning_rate = 0.05 }", "learning_rate = 0.05, seed = 1 }"))
    assert command("cache", recipe, "--out", tmp_path / "made", "--device", "cpu").code == 0
    shutil.copytree(tmp_path / "made/teachers", tmp_path / "teachers")
    code, lines = check(capsys, tmp_path / "store.zarr", "--recipe", recipe)
    assert code == 1
    assert lines[0].endswith("ABOVE")


@pytest.fixture
def imported(tmp_path):
    logits = np.random.default_rng(0).normal(0, 4, (2, 100, 5)).astype(np.float32)
    np.save(tmp_path / "logits.npy", logits)
    words = ["--teacher", "t", "--encoding", "uniform", "--max-kl", "1e-2", "--block", "64"]
    assert command("import", tmp_path / "logits.npy", tmp_path / "s.zarr", *words).code == 0
    return tmp_path


def test_an_import_is_within_its_bound_by_its_file(imported, capsys):
    code, lines = check(capsys, imported / "s.zarr", "--logits", imported / "logits.npy")
    assert code == 0
    assert [line.split()[-1] for line in lines] == ["within"] * 5
    largest, bound = (float(lines[1].split(word)[1].split()[0]) for word in ("largest KL", "bound"))
    assert 0.1 * bound < largest <= bound <= 1e-2, "the bound is not far from what is reached"


@pytest.mark.parametrize("row", [0, 70, 99])
def test_one_wrong_row_is_seen(imported, capsys, row):
    logits = np.load(imported / "logits.npy")
    step = float(zarr.open_array(imported / "s.zarr/train/teachers/t/logits", mode="r").attrs["scale_factor"])
    logits[1, row, 2] += 8 * step
    np.save(imported / "logits.npy", logits)
    code, lines = check(capsys, imported / "s.zarr", "--logits", imported / "logits.npy")
    assert code == 1
    assert "ABOVE" in "".join(lines)


ENCODINGS = {
    "uniform": ["--encoding", "uniform"],
    "lossless": ["--encoding", "lossless"],
    "spectral": ["--encoding", "spectral", "--head", "0", "--max-kl", "0.1"],
    "a head": ["--encoding", "spectral", "--head", "4", "--max-kl", "0.1"],
    "a low promise": ["--encoding", "spectral", "--head", "0", "--max-kl", "0.05", "--tau-min", "4"],
    "no promise": ["--encoding", "spectral", "--head", "1", "--step", "0.5"],
    "largest entries": ["--encoding", "topk", "--entries", "5"],
}


@pytest.fixture(scope="module", params=ENCODINGS)
def encoded(request, tmp_path_factory):
    """Logits, their store, and the encoding's name."""
    folder = tmp_path_factory.mktemp("encoded")
    np.save(folder / "logits.npy", np.stack([realistic(300, 40, seed=view) for view in (0, 1)]))
    words = ["--teacher", "t", "--block", "128", *ENCODINGS[request.param]]
    answer = command("import", folder / "logits.npy", folder / "s.zarr", *words)
    assert answer.code == 0, answer.err
    return folder, request.param


def test_plain_arithmetic_decodes_what_readers_are_given(encoded):
    folder, name = encoded
    [stored] = store_plain.open_teachers(folder / "s.zarr")
    reader = open_store(folder / "s.zarr").logits("t")
    for view in (0, 1):
        for block in range(reader.blocks):
            rows = reader.rows(block)
            ours = stored.logits(view, slice(rows.start, rows.stop))
            np.testing.assert_allclose(ours, reader.read(view, block), rtol=1e-5, atol=2e-4)
    if name in ("spectral", "a head"):
        # the other view's logits have other components, so its rows need finer steps
        assert all(reader.values(1, block)["level"].any() for block in range(reader.blocks))


def test_every_encoding_is_within_its_bound_at_101_temperatures(encoded, capsys):
    folder, name = encoded
    code, lines = check(capsys, folder / "s.zarr", "--logits", folder / "logits.npy", "--taus", "101")
    assert (code, len(lines)) == (0, 1)
    assert lines[0].endswith("no promise" if name in ("no promise", "largest entries") else "within")
    assert "(600 rows)" in lines[0]


def test_below_tau_min_nothing_is_promised(encoded, capsys):
    folder, name = encoded
    code, lines = check(capsys, folder / "s.zarr", "--logits", folder / "logits.npy")
    promised = [line.split(" tau ")[1].split()[0] for line in lines if not line.endswith("no promise")]
    every = ["0.5", "1", "2", "4", "20"]
    first = {"spectral": 1, "a head": 1, "a low promise": 3, "no promise": 5, "largest entries": 5}.get(name, 0)
    assert (code, promised) == (0, every[first:])


@pytest.mark.parametrize("view", [0, 1])
def test_one_row_that_is_off_is_seen_in_every_encoding(encoded, capsys, tmp_path, view):
    folder, name = encoded
    if name in ("no promise", "largest entries"):
        pytest.skip("nothing is promised")
    logits = np.load(folder / "logits.npy")
    logits[view, 299, logits[view, 299].argmax()] += 8
    np.save(tmp_path / "other.npy", logits)
    code, lines = check(capsys, folder / "s.zarr", "--logits", tmp_path / "other.npy", "--taus", "11")
    assert (code, lines[0].split()[-1]) == (1, "ABOVE")


def test_temperatures_go_from_the_lowest_to_a_hundred_times_that():
    taus = check_bound.spaced(2.0, 101)
    assert (len(taus), taus[0], taus[-1]) == (101, 2.0, pytest.approx(200.0))
    assert np.allclose(np.diff(np.log(taus)), np.log(100) / 100)


def test_the_check_against_a_file_never_loads_logitcache(imported, repository):
    code = (
        f"import sys; sys.path.insert(0, {str(repository / 'benchmarks')!r}); import check_bound\n"
        f"try: check_bound.main(['s.zarr', '--logits', 'logits.npy', '--taus', '5'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "assert 'logitcache' not in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=imported, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("within\n")


def test_rows_that_were_never_written_are_not_taken_for_logits(imported):
    for shard in (imported / "s.zarr/train/teachers/t/logits/c/1").rglob("0"):
        if shard.is_file():
            shard.unlink()
    [stored] = store_plain.open_teachers(imported / "s.zarr")
    with pytest.raises(SystemExit, match="never written"):
        stored.logits(1, slice(0, 10))


def test_signal_and_errors_are_those_of_another_library():
    random = np.random.default_rng(0)
    logits = random.normal(0, 5, (50, 7))
    decoded = logits + random.uniform(-3, 3, logits.shape)
    found = store_plain.compare_rows(logits, decoded, (2.0,))
    flat = rel_entr(softmax(logits / 2, axis=1), np.full((50, 7), 1 / 7)).sum(axis=1)
    np.testing.assert_allclose(found.signal[0], flat, rtol=1e-9)
    np.testing.assert_allclose(found.squared, np.square(decoded - logits).sum(axis=1))
    assert (found.same_top == (logits.argmax(axis=1) == decoded.argmax(axis=1))).all()
    assert not found.same_top.all()


def test_pieces_on_all_cores_are_the_same_rows_in_order():
    logits, decoded = realistic(700, 20), realistic(700, 20, seed=1)
    whole = store_plain.compare_rows(logits, decoded, (1.0, 4.0))
    parts = store_plain.compare_arrays(logits, decoded, (1.0, 4.0))
    for name in ("kl", "signal", "squared", "same_top"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("offset", range(0, 40, 8))
def test_equal_rows_have_no_kl_at_all(offset):
    logits = np.random.default_rng(0).normal(0, 5, (256, 10))
    room = np.zeros(8 * logits.size + 64, np.uint8)
    elsewhere = room[offset : offset + 8 * logits.size].view(np.float64).reshape(logits.shape)
    elsewhere[...] = logits
    assert (store_plain.compare_rows(logits, elsewhere, (0.5, 1.0, 20.0)).kl == 0).all()
