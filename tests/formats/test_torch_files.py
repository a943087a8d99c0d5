"""Files of torch.save are read sample by sample, FKD's too, and what is more than plain tensors is refused."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch

from logitcache.errors import InputError
from logitcache.formats import SourceOptions, open_source

LOGITS = torch.randn(11, 3, 5, generator=torch.Generator().manual_seed(0))


def load(path, **options):
    return open_source(path, SourceOptions(**options))


def fkd(labels, crops=2, half=False):
    """A file's content as FKD's generator leaves it: NumPy arrays in a list."""
    kind = np.float16 if half else np.float32
    return [np.zeros((crops, 4), kind), np.zeros(crops, bool), labels]


def softmax(logits, tau=1.0):
    return torch.softmax(logits.double() / tau, -1).float().numpy()


def sparse_labels(logits, k):
    """FKD's marginal smoothing: (crops, 2, k), classes and their probabilities."""
    probs, classes = torch.softmax(logits, -1).topk(k, dim=-1)
    return torch.stack([classes.float(), probs], dim=1).numpy()


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"logits": t, "epoch": 3}, lambda t: t.half()])
def test_a_file_a_sample_holds_its_views(tmp_path, views, wrap):
    for number in range(11):
        tensor = LOGITS[number, 0] if views == 1 else LOGITS[number]
        torch.save(wrap(tensor.clone()), tmp_path / f"{number}.pt")
    source = load(tmp_path)
    assert (source.format, source.views, source.samples, source.classes) == ("torch", views, 11, 5)
    assert source.rows_first
    for view in range(views):
        assert source.read(view, range(2, 11)) == pytest.approx(LOGITS[2:, view].numpy(), abs=2e-3)


def test_folders_and_names_give_the_order(tmp_path):
    for name, number in (("b/1.tar", 2), ("a-b/0.tar", 1), ("a/9.tar", 0)):
        (tmp_path / name).parent.mkdir()
        torch.save(LOGITS[number, 0].clone(), tmp_path / name)
    assert (load(tmp_path).read(0, range(3)) == LOGITS[:3, 0].numpy()).all()


@pytest.mark.parametrize("half", [False, True])
def test_fkds_sparse_labels_are_read_with_their_tail(tmp_path, half):
    for number in range(4):
        labels = sparse_labels(LOGITS[number], 2)
        torch.save(fkd(labels.astype(np.float16) if half else labels, 3, half), tmp_path / f"n{number}.tar")
    source = load(tmp_path, classes=5)
    assert (source.views, source.samples, source.classes, source.sparse) == (3, 4, 5, 2)
    exact = torch.log_softmax(LOGITS, -1)
    for view in range(3):
        rows = source.read(view, range(4))
        best, classes = exact[:4, view].topk(2)
        assert (rows.classes == classes.numpy()).all()
        assert rows.log_probs == pytest.approx(best.numpy(), abs=2e-3)
        assert np.exp(rows.tail) == pytest.approx(1 - best.exp().sum(1).numpy(), abs=1e-3)


def test_a_pair_of_classes_and_probabilities_and_one_class_are_fkds_too(tmp_path):
    probs, classes = torch.softmax(LOGITS[0], -1).topk(2)
    (tmp_path / "pair").mkdir()
    torch.save(fkd((probs, classes)), tmp_path / "pair" / "a.pt")
    torch.save(fkd((classes, probs)), tmp_path / "pair" / "b.pt")
    rows = load(tmp_path / "pair", classes=5).read(1, range(2))
    assert rows.classes.tolist() == [classes[1].tolist()] * 2
    (tmp_path / "one").mkdir()
    torch.save(fkd(sparse_labels(LOGITS[0], 1)[:, :, 0]), tmp_path / "one" / "a.pt")
    assert load(tmp_path / "one", classes=5).read(2, range(1)).classes.tolist() == [[int(LOGITS[0, 2].argmax())]]


def test_whole_probabilities_at_tau_are_logits_up_to_a_constant(tmp_path):
    for number in range(3):
        torch.save(fkd(softmax(LOGITS[number], 4.0)), tmp_path / f"{number}.tar")
    source = load(tmp_path, tau=4.0)
    found = torch.from_numpy(source.read(1, range(3)))
    assert source.sparse == 0
    assert torch.allclose(torch.log_softmax(found, -1), torch.log_softmax(LOGITS[:3, 1], -1), atol=1e-5)


def test_sparse_labels_at_another_temperature_are_refused(tmp_path):
    torch.save(fkd(sparse_labels(LOGITS[0], 2)), tmp_path / "a.tar")
    with pytest.raises(InputError, match=r"keeps 2 classes at tau 4.0; what they are at 1 is unknown"):
        load(tmp_path, classes=5, tau=4.0)


