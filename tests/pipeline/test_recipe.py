"""A recipe is read into a frozen record, or refused with every fault in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from logitcache.errors import InputError, RecipeError
from logitcache.pipeline import crosschecks, shipped
from logitcache.pipeline.recipe import copy_recipe, read_recipe, read_recipes, shipped_recipes

GOOD = """
[data]
name = "fashion_mnist"
samples = 0.03

[views]
kind = "crop_flip"
count = 8

[[teachers]]
name = "big"
model = "wrn-16-2"
teach = { epochs = 5, learning_rate = 0.1 }

[[teachers]]
name = "other"
model = "cnn-16-32-32"
checkpoint = "other.safetensors"

[cache.encoding]
kind = "uniform"
max_kl = 1e-3

[[students]]
name = "few"
model = "cnn-16-32-32"
objectives = ["ce", { loss = "kl", tau = [1, 4] }]
seeds = [0, 1]
training = { epochs = 2 }

[[students]]
name = "all"
model = "cnn-16-32-32"
objectives = ["mse"]
teachers = ["big"]
training = { epochs = 1, batch = 128 }
"""


@pytest.fixture
def write(tmp_path):
    """Writes a recipe's text to a file."""

    def write(text: str, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults_of(path, overrides=()) -> list[str]:
    """The faults of a recipe, as lines."""
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, overrides)
    assert str(path) in str(caught.value)
    return [str(fault) for fault in caught.value.faults]


# what is right


def test_a_recipe_becomes_a_frozen_record_named_after_its_file(write):
    recipe = read_recipe(write(GOOD))
    assert recipe.name == "mine"
    assert recipe.data.samples == 0.03
    assert recipe.views.count == 8
    assert [teacher.name for teacher in recipe.teachers] == ["big", "other"]
    assert recipe.teachers[0].teach.epochs == 5
    assert recipe.teachers[1].checkpoint == Path("other.safetensors")
    assert recipe.cache.encoding.max_kl == 1e-3
    assert [group.name for group in recipe.students] == ["few", "all"]
    assert recipe.students[1].training.batch == 128
    assert recipe.timing is None
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "other"


def test_a_recipe_without_teachers_may_train_on_labels(write):
    recipe = read_recipe(write('[[students]]\nmodel = "cnn-16-32-32"\nobjectives = "ce"\ntraining = { epochs = 1 }\n'))
    assert recipe.teachers == ()


