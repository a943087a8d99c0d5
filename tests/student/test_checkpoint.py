import pytest
import torch

from logitcache.errors import InputError
from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint
from logitcache.student import checkpoint

SHAPE = (1, 8, 8)


def trained(kind, seed, name="cnn-4-8"):
    """A network and its optimizer after two steps."""
    torch.manual_seed(seed)
    network = build_model(name, 3, SHAPE).to(memory_format=torch.channels_last)
    optimizer = kind(network.parameters())
    for _ in range(2):
        network(torch.randn(4, *SHAPE)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network, optimizer


KINDS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
    "plain adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "no momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_state_comes_back(tmp_path, kind):
    path = tmp_path / "state.safetensors"
    network, optimizer = trained(KINDS[kind], seed=0)
    checkpoint.save(path, network, optimizer, {"epoch": 2, "seconds": 0.1})
    other, fresh = build_model("cnn-4-8", 3, SHAPE).to(memory_format=torch.channels_last), None
    fresh = KINDS[kind](other.parameters())
    assert checkpoint.load(path, other, fresh) == {"epoch": 2, "seconds": 0.1}
    for key, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)
    assert len(fresh.state) == len(optimizer.state)
    for mine, theirs in zip(other.parameters(), network.parameters(), strict=True):
        for key, value in optimizer.state.get(theirs, {}).items():
            restored = fresh.state[mine][key]
            assert (value is None and restored is None) or torch.equal(restored, value)
            assert value is None or restored.stride() == value.stride()


@pytest.mark.parametrize("damage", ["cut", "emptied", "text"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    network, optimizer = trained(KINDS["sgd"], seed=0)
    checkpoint.save(path, network, optimizer, {})
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-3], "emptied": b"", "text": b"some other file"}[damage])
    with pytest.raises(InputError, match=r"state.safetensors is damaged .*delete it"):
        checkpoint.load(path, network, optimizer)


def test_a_file_of_weights_is_no_checkpoint_of_a_training(tmp_path):
    path = tmp_path / "model.safetensors"
    network, optimizer = trained(KINDS["sgd"], seed=0)
    save_checkpoint(path, network, "cnn-4-8", {})
    with pytest.raises(InputError, match="no checkpoint of a training"):
        checkpoint.load(path, network, optimizer)


@pytest.mark.parametrize("name", ["cnn-4-6", "cnn-4-8-8", "cnn-4"])
def test_another_networks_checkpoint_is_refused_and_changes_nothing(tmp_path, name):
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, *trained(KINDS["sgd"], seed=0, name=name), {})
    network, optimizer = trained(KINDS["sgd"], seed=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match="checkpoint of another network"):
        checkpoint.load(path, network, optimizer)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
