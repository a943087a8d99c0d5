import pytest
import torch
from pydantic import ValidationError

from logitcache.errors import InputError
from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint, weight_fingerprint
from logitcache.teacher import InferenceOptions, TeacherOptions, load_teacher

SHAPE = (1, 12, 12)


@pytest.fixture
def checkpoint(tmp_path):
    """A network with lived-in batch norm, and the file that holds it."""
    torch.manual_seed(0)
    network = build_model("res-8-16-16", 5, SHAPE)
    for _ in range(3):
        network(torch.randn(16, *SHAPE))
    path = tmp_path / "teacher.safetensors"
    save_checkpoint(path, network, "res-8-16-16", {})
    return path, network.eval()


def load(path, **inference):
    options = TeacherOptions(name="t", model="res-8-16-16", checkpoint=path)
    return load_teacher(options, 5, SHAPE, InferenceOptions(**inference), "cpu")


def test_a_teacher_gives_its_networks_logits_and_features(checkpoint):
    path, network = checkpoint
    inputs = torch.randn(9, *SHAPE)
    expected, expected_features = network.with_features(inputs)
    teacher = load(path)
    logits, nothing = teacher(inputs)
    again, features = teacher(inputs, features=True)
    assert nothing is None
    assert logits.dtype == features.dtype == torch.float32
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(again, expected, atol=1e-5)
    assert torch.allclose(features, expected_features, atol=1e-5)
    assert torch.allclose(teacher.head(features), logits, atol=1e-5)


def test_bf16_is_near_float32_and_comes_as_float32(checkpoint):
    path, network = checkpoint
    inputs = torch.randn(64, *SHAPE)
    expected = network(inputs).detach()
    logits, features = load(path, precision="bf16")(inputs, features=True)
    assert logits.dtype == features.dtype == torch.float32
    error = (logits - expected).abs().max() / expected.std()
    assert 1e-5 < error < 0.1  # eight bits of precision: neither float32 nor wrong


def test_a_teacher_does_not_depend_on_training_mode_nor_on_its_neighbours_in_the_batch(checkpoint):
    path, _ = checkpoint
    teacher = load(path)
    inputs = torch.randn(8, *SHAPE)
    assert not teacher.network.training
    assert torch.allclose(teacher(inputs)[0][:1], teacher(inputs[:1])[0], atol=1e-5)
    assert not teacher(inputs)[0].requires_grad


def test_the_fingerprint_is_that_of_the_weights(checkpoint):
    path, network = checkpoint
    teacher = load(path)
    assert teacher.fingerprint == weight_fingerprint(network.state_dict())
    assert teacher.fingerprint == load(path, precision="bf16").fingerprint
    with torch.no_grad():
        network.classifier.bias[0] += 1
    save_checkpoint(path, network, "res-8-16-16", {})
    assert load(path).fingerprint != teacher.fingerprint


def test_loading_leaves_torchs_random_state_alone(checkpoint):
    before = torch.random.get_rng_state()
    load(checkpoint[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_torchvisions_weights_are_asked_for_by_name(monkeypatch):
    state = build_model("torchvision/resnet18", 5, (3, 32, 32)).core.state_dict()
    asked = []
    monkeypatch.setattr("logitcache.teacher.pretrained", lambda *names: asked.append(names) or state)
    options = TeacherOptions(name="t", model="torchvision/resnet18", weights="DEFAULT")
    teacher = load_teacher(options, 5, (3, 32, 32), InferenceOptions(), "cpu")
    assert asked == [("resnet18", "DEFAULT")]
    assert teacher.fingerprint == weight_fingerprint(state)
    with pytest.raises(InputError, match=r"weights 'DEFAULT' does not fit .*resnet18: fc\.weight has shape"):
        load_teacher(options, 6, (3, 32, 32), InferenceOptions(), "cpu")


def test_a_teacher_without_weights_is_refused():
    options = TeacherOptions(name="lone", model="cnn-4-8")
    with pytest.raises(InputError, match="'lone' has no weights: name a checkpoint"):
        load_teacher(options, 5, SHAPE, InferenceOptions(), "cpu")


@pytest.mark.parametrize(
    ("change", "key", "part"),
    [
        ({"name": "../up"}, "name", "letters, digits"),
        ({"name": ".hidden"}, "name", "first no - or ."),
        ({"name": ""}, "name", "letters, digits"),
        ({"model": "wnr-16-2"}, "model", "did you mean 'wrn-16-2'"),
        ({"model": "cnn-4-8", "weights": "DEFAULT"}, "weights", "torchvision/NAME"),
        ({"checkpoint": "a.pt", "weights": "DEFAULT"}, "weights", "not both"),
        ({"teach": {}}, "teach", "not permitted"),
    ],
)
def test_faults_of_options_name_their_key(change, key, part):
    with pytest.raises(ValidationError) as caught:
        TeacherOptions(**{"name": "t", "model": "torchvision/resnet18", **change})
    (fault,) = caught.value.errors()
    assert fault["loc"] == (key,)
    assert part in fault["msg"]


def test_unknown_torchvision_weights_are_refused_before_any_download():
    options = TeacherOptions(name="t", model="torchvision/resnet18", weights="IMAGENET1K_V9")
    with pytest.raises(InputError, match=r"no weights 'IMAGENET1K_V9'; known are IMAGENET1K_V1, DEFAULT; did you mean"):
        load_teacher(options, 1000, (3, 32, 32), InferenceOptions(), "cpu")
