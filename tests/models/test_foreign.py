import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from logitcache.errors import InputError
from logitcache.models import build_model
from logitcache.models.network import ForeignNetwork

SHAPE = (3, 32, 32)


class Detour(nn.Module):
    """Its head is neither the last module registered nor named as one would guess."""

    def __init__(self, classes=5):
        super().__init__()
        self.makes_logits = nn.Linear(6, classes)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(3 * 32 * 32, 6)
        self.unused = nn.Linear(2, classes)

    def forward(self, inputs):
        return self.makes_logits(self.drop(self.hidden(inputs.flatten(1)).relu()))


@pytest.fixture
def module_of_networks(monkeypatch):
    """An importable module whose names are factories."""

    def install(**factories):
        monkeypatch.setitem(sys.modules, "users_networks", SimpleNamespace(**factories))

    return install


@pytest.mark.parametrize(("name", "features"), [("resnet18", 512), ("mobilenet_v2", 1280)])
def test_torchvisions_networks_have_features_and_head(name, features):
    network = build_model(f"torchvision/{name}", 7, SHAPE).eval()
    inputs = torch.randn(2, *SHAPE)
    logits, penultimate = network.with_features(inputs)
    assert penultimate.shape == (2, features)
    assert torch.equal(network.head(penultimate), logits)
    assert torch.equal(network(inputs), logits)


def test_checkpoints_of_torchvisions_networks_keep_torchvisions_keys():
    assert "layer1.0.conv1.weight" in build_model("torchvision/resnet18", 7, SHAPE).core.state_dict()


def test_the_head_is_the_layer_that_makes_the_logits():
    wrapped = Detour()
    network = ForeignNetwork("detour", wrapped, SHAPE, 5)
    assert network.head is wrapped.makes_logits
    assert wrapped.training


def test_each_call_catches_its_own_features_and_leaves_no_hook():
    network = ForeignNetwork("detour", Detour(), SHAPE, 5).eval()
    for _ in range(2):
        logits, features = network.with_features(torch.randn(4, *SHAPE))
        assert torch.equal(network.head(features), logits)
    assert not network.head._forward_pre_hooks
    assert not network.head._forward_hooks


def test_a_network_without_a_linear_head_has_logits_but_no_features():
    pooled = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = ForeignNetwork("pooled", pooled, SHAPE, 5)
    assert network.head is None
    assert network(torch.zeros(2, *SHAPE)).shape == (2, 5)
    with pytest.raises(InputError, match="pooled does not end in a linear layer"):
        network.with_features(torch.zeros(2, *SHAPE))


def test_a_linear_layer_that_is_scaled_afterwards_is_no_head():
    class Scaled(Detour):
        def forward(self, inputs):
            return super().forward(inputs) * 2

    assert ForeignNetwork("scaled", Scaled(), SHAPE, 5).head is None


def test_inputs_that_a_network_cannot_take_are_refused_when_it_is_built():
    with pytest.raises(InputError, match=r"torchvision/resnet18 refuses inputs of shape \(1, 28, 28\).*channels"):
        build_model("torchvision/resnet18", 10, (1, 28, 28))


def test_factories_are_called_with_classes_and_shape(module_of_networks):
    seen = []
    module_of_networks(make=lambda classes, shape: seen.append((classes, shape)) or Detour(classes))
    network = build_model("users_networks:make", 4, SHAPE)
    assert seen == [(4, SHAPE)]
    assert network(torch.zeros(1, *SHAPE)).shape == (1, 4)


def test_factories_may_return_a_network_of_ours(module_of_networks):
    ours = build_model("cnn-4-8", 4, SHAPE)
    module_of_networks(make=lambda classes, shape: ours)
    assert build_model("users_networks:make", 4, SHAPE) is ours


@pytest.mark.parametrize(
    ("factory", "part"),
    [
        (lambda classes, shape: "network", "returned a str"),
        (dict.fromkeys, "could not be called with classes=4"),
        (lambda classes, shape: Detour(9), r"\(1, 9\) for one input; needed is \(1, 4\)"),
    ],
)
def test_factories_that_make_something_else_are_refused(module_of_networks, factory, part):
    module_of_networks(make=factory)
    with pytest.raises(InputError, match=part):
        build_model("users_networks:make", 4, SHAPE)


def test_without_timm_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'logitcache\[timm\]'"):
        build_model("timm/resnet18", 10, SHAPE)


def test_timm_is_given_classes_and_channels(monkeypatch):
    given = {}

    def create_model(name, **arguments):
        given.update(arguments, name=name)
        return Detour(arguments["num_classes"])

    fake = SimpleNamespace(
        is_model=lambda name: name == "tiny", list_models=lambda: ["tiny"], create_model=create_model
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    assert build_model("timm/tiny", 4, SHAPE)(torch.zeros(1, *SHAPE)).shape == (1, 4)
    assert given == {"name": "tiny", "pretrained": False, "num_classes": 4, "in_chans": 3}
    with pytest.raises(InputError, match="timm has no model 'tny'; did you mean 'tiny'"):
        build_model("timm/tny", 4, SHAPE)
