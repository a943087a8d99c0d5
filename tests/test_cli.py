"""The command line: help that teaches, one clear message for bad input, and nothing changed by it."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import click
import numpy as np
import pytest
from builders import make_split, tree
from click.testing import CliRunner
from tiny import Answer, command, run_words

import logitcache
from logitcache.cli import cli
from logitcache.errors import UnknownOriginWarning
from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint

COMMANDS = [
    "cache",
    "copy",
    "distill",
    "export",
    "import",
    "info",
    "plan",
    "recipes",
    "repair",
    "report",
    "run",
    "stats",
]
COMMANDS += ["study", "teach", "verify", "view"]
TRACEBACK = "Traceback"
TEACH = "teach = { epochs = 2, batch = 20, learning_rate = 0.05 }"  # as tiny's recipe has it


def walk(group: click.Group, words=()):
    """Every command and its words."""
    for name, found in group.commands.items():
        yield [*words, name], found
        if isinstance(found, click.Group):
            yield from walk(found, [*words, name])


ALL = list(walk(cli))


def one_line(answer: Answer, code: int) -> str:
    """The one line on standard error that a refused command leaves."""
    assert answer.code == code, (answer.out, answer.err)
    assert TRACEBACK not in answer.err
    [line] = answer.err.strip().splitlines()
    assert line.startswith("error: ")
    return line


# help


def test_the_commands_are_those_that_were_promised():
    assert sorted(cli.commands) == COMMANDS
    deeper = {" ".join(words) for words, _ in ALL if len(words) > 1}
    assert deeper == {"recipes copy", "study collect", "study make", "study page"}


@pytest.mark.parametrize(("words", "found"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_every_command_says_what_it_does_and_what_each_option_means(words, found):
    shown = CliRunner().invoke(cli, [*words, "--help"])
    assert shown.exit_code == 0
    text = " ".join(shown.output.split())
    assert len(found.help.split()) >= 6
    assert found.help.splitlines()[0].strip()[:40] in text
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in text
            unclear = parameter.help is None and not parameter.show_default
            assert not unclear, f"{parameter.name} is not explained"
        else:
            assert parameter.name.upper() in found.help, f"{parameter.name} is not explained"


def test_the_help_of_all_shows_the_first_commands_to_type():
    text = CliRunner().invoke(cli, ["--help"]).output
    for line in ("logitcache run pipelines/fashion_mnist.toml", "logitcache cache RECIPE", "logitcache distill RECIPE"):
        assert any(each.strip().startswith(line) for each in text.splitlines())


def test_help_loads_neither_torch_nor_zarr():
    code = "import sys; from logitcache.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "run", "--help"], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert {"torch", "zarr", "dask"} & set(done.stdout.split()) == set()


def test_version():
    assert logitcache.__version__ in command("--version").out


# bad input of recipes: overrides, what the message must say


BAD_RECIPES = {
    "misspelt key": (["data.nam=arrays"], ["data.nam", "unknown key", "did you mean 'name'?"]),
    "misspelt table": (["veiws.count=2"], ["veiws", "unknown key", "did you mean 'views'?"]),
    "unknown model": (["students.model=cn-4-4"], ['students.0.model = "cn-4-4"', "unknown model"]),
    "unknown teacher model": (['teachers.0.model="wrn-17-2"'], ["teachers.0.model", "6n + 4"]),
    "tau of 0": (['students.objectives=[{loss="kl",tau=0}]'], ["objectives.0.tau", "= 0", "must be greater than 0"]),
    "negative tau": (['students.objectives=[{loss="kl",tau=[1,-2]}]'], ["= -2", "must be greater than 0"]),
    "alpha above 1": (['students.objectives=[{loss="kl",alpha=1.5}]'], ["alpha", "= 1.5", "must be at most 1"]),
    "negative alpha": (['students.objectives=[{loss="mse",alpha=-0.1}]'], ["alpha", "= -0.1", "must be at least 0"]),
    "unknown teacher": (['students.teachers=["bih"]'], ["students.0.teachers", "big"]),
    "more views than cached": (["students.views=3"], ["students.0.views = 3", "must be at most views.count = 2"]),
    "mixing beyond the samples": (["views.mix.kind=mixup"], ["students.0.samples = 60", "use data.samples"]),
}


@pytest.mark.parametrize("verb", ["run", "plan", "cache", "distill"])
@pytest.mark.parametrize(("overrides", "parts"), BAD_RECIPES.values(), ids=list(BAD_RECIPES))
def test_faults_of_a_recipe_are_one_message_and_change_nothing(finished_run, overrides, parts, verb):
    before = tree(finished_run.out)
    answer = finished_run(verb, *overrides)
    assert answer.code == 2, answer
    assert TRACEBACK not in answer.err
    first, *faults = answer.err.strip().splitlines()
    assert first == f"error: {finished_run.recipe}: 1 fault"
    assert len(faults) == 1
    for part in parts:
        assert part in faults[0]
    assert answer.out == ""
    assert tree(finished_run.out) == before


def test_all_faults_of_a_recipe_come_together(finished_run, tmp_path):
    out = tmp_path / "out"
    overrides = ["data.nam=x", "students.model=cn-4-4", "students.seeds=[]"]
    answer = command("run", *run_words(finished_run.recipe, out, *overrides))
    assert answer.code == 2
    assert "3 faults" in answer.err.splitlines()[0]
    assert not out.exists()


def test_a_missing_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for verb in ("run", "plan", "cache", "distill"):
        line = one_line(command(verb, "fashion_mnits.toml"), 2)
        assert "recipe 'fashion_mnits.toml' does not exist" in line
        assert "fashion_mnist" in line.split(";")[1]
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_is_no_toml(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[data\n")
    assert "bad.toml is not valid TOML" in one_line(command("plan", path), 2)


def test_an_unknown_device(finished_run):
    line = one_line(command("plan", finished_run.recipe, "--device", "tpu"), 2)
    assert line == "error: device 'tpu' is unknown; allowed: auto, cpu, cuda"


# bad input that only files and stores show


def test_a_checkpoint_of_another_architecture(finished_run, tmp_path):
    split = make_split(6, 3, side=12)
    checkpoint, out = tmp_path / "other.safetensors", tmp_path / "out"
    save_checkpoint(checkpoint, build_model("cnn-4-4", 3, split.shape), "cnn-4-4", {})
    text = finished_run.recipe.read_text()
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text.replace(TEACH, f'checkpoint = "{checkpoint}"'))
    line = one_line(command("cache", *run_words(recipe, out)), 2)
    assert str(checkpoint) in line
    assert "does not fit model cnn-4-8" in line
    assert "written for cnn-4-4" in line
    assert not out.exists()


@pytest.mark.parametrize("verb", ["run", "cache", "distill", "plan"])
def test_a_store_from_another_data_set(run_copy, tmp_path, verb):
    other = tmp_path / "labels.npy"
    np.save(other, np.roll(np.arange(120) % 3, 1))
    before = tree(run_copy.out)
    line = one_line(run_copy(verb, f"data.labels={other}", "students.seeds=[7]"), 2)
    assert "the data set's fingerprint in split 'train' differs" in line
    assert "use the data set and recipe" in line
    assert tree(run_copy.out) == before


def test_a_data_set_whose_label_count_differs(finished_run, tmp_path):
    labels, out = tmp_path / "labels.npy", tmp_path / "out"
    np.save(labels, np.arange(119) % 3)
    line = one_line(command("run", *run_words(finished_run.recipe, out, f"data.labels={labels}")), 2)
    assert "119" in line
    assert "120" in line
    assert not out.exists()


@pytest.fixture
def logits(tmp_path):
    """Plain logits and labels on disk."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "logits.npy", random.normal(0, 4, (40, 5)).astype(np.float32))
    np.save(tmp_path / "labels.npy", np.arange(40) % 5)
    return tmp_path


