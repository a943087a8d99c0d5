import pickle

import pytest
import safetensors.torch
import torch

from logitcache.errors import InputError
from logitcache.models import build_model
from logitcache.models.weights import (
    load_checkpoint,
    read_checkpoint,
    read_checkpoint_metadata,
    save_checkpoint,
    weight_fingerprint,
)

SHAPE = (1, 8, 8)


def small(seed=0, name="cnn-4-8"):
    torch.manual_seed(seed)
    return build_model(name, 5, SHAPE)


def test_fingerprints_ignore_memory_format_and_order():
    state = small().state_dict()
    moved = {key: state[key] for key in reversed(state)}
    moved["body.3.weight"] = moved["body.3.weight"].contiguous(memory_format=torch.channels_last)
    assert moved["body.3.weight"].stride() != state["body.3.weight"].stride()
    assert weight_fingerprint(moved) == weight_fingerprint(state)
    assert len(weight_fingerprint(state)) == 16


@pytest.mark.parametrize("change", ["value", "name", "shape", "type"])
def test_fingerprints_see_every_change(change):
    state = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    before = weight_fingerprint(state)
    if change == "value":
        state["a"][1, 2] = 1e-30
    elif change == "name":
        state["c"] = state.pop("b")
    elif change == "shape":
        state["a"] = state["a"].view(3, 2)
    else:
        state["a"] = state["a"].view(torch.int32)
    assert weight_fingerprint(state) != before


def test_a_checkpoint_comes_back_with_its_metadata(tmp_path):
    path = tmp_path / "deep" / "teacher.safetensors"
    save_checkpoint(path, small().to(memory_format=torch.channels_last), "cnn-4-8", {"test_accuracy": "91.5"})
    network = small(seed=1)
    assert load_checkpoint(path, network, "cnn-4-8") == {"model": "cnn-4-8", "test_accuracy": "91.5"}
    assert read_checkpoint_metadata(path)["model"] == "cnn-4-8"
    assert weight_fingerprint(network.state_dict()) == weight_fingerprint(small().state_dict())
    assert [file.name for file in path.parent.iterdir()] == ["teacher.safetensors"]


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_files_are_read_plain_and_wrapped(tmp_path, wrap, prefix):
    path = tmp_path / "net.pth"
    torch.save(wrap({prefix + key: value for key, value in small().state_dict().items()}), path)
    network = small(seed=1)
    load_checkpoint(path, network, "cnn-4-8")
    assert weight_fingerprint(network.state_dict()) == weight_fingerprint(small().state_dict())


def test_a_checkpoint_of_another_architecture_names_file_model_and_keys(tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, small(name="cnn-4-6"), "cnn-4-6", {})
    network = small()
    before = weight_fingerprint(network.state_dict())
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, network, "cnn-4-8")
    message = str(caught.value)
    assert f"{path} (it was written for cnn-4-6) does not fit model cnn-4-8" in message
    assert "body.3.weight has shape (6, 4, 3, 3), needed is (8, 4, 3, 3)" in message
    assert "and 3 more" in message
    assert weight_fingerprint(network.state_dict()) == before


def test_missing_and_surplus_keys_are_named(tmp_path):
    path = tmp_path / "net.safetensors"
    state = small().state_dict()
    state["surplus"] = state.pop("classifier.bias")
    safetensors.torch.save_file(state, path)
    with pytest.raises(InputError, match=r"classifier.bias is missing; surplus is not in the model"):
        load_checkpoint(path, small(), "cnn-4-8")


class Harmful:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    "writer", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_code_in_a_torch_file_is_refused_and_never_runs(tmp_path, capsys, writer):
    path = tmp_path / "harmful.pt"
    writer({"state_dict": Harmful()}, path)
    with pytest.raises(InputError, match="holds more than tensors"):
        read_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, {"state_dict": {"a": 1}}])
def test_torch_files_without_a_state_dict_are_refused(tmp_path, content):
    path = tmp_path / "net.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match="no state dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.bin", "missing.pt"])
def test_files_that_are_no_checkpoint_are_refused(tmp_path, name):
    path = tmp_path / name
    if name != "missing.pt":
        path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(InputError, match=name):
        read_checkpoint(path)


def test_a_truncated_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, small(), "cnn-4-8", {})
    path.write_bytes(path.read_bytes()[:-5])
    for read in (read_checkpoint, read_checkpoint_metadata):
        with pytest.raises(InputError, match="damaged"):
            read(path)
