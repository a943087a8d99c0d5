"""Views: (seed, sample, view) -> augmented input, a pure function, the same wherever and whenever it is asked."""

from logitcache.views.options import MixOptions, ViewOptions
from logitcache.views.renderer import Rendered, Renderer, view_policy

__all__ = ["MixOptions", "Rendered", "Renderer", "ViewOptions", "view_policy"]