def bring(folder, *words) -> Answer:
    return command("import", folder / "logits.npy", folder / "s.zarr", "--teacher", "big", "--block", 16, *words)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_by_sample(logits, value):
    array = np.load(logits / "logits.npy")
    array[33, 2] = value
    np.save(logits / "logits.npy", array)
    before = tree(logits)
    assert "sample 33 in view 0 are not finite" in one_line(bring(logits), 2)
    assert tree(logits) == before
    assert not (logits / "s.zarr").exists()


def test_a_teacher_whose_logits_are_not_finite_is_refused_by_sample(finished_run, tmp_path):
    (tmp_path / "bad_network.py").write_text(
        "from torch import nn\n"
        "class Bad(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(144, classes)\n"
        "    def forward(self, x):\n"
        "        return self.fc(x.flatten(1)) / 0\n"
        "def build(classes, shape):\n"
        "    return Bad(classes)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        checkpoint = tmp_path / "bad.safetensors"
        save_checkpoint(checkpoint, build_model("bad_network:build", 3, (1, 12, 12)), "bad_network:build", {})
        text = finished_run.recipe.read_text().replace('"cnn-4-8"', '"bad_network:build"')
        recipe = tmp_path / "mine.toml"
        recipe.write_text(
            text.replace("teach = { epochs = 2, batch = 20, learning_rate = 0.05 }", f'checkpoint = "{checkpoint}"')
        )
        line = one_line(command("cache", *run_words(recipe, tmp_path / "out")), 2)
    assert "logits of sample 0 are not finite" in line
    assert not list((tmp_path / "out").rglob("commits/*"))


@pytest.mark.parametrize("count", [39, 41])
def test_an_import_whose_label_count_differs(logits, count):
    np.save(logits / "labels.npy", np.zeros(count, np.int64))
    line = one_line(bring(logits, "--labels", logits / "labels.npy"), 2)
    assert f"labels.npy has {count} labels, but there are logits of 40 samples" in line
    assert not (logits / "s.zarr").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--max-kl", "0"], "max_kl = 0"),
        (["--tau-min", "-1"], "tau_min = -1"),
        (["--step", "0"], "step = 0"),
        (["--encoding", "lossless", "--step", "0.1"], "lossless has none"),
        (["--encoding", "topk", "--bytes-per-row", "9"], "topk has none"),
        (["--encoding", "uniform", "--head", "2"], "uniform has none"),
        (["--encoding", "spectral", "--head", "5"], "head = 5 entries of 5 classes"),
        (["--encoding", "spectral", "--head", "64"], "head = 64"),
        (["--encoding", "topk", "--top-p", "2"], "top_p = 2"),
        (["--encoding", "uniform", "--step", "0.1", "--bytes-per-row", "9"], "either step or bytes_per_row"),
        (["--bytes-per-row", "0.001"], "bytes_per_row = 0.001 is less than any step takes here"),
        (["--format", "nonsense"], "nonsense"),
        (["--classes", "4"], "has 5 classes, given was classes = 4"),
        (["--tau", "2"], "tau is for stored probabilities"),
    ],
)
def test_an_encoding_that_cannot_be(logits, words, part):
    answer = bring(logits, *words)
    assert answer.code == 2
    assert TRACEBACK not in answer.err
    assert part in answer.err
    assert not (logits / "s.zarr").exists()


