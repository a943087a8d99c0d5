"""A plan at scale: what it says is reckoned from the recipe, and reckoning takes no longer for more rows."""

from __future__ import annotations

import re

import numpy as np
import pytest
from builders import Plan
from textbook import realistic
from tiny import Run, command

from logitcache.errors import InputError
from logitcache.pipeline.plan import make_plan, with_known_size
from logitcache.pipeline.plan_sample import load_sample
from logitcache.pipeline.scale_text import scale_lines
from logitcache.pipeline.scaling import make_scale
from logitcache.planning.options import BudgetOptions
from logitcache.planning.sizes import Size

RECIPE = """
data = {{ name = "image_folder", root = "{root}", expect = {{ train = 1000000, test = 50000, classes = 80 }} }}
views = {{ kind = "crop_flip", count = 9 }}
cache = {{ encoding = {{ kind = "uniform", max_kl = 0.01 }}, block = 10000 }}
teachers = [{{ name = "big", model = "cnn-4-8", checkpoint = "big.safetensors" }}]

[[students]]
name = "few"
model = "cnn-4-4"
seeds = [0, 1]
objectives = ["ce", {{ loss = "kl", tau = 4 }}]
training = {{ epochs = 30 }}

[budget]
teacher_rate = 1000
"""
ROWS = 10_000_000 + 50_000


@pytest.fixture
def planned(tmp_path) -> Run:
    """A recipe with a budget, whose data are not here."""
    recipe = tmp_path / "planned.toml"
    recipe.write_text(RECIPE.format(root=tmp_path / "absent"))
    return Run(recipe, tmp_path / "runs" / "out")


def scale_of(run, *overrides):
    context = with_known_size(run.context(*overrides))
    return make_scale(context, make_plan(context))


def lines_of(run, *overrides) -> list[str]:
    return list(scale_lines(scale_of(run, *overrides)))


def line_of(lines, start) -> str:
    [line] = [line for line in lines if line.strip().startswith(start)]
    return line


