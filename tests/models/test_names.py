import pytest
import torch

from logitcache.errors import InputError
from logitcache.models import Network, build_model, check_model_name, model_names

GREY = (1, 28, 28)
COLOUR = (3, 32, 32)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("cnn-16-32-32", GREY, 10, 14_458),
        ("res-32-64-128", GREY, 10, 289_514),
        # the last three as published for CIFAR-100
        ("wrn-16-2", COLOUR, 100, 703_284),
        ("wrn-40-2", COLOUR, 100, 2_255_156),
        ("wrn-28-4", COLOUR, 100, 5_872_180),
    ],
)
def test_networks_have_their_published_sizes(name, shape, classes, count):
    assert parameters(build_model(name, classes, shape)) == count


@pytest.mark.parametrize("name", ["cnn-4-8", "res-4-8-8", "wrn-10-1", "wrn-16-2"])
@pytest.mark.parametrize("shape", [GREY, COLOUR, (2, 17, 23)])
def test_features_are_what_the_head_is_given(name, shape):
    network = build_model(name, 7, shape).eval()
    inputs = torch.randn(3, *shape)
    logits, features = network.with_features(inputs)
    assert logits.shape == (3, 7)
    assert torch.equal(logits, network(inputs))
    assert torch.equal(network.head(features), logits)
    assert (features >= 0).all()  # after the last ReLU, before the head


def test_wide_resnet_is_pre_activation():
    body = build_model("wrn-16-2", 10, COLOUR).body
    first, second, third = body[1], body[3], body[2]
    assert [type(part).__name__ for part in body][-3:] == ["BatchNorm2d", "ReLU", "MeanPool"]
    assert (first.conv1.stride, second.conv1.stride) == ((1, 1), (2, 2))
    assert first.shortcut is not None
    assert third.shortcut is None
    inputs = torch.randn(2, 32, 8, 8)
    inner = third.conv2(torch.relu(third.norm2(third.conv1(torch.relu(third.norm1(inputs))))))
    assert torch.allclose(third(inputs), inputs + inner)


def test_shortcuts_that_change_the_width_read_the_activated_input():
    block = build_model("wrn-10-2", 10, COLOUR).body[1]
    inputs = torch.randn(2, 16, 8, 8)
    active = torch.relu(block.norm1(inputs))
    expected = block.shortcut(active) + block.conv2(torch.relu(block.norm2(block.conv1(active))))
    assert torch.allclose(block(inputs), expected)


def test_weights_follow_torchs_random_state():
    torch.manual_seed(3)
    first = build_model("cnn-4-8", 5, GREY).state_dict()
    torch.manual_seed(3)
    again = build_model("cnn-4-8", 5, GREY).state_dict()
    other = build_model("cnn-4-8", 5, GREY).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("wnr-16-2", "did you mean 'wrn-16-2'?"),
        ("CNN-16-32-32", "did you mean 'cnn-16-32-32'?"),
        ("resnet18", "torchvision/NAME"),
        ("wrn-17-2", "did you mean 'wrn-16-2'?"),
        ("wrn-4-2", "did you mean 'wrn-10-2'?"),
        ("wrn-16", "depth and a widening factor"),
        ("wrn-16-0", "unknown model"),
        ("res-32", "at least one block"),
        ("cnn", "unknown model"),
        ("cnn-16--32", "unknown model"),
        ("torchvision/resnet19", "did you mean 'resnet18'?"),
        ("torchvision/", "no classifier ''"),
        ("nosuchmodule:make", "no module 'nosuchmodule'"),
        ("", "unknown model ''"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_known_one(name, part):
    with pytest.raises(InputError) as caught:
        check_model_name(name)
    assert part in str(caught.value)
    with pytest.raises(InputError):
        build_model(name, 10, GREY)


def test_names_that_are_listed_are_known():
    own = [name for name in model_names() if "/" not in name and ":" not in name]
    assert len(own) >= 5
    for name in own:
        check_model_name(name)
        assert isinstance(build_model(name, 3, (1, 8, 8)), Network)
