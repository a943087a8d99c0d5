"""Networks by name, with their penultimate features and their head.

``names``      the table of names
``families``   the package's own networks
``foreign``    torchvision, timm and a user's own
``network``    what all of them can do
"""

from logitcache.models.foreign import pretrained
from logitcache.models.names import ModelName, build_model, check_model_name, model_names
from logitcache.models.network import Network

__all__ = ["ModelName", "Network", "build_model", "check_model_name", "model_names", "pretrained"]