@pytest.mark.parametrize("kind", ["auto", "uniform", "spectral", "lossless", "topk"])
@pytest.mark.parametrize("codec", ["pcodec", "portable"])
def test_every_encoding_can_be_imported_copied_and_verified(logits, kind, codec):
    options = ["--encoding", kind, "--codec", codec, *(["--entries", "3"] if kind == "topk" else [])]
    answer = bring(logits, *options)
    assert (answer.code, answer.err) == (0, "")
    assert f"encoding: {'' if kind == 'auto' else kind}" in answer.out
    assert ("codec portable" in answer.out) is (codec == "portable")
    assert "all of it was there already" in bring(logits, *options).out
    assert command("copy", logits / "s.zarr", logits / "t.zarr").out.strip() == f"{logits / 't.zarr'}: 3 blocks copied"
    assert tree(logits / "t.zarr") == tree(logits / "s.zarr")
    for name in ("s.zarr", "t.zarr"):
        assert "3 blocks" in command("verify", logits / name, "--decode").out


def test_a_copy_says_what_is_not_there(logits):
    bring(logits, "--encoding", "lossless")
    store, small = logits / "s.zarr", logits / "t.zarr"
    (store / "train/teachers/big/logits/commits/0.json").unlink()
    answer = command("copy", store, small)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.strip() == f"{small}: 0 blocks copied; 3 are not committed in {store}"
    bring(logits, "--encoding", "lossless")
    assert command("copy", store, small).out.strip() == f"{small}: 3 blocks copied"
    assert command("copy", store, small).out.strip() == f"{small}: 0 blocks copied, 3 were there"