# what is wrong: text to replace, its replacement, the one fault
ONE_FAULT = [
    ('name = "fashion_mnist"', 'nmae = "mnist"', "data.nmae = \"mnist\": unknown key; did you mean 'name'?"),
    ("samples = 0.03", "samples = 0", "data.samples = 0: must be a count from 1, a fraction in (0, 1], or a .npy or"),
    ("samples = 0.03", "download = 1", "data.download = 1: must be true or false"),
    ("samples = 0.03", "mean = [0.5]", 'data = {name = "fashion_mnist", mean = [0.5]}: mean and std go together'),
    ("[data]", "[dta]", "dta = {name = \"fashion_mnist\", samples = 0.03}: unknown key; did you mean 'data'?"),
    (
        "[data]",
        "zebra = 1\n[data]",
        "zebra = 1: unknown key; known here: name, profile, variant, share, data, views",
    ),
    ("[data]", 'name = "a b"\n[data]', "name = \"a b\": must be letters, digits, '-', '_' and '.'"),
    ("count = 8", "count = true", "views.count = true: must be a whole number"),
    ("count = 8", "count = 8.5", "views.count = 8.5: must be a whole number"),
    ("count = 8", 'count = "8"', 'views.count = "8": must be a whole number'),
    ('name = "other"\n', "", "teachers.1.name = (missing): must be given"),
    ('"wrn-16-2"', '"wrm-16-2"', "teachers.0.model = \"wrm-16-2\": unknown model 'wrm-16-2'; did you mean 'wrn-16-2'?"),
    ("epochs = 5", "epochs = 0", "teachers.0.teach.epochs = 0: must be greater than 0"),
    (
        "learning_rate",
        "learning_rat",
        "teachers.0.teach.learning_rat = 0.1: unknown key; did you mean 'learning_rate'?",
    ),
    ("learning_rate = 0.1", "momentum = 1", "teachers.0.teach.momentum = 1: must be less than 1"),
    ('checkpoint = "other.safetensors"\n', "", "teachers.1.checkpoint = (none): give one of checkpoint, weights and"),
    ('checkpoint = "o', 'teach.epochs = 1\ncheckpoint = "o', "teachers.1.checkpoint = checkpoint and teach: give one"),
    (
        'checkpoint = "o',
        'weights = "D"\ncheckpoint = "o',
        'teachers.1.weights = "D": give either checkpoint or weights',
    ),
    ('name = "other"', 'name = "big"', 'teachers.1.name = "big": must differ from the names before it'),
    ("max_kl = 1e-3", "max_kl = 0", "cache.encoding.max_kl = 0: must be greater than 0"),
    ("max_kl = 1e-3", "max_kl = inf", "cache.encoding.max_kl = inf: must be a finite number"),
    ("max_kl = 1e-3", "tau_min = nan", "cache.encoding.tau_min = nan: must be a finite number"),
    (
        'kind = "uniform"',
        'kind = "unifrom"',
        "must be one of 'auto', 'uniform', 'spectral', 'lossless', 'topk'; did you mean 'uniform'?",
    ),
    ('kind = "uniform"', "head = 4", "head is for spectral; auto has none"),
    ('kind = "uniform"', "step = 1\nbytes_per_row = 9", "step is for uniform and spectral; auto has none"),
    (
        'kind = "uniform"',
        'kind = "topk"',
        "students.1.objectives.0.loss = \"mse\": needs every logit, and cache.encoding.kind = 'topk' keeps the largest",
    ),
    ('"ce", ', '"cee", ', "students.0.objectives.0 = \"cee\": must be one of 'ce', 'kl', 'kl_inf', 'kl_zero', "),
    ('"ce", ', '"dkt", ', "'pkt', 'aekd'; did you mean 'pkt'?"),
    (
        "tau = [1, 4]",
        "beta = 2",
        'students.0.objectives.1 = {loss = "kl", beta = 2}: beta is for smooth_l1, dkd, dist, rkd',
    ),
    ("tau = [1, 4]", 'also = ["ce"]', "ce is no further loss: give the cross-entropy its factor by hard"),
    ("tau = [1, 4]", 'also = ["rdk"]', "students.0.objectives.1.also.0 = \"rdk\": must be one of 'ce', 'kl', "),
    ("tau = [1, 4]", "until = [1, 2.5]", "students.0.objectives.1.until.1 = 2.5: must be a whole number"),
    ("tau = [1, 4]", "tau = [1, -4]", "students.0.objectives.1.tau.1 = -4: must be greater than 0"),
    ("tau = [1, 4]", "tau = 0", "students.0.objectives.1.tau = 0: must be greater than 0"),
    ("tau = [1, 4]", "alpha = 1.5", "students.0.objectives.1.alpha = 1.5: must be at most 1"),
    ("tau = [1, 4]", "alpha = -0.5", "students.0.objectives.1.alpha = -0.5: must be at least 0"),
    ("tau = [1, 4]", "taus = 1", "students.0.objectives.1.taus = 1: unknown key; did you mean 'tau'?"),
    ("tau = [1, 4]", "views = 9", "students.0.objectives.1.views = 9: must be at most views.count = 8"),
    ("seeds = [0, 1]", "views = [0, 9]", "students.0.views = 9: must be at most views.count = 8"),
    ("seeds = [0, 1]", "seeds = []", "students.0.seeds = []: must have at least 1 entry"),
    ("seeds = [0, 1]", 'model_ = "x"', "students.0.model_ = \"x\": unknown key; did you mean 'model'?"),
    (
        '["big"]',
        '["bog"]',
        'students.1.teachers = "bog": must be among the recipe\'s teachers: big, other; did you mean',
    ),
    ('name = "all"', 'name = "few"', 'students.1.name = "few": must differ from the names before it'),
    ("epochs = 1,", "", "students.1.training.epochs = (missing): must be given"),
    ("training = { epochs = 2 }", "training = 2", "students.0.training = 2: must be a table"),
    (
        "seeds = [0, 1]",
        "combine = { weights = [1, 2, 3] }",
        "students.0.combine.weights = [1.0, 2.0, 3.0]: must have one weight for each of the 2 teachers",
    ),
    (
        'teachers = ["big"]',
        'combine = { combine = "mean_probs", tau = 2 }',
        'students.1.objectives.0.loss = "mse": a mean of probabilities has no logits to match',
    ),
    (
        "[cache.encoding]",
        '[cache]\nsplits = ["test"]\n[cache.encoding]',
        "cache.splits = [\"test\"]: must have 'train': students.0.objectives.1 reads its soft targets",
    ),
]