class TestReckoning:
    """What the figures are."""

    def test_rows_passes_and_hours_are_those_of_all_views_of_all_splits(self, planned):
        scale = scale_of(planned)
        assert scale.rows == ROWS
        assert scale.passes == {"big": ROWS}
        assert scale.hours == pytest.approx(ROWS / 1000 / 3600)
        assert scale.measured == ()

    def test_blocks_are_those_of_the_cache_step(self, planned):
        train, test = scale_of(planned).parts
        assert (train.samples, train.views, train.block_rows, train.blocks) == (10**6, 10, 10_000, 1000)
        assert (test.samples, test.views, test.blocks) == (50_000, 1, 5)

    def test_features_are_an_array_more_that_students_of_logits_do_not_read(self, planned):
        scale = scale_of(planned, "cache.features=true")
        assert {part.arrays for part in scale.parts} == {2}
        assert scale.longest.parts[0].arrays == 1
        assert scale.bytes > scale_of(planned).bytes
        assert scale.longest.bytes == scale_of(planned).longest.bytes

    def test_students_that_read_no_teacher_or_one_online_read_nothing(self, planned):
        assert len(scale_of(planned).lessons) == 2
        assert scale_of(planned, 'students.targets="online"').lessons == ()
        assert len(scale_of(planned, 'students.targets="online"').online) == 2
        assert scale_of(planned, 'students.objectives=["ce"]').lessons == ()

    def test_targets_of_the_clean_view_are_read_once(self, planned):
        lesson = scale_of(planned, 'students.targets="clean"').longest
        assert (lesson.views, lesson.loads) == (0, 1)

    def test_a_table_of_rates_is_by_teacher(self, planned):
        second = '{name = "small", model = "cnn-4", checkpoint = "small.safetensors"}'
        first = '{name = "big", model = "cnn-4-8", checkpoint = "big.safetensors"}'
        teachers = f"teachers=[{first}, {second}]"
        scale = scale_of(planned, teachers, "budget.teacher_rate={big = 1000, small = 4000}")
        assert scale.hours == pytest.approx(ROWS / 3600 * (1 / 1000 + 1 / 4000))
        assert [part.teacher for part in scale.longest.parts] == ["big", "small"]
        assert scale.longest.kept_bytes == 2 * scale_of(planned).longest.kept_bytes
        measured = scale_of(planned, teachers, "budget.teacher_rate={big = 1000}")
        assert measured.measured == ("small",)
        assert measured.rates["small"] > 0

    def test_online_hours_are_those_of_teachers_in_every_step(self, planned):
        assert scale_of(planned).online_hours == pytest.approx(10**6 * 30 / 1000 / 3600)

    def test_caching_pays_from_so_many_students_as_make_up_its_costs(self, planned):
        scale = scale_of(planned, "budget.gpu_hour=3", "budget.gb_month=0.02", "budget.gb_out=0.05")
        made, online = scale.caching.total, scale.online_hours * 3
        assert made == pytest.approx(3 * scale.hours + 0.02 * scale.bytes / 1e9)
        assert scale.pays_from == pytest.approx(made / (online - 0.05 * scale.longest.bytes / 1e9))

    def test_every_process_of_a_training_reads_and_pays_for_itself(self, planned):
        one, four = (
            scale_of(planned, "budget.gb_out=0.05", "budget.get_1000=0.01", f"budget.processes={count}").student
            for count in (1, 4)
        )
        assert (four.reading, four.requests) == (pytest.approx(4 * one.reading), pytest.approx(4 * one.requests))
        assert one.reading > 0 < one.requests

    def test_where_reading_costs_more_than_the_teacher_caching_never_pays(self, planned):
        assert scale_of(planned, "budget.gpu_hour=0.01", "budget.gb_out=100").pays_from is None

    @pytest.mark.parametrize("samples", [10**13, 10**14])
    def test_a_plan_makes_nothing_that_grows_with_the_rows(self, planned, samples):
        scale = scale_of(planned, f"data.expect.train={samples}", "students.samples=0.5")
        assert scale.rows == samples * 10 + 50_000
        assert scale.parts[0].blocks == samples // 1000
        assert len(list(scale_lines(scale))) > 10