def test_a_copy_names_all_damaged_blocks(logits):
    bring(logits, "--encoding", "lossless")
    for block in (0, 2):
        (logits / f"s.zarr/train/teachers/big/logits/c/0/{block}/0").write_bytes(b"")
    answer = command("copy", logits / "s.zarr", logits / "t.zarr")
    assert answer.code == 1
    assert TRACEBACK not in answer.err
    for block, line in zip((0, 2), answer.err.strip().splitlines(), strict=True):
        assert f"block {block} of view 0 of teacher 'big'" in line


def test_a_copy_of_no_such_part_or_way(logits):
    bring(logits)
    store, small = logits / "s.zarr", logits / "t.zarr"
    for words, part in (
        (["--teacher", "bih"], "has no teacher bih"),
        (["--split", "valid"], "has no split 'valid'"),
        (["--views", "1:3"], "give 0:COUNT, like 0:8"),
        (["--views", "2"], "give 0:COUNT, like 0:8"),
        (["--views", "0:0"], "give 0:COUNT, like 0:8"),
    ):
        assert part in one_line(command("copy", store, small, *words), 2)
    assert "is the source itself" in one_line(command("copy", store, store), 2)
    answer = command("copy", store, small, "--max-kl", "0.1")
    assert answer.code == 2
    assert "options of an encoding need --encoding" in answer.err
    assert not small.exists()


def test_views_are_copied_and_exported_by_range(run_copy, tmp_path):
    store, part = run_copy.out / "store.zarr", tmp_path / "part.zarr"
    assert "8 blocks copied" in command("copy", store, part, "--views", "0:2", "--encoding", "lossless").out
    whole = tmp_path / "all.npy"
    assert command("export", store, whole, "--teacher", "big", "--view", "0:3").out.strip() == f"{whole}: 3 x 120 x 3"
    assert command("export", part, tmp_path / "two.npy", "--teacher", "big", "--view", ":").code == 0
    assert np.array_equal(np.load(tmp_path / "two.npy"), np.load(whole)[:2])
    assert command("export", store, tmp_path / "one.npy", "--teacher", "big", "--view", "1").code == 0
    assert np.array_equal(np.load(tmp_path / "one.npy").reshape(120, 3), np.load(whole)[1])
    for words in ("0:4", "3", "2:1", "x", "-1"):
        line = one_line(command("export", store, tmp_path / "x.npy", "--teacher", "big", f"--view={words}"), 2)
        assert f"views '{words}'" in line
    assert not (tmp_path / "x.npy").exists()


def test_an_import_into_a_store_of_other_logits(logits):
    assert bring(logits).code == 0
    array = np.load(logits / "logits.npy")
    np.save(logits / "logits.npy", array + 1)
    before = tree(logits / "s.zarr")
    assert "differs" in one_line(bring(logits), 2)
    assert tree(logits / "s.zarr") == before


def test_a_missing_store(tmp_path):
    for words in (["info"], ["verify"], ["stats"], ["export"]):
        more = [tmp_path / "out.npy", "--teacher", "big"] if words == ["export"] else []
        line = one_line(command(*words, tmp_path / "none.zarr", *more), 2)
        assert "none.zarr is not a logit store" in line
    assert list(tmp_path.iterdir()) == []


def test_a_missing_run_directory(tmp_path):
    line = one_line(command("report", tmp_path / "none"), 2)
    assert str(tmp_path / "none") in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_teacher(finished_run, tmp_path):
    line = one_line(command("export", finished_run.out / "store.zarr", tmp_path / "x.npy", "--teacher", "bih"), 2)
    assert "no teacher 'bih'" in line
    assert "it has big" in line
    assert list(tmp_path.iterdir()) == []


# damage


