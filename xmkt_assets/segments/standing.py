"""A trained model that stands for later days: what is pickled and registered.

Here: the model with what has to be known of its training to use it on another day and to see when it no longer fits.
Not here: when it is used instead of a new one (``xmkt_assets.assets.segments.shared``), and when it is replaced
(``xmkt_assets.automation``). It holds no person: an erasure that finds somebody in the training rows removes the file.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from xmkt_assets.segments.drift import Reference

STANDING_TAGS: Final = {"xmkt/models": "standing"}  # of a run that uses the models there are


@dataclass(frozen=True)
class StandingModel:
    """A fitted model, the columns it reads, and how these looked among the people of the day it was trained on."""

    name: str  # in the registry
    model: object
    reference: Reference
    trained_as_of: date
    features: tuple[str, ...]