class TestLines:
    """What people are told."""

    def test_encodings_stand_side_by_side_and_the_recipes_own_is_marked(self, planned):
        lines = lines_of(planned)
        assert lines[0] == f"encodings of {ROWS:,} rows (estimated; --sample measures):"
        assert line_of(lines, "lossless float16").endswith(" 160 bytes a row   1.61 GB")
        assert line_of(lines, "auto").split()[7:9] == ["at", "most"]
        assert [line for line in lines if line.endswith("the recipe's")] == [line_of(lines, "uniform")]

    def test_objects_are_counted(self, planned):
        assert line_of(
            lines_of(planned), "objects: 1,005 blocks of up to 10,000 rows: 1,005 shards of about "
        ).endswith("11 records of commits")

    def test_requests_are_by_kind_and_cost_what_was_given(self, planned):
        lines = lines_of(planned)
        assert len(line_of(lines, "an epoch").split()) == 7, "no price, no cost"
        assert line_of(lines, "cache, from nothing").split()[3] == f"{2 * 1005 + 11:,}"
        # 9 views stay in memory: each is read once, 100 blocks and the record of their commits
        assert line_of(lines, "a training of 30 epochs").split()[5:] == ["0", "909", "0", "9", "0"]
        priced = lines_of(planned, "budget.get_1000=0.01", 'budget.currency="EUR"')
        assert line_of(priced, "an epoch").endswith("EUR")

    def test_a_deadline_tells_workers(self, planned):
        assert "worker" not in "\n".join(lines_of(planned))
        assert "; 3 workers, one GPU each, for a deadline of 60 min" in line_of(
            lines_of(planned, "budget.deadline=1"), "teachers: "
        )
        assert "; 1 worker, " in line_of(lines_of(planned, "budget.deadline=3"), "teachers: ")

    def test_a_measured_rate_is_said_to_be_one(self, planned):
        assert "(big 1,000 rows/s)" in line_of(lines_of(planned), "teachers: ")
        text = planned.recipe.read_text()
        planned.recipe.write_text(text[: text.index("[budget]")])
        assert re.search(r"\(big [\d,]+ rows/s \(measured on this cpu\)\)", line_of(lines_of(planned), "teachers: "))

    def test_a_training_tells_what_it_reads(self, planned):
        assert "budget.student_rate tells bytes a second" in line_of(lines_of(planned), "a training: ")
        line = line_of(lines_of(planned, "budget.student_rate=5000", "budget.processes=4"), "a training: each process")
        rate = scale_of(planned).longest.byte_rate(5000)
        [one, together] = re.findall(r"([\d.]+) kB/s", line)
        assert float(one) == pytest.approx(rate / 1e3, rel=0.01)
        assert float(together) == pytest.approx(4 * rate / 1e3, rel=0.01)

    def test_a_training_tells_what_stays_in_memory(self, planned):
        def told(*overrides):
            return line_of(lines_of(planned, *overrides), "a training: ")

        assert "in 30 epochs (each view once, all that it walks fit in memory)" in told()
        assert "(26 decoded views fit in memory)" in told("views.count=40")
        assert "(one decoded view fits in memory)" in told("data.expect.train=20000000")
        assert "(in windows, a decoded view does not fit in memory)" in told("data.expect.train=30000000")

    @pytest.mark.parametrize("what", ["network", "disk"])
    def test_a_bandwidth_that_is_too_low_is_warned_of(self, planned, what):
        rate = ("budget.student_rate=100000", "views.count=40", "students.training.epochs=40")
        needed = scale_of(planned, *rate).longest.byte_rate(1e5) / 1e6
        low, high = (f"budget.{what}={needed * factor}" for factor in (0.5, 2))
        [warning] = [line for line in lines_of(planned, *rate, low) if line.startswith("warning: ")]
        assert f"training is {what}-bound" in warning
        assert "waits 50% of its time" in warning
        assert ("--stage" in warning) == (what == "network")
        assert not [line for line in lines_of(planned, *rate, high) if line.startswith("warning: ")]

    def test_a_stage_hides_a_slow_network_and_no_slow_disk(self, planned):
        large = ("data.expect.train=30000000", "budget.student_rate=100000")
        pace = scale_of(planned, *large).longest.byte_rate(1e5) / 1e6
        limits = [f"budget.{what}={pace * 1.2}" for what in ("network", "disk")]
        lines = lines_of(planned, *large, *limits)
        assert [line.split()[3] for line in lines if line.startswith("warning: ")] == ["network-bound", "disk-bound"]
        staged = lines_of(planned, *large, *limits, "sweep.stage=here")
        assert [line.split()[3] for line in staged if line.startswith("warning: ")] == ["disk-bound"]

    def test_single_rows_of_a_view_that_does_not_fit_are_warned_of(self, planned):
        large = "data.expect.train=100000000"
        assert not [line for line in lines_of(planned, large) if line.startswith("warning: ")]
        [warning] = [line for line in lines_of(planned, large, "students.samples=1000") if line.startswith("warning: ")]
        assert "a student sees 1,000 samples of a store whose views do not fit in memory" in warning

    def test_small_shards_are_warned_of_where_they_are_many(self, planned):
        [warning] = [line for line in lines_of(planned, "cache.block=64") if line.startswith("warning: shards of ")]
        assert "a larger cache.block makes fewer" in warning

    def test_more_blocks_than_a_store_holds_are_warned_of(self, planned):
        def warned(samples):
            lines = lines_of(planned, f"data.expect.train={samples}")
            return [line for line in lines if line.startswith("warning: ") and "a store holds" in line]

        assert warned(1_677_721 * 10_000) == []
        [warning] = warned(1_677_721 * 10_000 + 1)
        assert "16,777,220 blocks of big in train; a store holds 16,777,216" in warning

    def test_which_way_is_cheaper_depends_on_the_students(self, planned):
        priced = ("budget.gpu_hour=1", "students.training.epochs=4")  # 10 passes a sample, 4 epochs: 2.5 students
        assert line_of(lines_of(planned, *priced), "caching costs less from 2.5 students on; ").endswith(
            "the recipe has 2: online distillation costs less"
        )
        more = lines_of(planned, *priced, "students.seeds=[0, 1, 2]")
        assert line_of(more, "caching costs less").endswith("the recipe has 3: caching costs less")
        never = lines_of(planned, "budget.gpu_hour=0.01", "budget.gb_out=100")
        assert line_of(never, "online distillation costs less for any number of students")