@pytest.mark.parametrize("words", [["verify"], ["stats"], ["export"]])
def test_a_truncated_chunk_is_exit_code_1_and_names_the_block(run_copy, tmp_path, words):
    shard = run_copy.out / "store.zarr/train/teachers/big/logits/c/0/1/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    before = tree(run_copy.out)
    more = [tmp_path / "x.npy", "--teacher", "big"] if words == ["export"] else []
    answer = command(*words, run_copy.out / "store.zarr", *more)
    assert answer.code == 1
    assert TRACEBACK not in answer.err
    assert "block 1 of view 0 of teacher 'big' in split 'train'" in answer.err.splitlines()[0]
    assert tree(run_copy.out) == before
    assert not (tmp_path / "x.npy").exists()


def test_all_that_is_damaged_is_named(run_copy):
    store = run_copy.out / "store.zarr"
    for name in ("zarr.json", "train/labels/c/0", "train/teachers/big/logits/commits/1.json"):
        (store / name).write_bytes(b"x" + (store / name).read_bytes())
    (store / "test/teachers/big/logits/c/0/0/0").unlink()
    before = tree(store)
    answer = command("verify", store)
    assert answer.code == 1
    assert TRACEBACK not in answer.err
    *findings, total = answer.err.strip().splitlines()
    for part in (
        "zarr.json",
        "train/labels/c/0",
        "commits/1.json",
        "block 0 of view 0 of teacher 'big' in split 'test'",
    ):
        assert sum(part in line for line in findings) == 1
    assert (len(findings), total) == (4, "4 findings in 11 blocks")
    assert tree(store) == before