@pytest.mark.parametrize(("old", "new", "fault"), ONE_FAULT, ids=lambda value: str(value)[:40])
def test_a_fault_is_named_with_its_key_its_value_and_what_is_allowed(write, old, new, fault):
    assert old in GOOD
    faults = faults_of(write(GOOD.replace(old, new, 1)))
    assert fault in faults[0]
    # the last one touches two groups of students
    assert len(faults) == (2 if "cache.splits" in fault else 1)


def test_all_faults_are_reported_together_also_those_between_the_parts(write):
    text = GOOD
    for old, new in [
        ("samples = 0.03", "sample = 0.03"),
        ("count = 8", "count = -1"),
        ('"wrn-16-2"', '"wrm-16-2"'),
        ("max_kl = 1e-3", "max_kl = 0"),
        ("tau = [1, 4]", "tau = 0"),
        ('["big"]', '["bog"]'),
    ]:
        text = text.replace(old, new, 1)
    keys = [line.partition(" = ")[0] for line in faults_of(write(text), ["dat.x=1", "nonsense"])]
    assert sorted(keys) == [
        "--set",
        "cache.encoding.max_kl",
        "dat",
        "data.sample",
        "students.0.objectives.1.tau",
        "students.1.teachers",
        "teachers.0.model",
        "views.count",
    ]


def test_a_mean_of_probabilities_serves_one_tau_only(write):
    text = GOOD.replace("seeds = [0, 1]", 'combine = { combine = "mean_probs", tau = 4 }')
    assert faults_of(write(text)) == [
        "students.0.objectives.1.tau = 1: must be 4, the tau at which probabilities are averaged (combine.tau)"
    ]


def test_a_kl_needs_a_teacher_in_the_recipe(write):
    text = '[[students]]\nmodel = "cnn-16-32-32"\nobjectives = ["ce", "kl"]\ntraining = { epochs = 1 }\n'
    assert faults_of(write(text)) == [
        'students.0.objectives.1.loss = "kl": needs a teacher; the recipe has none, give it a [[teachers]]'
    ]


@pytest.mark.parametrize(
    ("encoding", "faulty"),
    [
        ('kind = "uniform"', False),
        ('kind = "lossless"', False),
        ('kind = "auto"', True),
        ('kind = "spectral"', True),
        ("bytes_per_row = 40", True),
        ('kind = "spectral"\nstep = 2', False),  # nothing is promised at any tau
    ],
)
def test_a_tau_below_tau_min_is_a_fault_where_nothing_is_proved_there(write, encoding, faulty):
    path = write(GOOD.replace('kind = "uniform"\nmax_kl = 1e-3', f"{encoding}\ntau_min = 2"))
    kind = "spectral" if "spectral" in encoding else "auto"
    said = (
        f"students.0.objectives.1.tau = 1: must be at least cache.encoding.tau_min = 2: {kind} proves no bound below; "
        "lower tau_min, or set kind = 'uniform'"
    )
    if faulty:
        assert faults_of(path) == [said]
    else:
        read_recipe(path)


@pytest.mark.parametrize("encoding", ['kind = "auto"', 'kind = "spectral"', 'kind = "uniform"'])
def test_losses_of_whole_logits_are_served_by_all_but_topk(write, encoding):
    read_recipe(write(GOOD.replace('kind = "uniform"', encoding)))