class TestSample:
    """Logits that the user gives."""

    @pytest.fixture
    def logits(self, tmp_path):
        np.save(tmp_path / "logits.npy", realistic(600, 80))
        return tmp_path / "logits.npy"

    def test_sizes_are_measured_on_a_file(self, planned, logits):
        answer = command("plan", planned.recipe, "--out", planned.out, "--device", "cpu", "--sample", logits)
        assert (answer.code, answer.err) == (0, "")
        lines = answer.out.splitlines()
        assert f"encodings of {ROWS:,} rows (measured on 600 rows of {logits}):" in lines
        assert re.search(r"(uniform|spectral), step", line_of(lines, "auto, "))
        assert line_of(lines, "store: train/big/logits: ").endswith("(from the sample)")
        assert not planned.out.exists()

    def test_a_transform_takes_its_bytes_once_a_split(self, planned):
        weighed = Size("as asked", row_bytes=10, shared_bytes=1000, measured=True)
        arrays = make_plan(planned.context(), weighed).arrays
        assert [(array.bytes, array.sampled) for array in arrays] == [
            (10 * 10**7 + 1000, True),
            (10 * 50_000 + 1000, True),
        ]

    def test_sizes_are_measured_on_a_store(self, finished_run):
        sample = load_sample(finished_run.out / "store.zarr", 3, 1000, ["big"])
        assert tuple(sample.sample.logits.shape) == (120, 3)
        assert "uniform int16: what is finer comes out too small" in sample.said

    def test_features_and_the_last_layer_of_a_store_come_with_its_rows(self, tmp_path):
        plan = Plan(samples=20, features=5)
        plan.write(tmp_path / "store.zarr", leave_out=[(0, 1)])
        sample = load_sample(tmp_path / "store.zarr", plan.classes, 1000, ["other"]).sample
        rows = [*range(8), *range(16, 20)]  # the second of three blocks is not committed
        assert np.allclose(sample.logits, plan.logits[0, rows], atol=0.1)
        assert np.allclose(sample.features, plan.penultimate[0, rows], atol=0.01)
        assert tuple(sample.weight.shape) == (plan.classes, 5)

    def test_a_store_without_a_clean_view_is_no_sample(self, tmp_path):
        Plan().write(tmp_path / "store.zarr", leave_out=[(0, block) for block in range(3)])
        with pytest.raises(InputError, match="no block of the clean view of 'big' is committed"):
            load_sample(tmp_path / "store.zarr", 4, 1000, ["big"])

    def test_a_sample_alone_asks_for_the_scale(self, finished_run, tmp_path):
        fresh = Run(finished_run.recipe, tmp_path / "out")
        words = ("plan", fresh.recipe, "--out", fresh.out, "--device", "cpu")
        assert "encodings of" not in command(*words).out
        for more in (("--scale",), ("--sample", finished_run.out / "store.zarr")):
            assert "encodings of 420 rows" in command(*words, *more).out

    @pytest.mark.parametrize(
        ("made", "said"),
        [
            (np.zeros((20, 7), np.float32), "has rows of 7 logits, and the recipe's data set 80 classes"),
            (np.full((20, 80), np.nan, np.float32), "logits of 20 rows of the sample are not finite"),
            (np.zeros((20, 80), np.int64), "has type int64; expected floating-point logits"),
            (np.zeros((9, 80), np.float32), "a sample of 9 rows tells no sizes"),
        ],
    )
    def test_a_file_that_is_no_sample_is_refused(self, planned, tmp_path, made, said):
        path = tmp_path / "other.npy"
        np.save(path, made)
        answer = command("plan", planned.recipe, "--out", planned.out, "--sample", path)
        assert (answer.code, said in answer.err) == (2, True), answer.err

    def test_a_place_without_logits_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="is not there; give a file or folder of logits"):
            load_sample(tmp_path / "absent.npy", 3, 10, ["big"])

    def test_a_store_of_other_teachers_or_of_entries_is_refused(self, finished_run, tmp_path):
        store, encoding = tmp_path / "top.zarr", ("--encoding", "topk", "--entries", "2")
        np.save(tmp_path / "three.npy", realistic(40, 3))
        for name in ("top", "more"):
            answer = command("import", tmp_path / "three.npy", store, *encoding, "--teacher", name)
            assert answer.code == 0, answer.err
        with pytest.raises(InputError, match="none is the recipe's; give a store with one of them"):
            load_sample(store, 3, 10, ["big"])
        with pytest.raises(InputError, match="keeps only the largest entries of 'top'"):
            load_sample(store, 3, 10, ["top"])

    def test_what_is_stored_is_neither_estimated_nor_weighed(self, finished_run):
        scale = scale_of(finished_run)
        [own] = [each for each in scale.sizes if each.title == scale.own]
        assert (own.chosen, own.at_most) == ("as stored", False)
        assert own.total(scale.rows, 2) == pytest.approx(scale.bytes)
        assert {part.arrays for part in scale.parts} == {1}