def test_the_number_of_classes_of_sparse_labels_must_be_given(tmp_path):
    torch.save(fkd(sparse_labels(LOGITS[0], 2)), tmp_path / "a.tar")
    with pytest.raises(InputError, match="FKD's sparse format does not say how many classes"):
        load(tmp_path)
    with pytest.raises(InputError, match=r"a.tar, view \d has class \d; allowed are 0\.\.1"):
        [load(tmp_path, classes=2).read(view, range(1)) for view in range(3)]


def test_class_numbers_that_float16_rounds_are_refused(tmp_path):
    torch.save(fkd(sparse_labels(LOGITS[0], 2).astype(np.float16)), tmp_path / "a.tar")
    with pytest.raises(InputError, match="class numbers in float16, which is exact up to 2048"):
        load(tmp_path, classes=21_841)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(3), r"soft labels of shape \(3,\)"),
        (np.arange(6).reshape(3, 2) / 7, "class numbers that are not whole"),
        (np.zeros((3, 3, 2), np.float32), r"soft labels of shape \(3, 3, 2\)"),
        (None, "holds a NoneType"),
    ],
)
def test_other_labels_are_refused(tmp_path, labels, message):
    torch.save(fkd(labels), tmp_path / "a.tar")
    with pytest.raises(InputError, match=message):
        load(tmp_path, classes=5)


def test_samples_of_another_shape_or_kind_are_named(tmp_path):
    torch.save(LOGITS[0].clone(), tmp_path / "a.pt")
    torch.save(LOGITS[0, :2].clone(), tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b.pt has 2 views of 5 logits, but .*a.pt has 3 views of 5 logits"):
        load(tmp_path).read(0, range(2))
    torch.save(fkd(sparse_labels(LOGITS[0], 5)), tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b.pt has 3 views of 5 entries, but .* 3 views of 5 logits"):
        load(tmp_path, classes=5).read(0, range(2))
    torch.save(fkd(softmax(LOGITS[0])), tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b.pt has 3 views of 5 probabilities, but .* 3 views of 5 logits"):
        load(tmp_path).read(0, range(2))


def test_a_sample_with_two_files_is_refused(tmp_path):
    torch.save(LOGITS[0].clone(), tmp_path / "a.pt")
    torch.save(LOGITS[0].clone(), tmp_path / "a.pth")
    with pytest.raises(InputError, match="differ in their endings only"):
        load(tmp_path)


def test_plain_logits_have_no_tau_and_no_other_number_of_classes(tmp_path):
    torch.save(LOGITS[0].clone(), tmp_path / "a.pt")
    with pytest.raises(InputError, match="holds logits; tau is for stored probabilities"):
        load(tmp_path, tau=2)
    with pytest.raises(InputError, match="has 5 classes, given was classes = 6"):
        load(tmp_path, classes=6)


class Evil:
    """Runs something when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content", [Evil(), [np.zeros(2), np.zeros(2), np.array([Evil()], object)], {"logits": Evil()}]
)
def test_nothing_in_a_file_is_run(tmp_path, content, capsys):
    torch.save(content, tmp_path / "a.pt")
    for path in (tmp_path, tmp_path / "a.pt"):
        with pytest.raises(InputError, match=r"a.pt is no file of plain tensors"):
            load(path)
    assert "executed" not in capsys.readouterr().out


class Huge:
    """Asks for an array of a tebibyte when it is unpickled."""

    def __reduce__(self):
        return np.ndarray, ((2**40,),)


def test_an_array_that_claims_a_huge_size_allocates_nothing(tmp_path):
    torch.save([0, 0, Huge()], tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"soft labels|no file of plain"):
        load(tmp_path, classes=5)


def test_a_tensor_that_claims_more_than_its_file_has_is_refused(tmp_path):
    torch.save(torch.zeros(1).expand(10**9, 1000), tmp_path / "a.pt")
    for path in (tmp_path, tmp_path / "a.pt"):
        with pytest.raises(InputError, match=r"claims a tensor of shape \(1000000000, 1000\), more than the file has"):
            load(path)


@pytest.mark.parametrize("alone", [False, True])
def test_a_flipped_bit_of_a_logit_is_found(tmp_path, alone):
    path = tmp_path / "a.pt"
    torch.save(LOGITS[0].clone(), path)
    data = bytearray(path.read_bytes())
    data[data.index(LOGITS[0].numpy().tobytes()) + 9] ^= 16
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a.pt is damaged: the checksum of .*data/0 differs"):
        load(path if alone else tmp_path)


def test_packed_archives_and_old_files_are_refused(tmp_path):
    made = io.BytesIO()
    torch.save(LOGITS, made)
    with zipfile.ZipFile(made) as plain, zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(InputError, match="packed archive"):
        load(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match=r"not a whole file of torch.save since version 1.6"):
        load(tmp_path / "b.pt")


@pytest.mark.parametrize("content", [3, "text", [LOGITS], torch.ones(2, 3, dtype=torch.long), {"a": 1, "b": 2}])
def test_what_holds_no_logits_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    for path in (tmp_path, tmp_path / "a.pt"):
        with pytest.raises(InputError, match=r"a.pt"):
            load(path)