def test_the_same_fault_of_two_objectives_is_told_once(write):
    text = GOOD.replace(
        "tau = [1, 4] }]", 'tau = 1, alpha = [0.5, 1] }]\ncombine = { combine = "mean_probs", tau = 4 }'
    )
    assert len(faults_of(write(text))) == 1


def test_no_message_of_pydantics_own_shows_through(write):
    text = 'data = 3\nteachers = 4\nviews = [1]\ncache = "x"\nstudents = [1, {}]\ntiming = false\nname = []\n'
    for line in faults_of(write(text)):
        assert "nput should" not in line
        assert "alue error" not in line


# files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[data\n", "is not valid TOML: Expected ']'"),
        (b"a = 1\na = 2\n", "is not valid TOML: Cannot overwrite a value"),
        (b"name = '\xff'\n", "is not UTF-8 text: invalid start byte at byte 8"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_the_place(tmp_path, content, message):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.fixture
def two_shipped(tmp_path, monkeypatch):
    """A package with two recipes of its own."""
    folder = tmp_path / "package" / "_pipelines"
    folder.mkdir(parents=True)
    for name in ("fashion_mnist", "imagenet"):
        (folder / f"{name}.toml").write_text("# a comment\n" + GOOD, encoding="utf-8")
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "package")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("two_shipped")
class TestShipped:
    def test_a_name_finds_a_shipped_recipe(self):
        assert list(shipped_recipes()) == ["fashion_mnist", "imagenet"]
        assert read_recipe("fashion_mnist").name == "fashion_mnist"

    def test_a_file_goes_before_a_shipped_name(self, tmp_path):
        (tmp_path / "imagenet").write_text('name = "own"\n')
        assert read_recipe("imagenet").name == "own"

    @pytest.mark.parametrize("given", ["fashon_mnist", "pipelines/fashion-mnist.toml"])
    def test_a_missing_recipe_is_answered_with_near_ones(self, given):
        with pytest.raises(InputError) as caught:
            read_recipe(given)
        assert str(caught.value) == (
            f"recipe {given!r} does not exist; shipped recipes with a name like it: fashion_mnist"
        )

    def test_a_missing_recipe_like_none_is_answered_with_all(self):
        with pytest.raises(InputError, match="comes with logitcache: fashion_mnist, imagenet"):
            read_recipe("xyz")

    def test_a_folder_is_no_recipe(self, tmp_path):
        with pytest.raises(InputError, match="is a folder, not a recipe"):
            read_recipe(tmp_path)

    def test_a_copy_is_the_same_bytes_in_a_file_or_a_folder(self, tmp_path):
        (tmp_path / "folder").mkdir()
        for dest, target in [("a.toml", "a.toml"), ("folder", "folder/imagenet.toml")]:
            assert copy_recipe("imagenet", Path(dest)) == (Path(target),)
            assert (tmp_path / target).read_bytes() == shipped_recipes()["imagenet"].read_bytes()

    def test_a_copy_never_overwrites(self, tmp_path):
        (tmp_path / "a.toml").write_text("mine")
        with pytest.raises(InputError, match=r"a\.toml exists already and is left as it is"):
            copy_recipe("imagenet", Path("a.toml"))
        assert (tmp_path / "a.toml").read_text() == "mine"

    def test_one_in_a_folder_bears_the_folders_name(self, tmp_path):
        self.ship(tmp_path)
        assert list(shipped_recipes()) == ["fashion_mnist", "imagenet", "study/grid", "study/setting"]
        assert read_recipe("study/grid").name == "grid"

    @pytest.mark.parametrize("given", ["study/grd", "grid", "pipelines/study/grid.toml", "stdy/grid"])
    def test_a_name_near_one_in_a_folder_is_answered_with_it(self, tmp_path, given):
        self.ship(tmp_path)
        with pytest.raises(InputError, match="shipped recipes with a name like it: study/grid"):
            read_recipe(given)

    def test_a_copy_brings_what_it_extends(self, tmp_path):
        source = self.ship(tmp_path)
        (tmp_path / "folder").mkdir()
        assert copy_recipe("study/grid", Path("folder/own.toml")) == (
            Path("folder/own.toml"),
            Path("folder/setting.toml"),
        )
        assert (tmp_path / "folder/setting.toml").read_bytes() == (source / "setting.toml").read_bytes()
        assert read_recipe("folder/own.toml").views.count == 3
        assert copy_recipe("study/grid", Path("folder")) == (Path("folder/grid.toml"),), "its base is there already"
        assert copy_recipe("study/setting", Path()) == (Path("setting.toml"),)

    @pytest.mark.parametrize(
        ("there", "dest"), [("setting.toml", "own.toml"), ("own.toml", "own.toml"), ("", "setting.toml")]
    )
    def test_a_copy_that_would_overwrite_one_of_its_files_writes_none(self, tmp_path, there, dest):
        self.ship(tmp_path)
        (tmp_path / "folder").mkdir()
        if there:
            (tmp_path / "folder" / there).write_text("mine")
        with pytest.raises(InputError, match=r"\.toml exists already and is left as it is"):
            copy_recipe("study/grid", Path("folder") / dest)
        assert [path.read_text() for path in (tmp_path / "folder").iterdir()] == ["mine"] * bool(there)

    @staticmethod
    def ship(folder: Path) -> Path:
        """Ship a recipe in a folder, and another one that extends it."""
        source = folder / "package/_pipelines/study"
        source.mkdir()
        (source / "setting.toml").write_text("# a comment\n" + GOOD)
        (source / "grid.toml").write_text('# a comment\nextends = "setting.toml"\n[views]\ncount = 3\n')
        return source

    def test_a_copy_of_nothing_or_into_nowhere_is_refused(self):
        with pytest.raises(InputError, match="no shipped recipe is called 'x'; there are: fashion_mnist, imagenet"):
            copy_recipe("x", Path("a.toml"))
        with pytest.raises(InputError, match="cannot be written: No such file or directory"):
            copy_recipe("imagenet", Path("nowhere/a.toml"))