class TestInputs:
    """Where they are given, and what is said of wrong ones."""

    def test_they_are_in_the_help(self):
        out = command("plan", "--help").out
        for name, field in BudgetOptions.model_fields.items():
            assert re.search(rf"^  {name} ", out, re.MULTILINE), name
            assert field.description.split()[0] in out

    def test_they_are_overridden_by_set(self, planned):
        assert scale_of(planned, "budget.teacher_rate=2000").rates == {"big": 2000}

    def test_a_rate_of_a_teacher_that_is_not_there_is_a_fault(self, planned):
        answer = planned("plan", "budget.teacher_rate={bog = 5}")
        assert answer.code == 2
        assert "budget.teacher_rate.bog = 5" in answer.err
        assert "must be of a teacher of the recipe: big" in answer.err

    def test_a_store_that_variants_share_is_told_once(self, planned):
        text = planned.recipe.read_text()
        variants = "\n[variants.one]\nstudents.seeds = [0]\n[variants.two]\nstudents.seeds = [1]\n"
        planned.recipe.write_text(text + variants)
        assert planned("plan").out.count("encodings of") == 2
        planned.recipe.write_text('share = { store = "planned" }\n' + text + variants)
        assert planned("plan").out.count("encodings of") == 1

    def test_a_recipe_without_a_budget_is_planned_as_before(self, finished_run, tmp_path):
        out = Run(finished_run.recipe, tmp_path / "out")("plan").out
        assert "requests" not in out
        assert "encodings" not in out


@pytest.mark.parametrize(
    ("name", "rows", "classes"),
    [
        ("imagenet1k_300", 1_281_167 * 301 + 50_000, 1000),
        ("imagenet21k_90", 14_197_122 * 91, 21_841),
        ("ten_billion", 10**10, 1000),
    ],
)
def test_the_recipes_of_scale_are_planned_in_a_moment(repository, tmp_path, name, rows, classes):
    path = repository / "pipelines" / "scale" / f"{name}.toml"
    lines = command("plan", path, "--out", tmp_path, "--set", f"data.root={tmp_path}").out.splitlines()
    assert f"encodings of {rows:,} rows (estimated; --sample measures):" in lines
    assert f" {2 * classes:,} bytes a row " in line_of(lines, "lossless float16")
    for start in (
        "objects: ",
        "cache, from nothing",
        "resume",
        "verify --decode",
        "an epoch",
        "teachers: ",
        "a training: ",
        "cost: the cache",
    ):
        assert line_of([line for line in lines if "to do" not in line], start)