def test_what_is_damaged_is_repaired_by_the_recipe(run_copy):
    store = run_copy.out / "store.zarr"
    before = tree(store)
    words = run_words(run_copy.recipe, run_copy.out)
    for name in ("zarr.json", "train/teachers/big/zarr.json", "train/teachers/big/logits/c/2/1/0"):
        (store / name).write_bytes((store / name).read_bytes()[1:])
    answer = command("repair", store, *words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("found: ") >= 2
    assert "11 blocks, 0 findings left" in answer.out
    assert tree(store) == before
    again = command("repair", store, *words)
    assert (again.code, "found: " in again.out) == (0, False)


def test_what_another_recipe_cannot_repair_is_left(run_copy):
    store = run_copy.out / "store.zarr"
    (store / "train/teachers/big/logits/c/2/1/0").write_bytes(b"")
    before = tree(store)
    line = one_line(command("repair", store, *run_words(run_copy.recipe, run_copy.out, "views.padding=2")), 2)
    assert "the view policy" in line
    named = 'teachers=[{name="else",model="cnn-4-8",teach={epochs=2,batch=20,learning_rate=0.05}}]'
    students = "students=[]"
    answer = command("repair", store, *run_words(run_copy.recipe, run_copy.out, named, students))
    assert answer.code == 1
    assert "left: " in answer.err
    assert tree(store) == before


def test_recomputed_rows_are_within_the_bound_or_named(run_copy, tmp_path):
    store, words = run_copy.out / "store.zarr", run_words(run_copy.recipe, run_copy.out)
    answer = command("verify", store, "--recompute", "9", *words)
    assert (answer.code, answer.err) == (0, "")
    assert "18 of 18 recomputed rows are within the bound" in answer.out
    checkpoint = run_copy.out / "teachers/big.safetensors"
    network = build_model("cnn-4-8", 3, (1, 12, 12))
    save_checkpoint(checkpoint, network, "cnn-4-8", {})
    answer = command("verify", store, "--recompute", "9", *words)
    assert answer.code == 1
    assert TRACEBACK not in answer.err
    *rows, total = answer.err.strip().splitlines()
    assert all("from the teacher at tau 1; allowed are" in row for row in rows)
    assert total.endswith("of 18 recomputed rows are within the bound")
    line = one_line(command("verify", store, "--recompute", "9", *words, "--set", "views.padding=2"), 2)
    assert "the view policy" in line
    for count in ("0", "-1", "some"):
        wrong = command("verify", store, "--recompute", count, *words)
        assert wrong.code == 2
        assert "N must be a number of rows" in wrong.err
    assert command("copy", store, tmp_path / "t.zarr", "--split", "test").code == 0
    assert "9 recomputed rows" in command("verify", tmp_path / "t.zarr", "--recompute", "9", *words).err


def test_a_store_without_the_recipes_teachers_cannot_be_recomputed(logits, finished_run):
    bring(logits)
    words = run_words(finished_run.recipe, finished_run.out, 'teachers.0.name="else"', "students=[]")
    line = one_line(command("verify", logits / "s.zarr", "--recompute", "3", *words), 2)
    assert "has none of the recipe's teachers; it has big" in line


def test_imported_logits_of_unknown_origin_are_said_to_be_so(run_copy, tmp_path):
    store, words = run_copy.out / "store.zarr", run_words(run_copy.recipe, run_copy.out)
    command("export", store, tmp_path / "z.npy", "--teacher", "big", "--view", "0:3")
    command("import", tmp_path / "z.npy", tmp_path / "s.zarr", "--teacher", "big", "--encoding", "uniform")
    with warnings.catch_warnings():
        warnings.simplefilter("always", UnknownOriginWarning)
        answer = command("verify", tmp_path / "s.zarr", "--recompute", "20", *words)
    assert answer.code == 0
    assert "20 of 20 recomputed rows" in answer.out
    [line] = answer.err.strip().splitlines()
    assert line.startswith(f"warning: {tmp_path / 's.zarr'} was imported: of which samples and views")


def test_tracebacks_are_for_those_who_ask(tmp_path):
    with pytest.raises(logitcache.InputError, match="not a logit store"):
        command("--debug", "info", tmp_path)


@pytest.mark.parametrize("words", [[], ["run"], ["nonsense"], ["import", "a.npy", "b"], ["run", "x", "--no-such"]])
def test_wrong_usage_is_exit_code_2(words):
    answer = command(*words)
    assert answer.code == 2
    assert "Usage" in answer.err + answer.out


# what goes well


def test_import_and_export_back_are_within_half_a_step(logits):
    answer = bring(logits, "--labels", logits / "labels.npy")
    assert (answer.code, answer.err) == (0, "")
    assert "3 blocks written" in answer.out
    assert "all of it was there already" in bring(logits, "--labels", logits / "labels.npy").out
    assert command("export", logits / "s.zarr", logits / "back.npy", "--teacher", "big").code == 0
    step = json.loads(command("info", logits / "s.zarr", "--json").out)["splits"][0]["teachers"][0]["encoding"]["step"]
    error = np.abs(np.load(logits / "back.npy") - np.load(logits / "logits.npy")).max()
    assert 0 < error <= step / 2 * (1 + 1e-6)
    assert step <= np.sqrt(8e-3)


def test_info_verify_and_stats_of_a_run(run_copy):
    store = run_copy.out / "store.zarr"
    assert "split train: 120 samples" in command("info", store).out
    assert "11 blocks" in command("verify", store, "--decode").out
    answer = command("stats", store, "--out", run_copy.out / "mine")
    assert answer.code == 0
    assert str(run_copy.out / "mine/students.csv") in answer.out.split(), "students beside the store are found"


def test_recipes_are_listed_and_copied(tmp_path):
    listed = command("recipes")
    assert listed.code == 0
    assert "fashion_mnist" in listed.out
    copied = command("recipes", "copy", "fashion_mnist", tmp_path)
    assert copied.out.strip() == str(tmp_path / "fashion_mnist.toml")
    line = one_line(command("recipes", "copy", "fashion_mnist", tmp_path), 2)
    assert "exists already" in line
    assert "fashion_mnist" in one_line(command("recipes", "copy", "nothing", tmp_path), 2)


def test_a_dry_run_prints_the_plan_and_writes_nothing(finished_run, tmp_path):
    words = run_words(finished_run.recipe, tmp_path / "out")
    answer = command("run", *words, "--dry-run")
    assert answer.code == 0
    strip = [line.split("forward passes")[0] for line in answer.out.splitlines()]
    assert strip == [line.split("forward passes")[0] for line in command("plan", *words).out.splitlines()]
    assert "teach big" in answer.out
    assert list(tmp_path.iterdir()) == []