def test_the_checkouts_recipes_are_those_of_pipelines_and_all_are_right(repository):
    recipes = shipped_recipes()
    assert set(recipes.values()) == set((repository / "pipelines").rglob("*.toml"))
    assert "fashion_mnist" in recipes
    for name, path in recipes.items():
        assert {recipe.name for recipe in read_recipes(path)} == {name.replace("/", "-")}
        assert path.read_text(encoding="utf-8").startswith("#"), "a recipe opens with the command that runs it"


# overrides, in a whole recipe; tests/pipeline/test_overrides.py has the details


def test_overrides_are_checked_like_the_file(write):
    path = write(GOOD)
    recipe = read_recipe(path, ["data.samples=600", "students.seeds=[7]", "students.0.training.epochs=9", "name=short"])
    assert recipe.data.samples == 600
    assert [group.seeds for group in recipe.students] == [(7,), (7,)]
    assert [group.training.epochs for group in recipe.students] == [9, 1]
    assert recipe.name == "short"
    assert faults_of(path, ["students.epocs=3", "data.samples=true"]) == [
        "data.samples = true: must be a count from 1, a fraction in (0, 1], or a .npy or .txt file of indices",
        "students.0.epocs = 3: unknown key; known here: " + ", ".join(type(recipe.students[0]).model_fields),
        "students.1.epocs = 3: unknown key; known here: " + ", ".join(type(recipe.students[0]).model_fields),
    ]


def test_a_section_that_the_file_lacks_can_be_set(write):
    recipe = read_recipe(write(GOOD), ["timing.model=cnn-16-32-32", "timing.training={epochs = 1}", "cache.block=512"])
    assert recipe.timing.model == "cnn-16-32-32"
    assert recipe.cache.block == 512


def test_timing_is_checked_with_the_rest(write):
    overrides = ["timing.model=cnm-16", "timing.training.epochs=1"]
    assert faults_of(write(GOOD), overrides)[0].startswith("timing.model = \"cnm-16\": unknown model 'cnm-16'")


def test_parts_that_are_wrong_themselves_are_left_out_of_the_checks_between_parts():
    assert crosschecks.cross_faults({"views": 3, "cache": [], "timing": "x", "teachers": 1, "students": {"a": 1}}) == []
