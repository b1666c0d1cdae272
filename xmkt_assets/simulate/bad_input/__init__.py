"""A corpus of bad input: what partners really send, one kind after the other, each with what must become of it.

* ``kinds``: what a kind is, and the good rows it is made from
* ``containers``, ``layouts``, ``values``, ``json_lines``, ``repeats``, ``contacts``, ``places``: the kinds
* ``deliver``: the corpus in a landing folder

It is data and files only: ``xmkt_assets.bad_input_run`` runs it through the platform and judges what came out.
To add a kind, add a `BadInput` to the module it belongs to. Every name, number and address in it is made up.
"""

from typing import Final

from xmkt_assets.simulate.bad_input.contacts import CONTACTS
from xmkt_assets.simulate.bad_input.containers import CONTAINERS
from xmkt_assets.simulate.bad_input.deliver import Placed, place, sound_files, write_again, write_first
from xmkt_assets.simulate.bad_input.json_lines import JSON_LINES
from xmkt_assets.simulate.bad_input.kinds import BadInput, Expected, Slot
from xmkt_assets.simulate.bad_input.layouts import LAYOUTS
from xmkt_assets.simulate.bad_input.places import PLACES
from xmkt_assets.simulate.bad_input.repeats import REPEATS
from xmkt_assets.simulate.bad_input.values import VALUES

CORPUS: Final[tuple[BadInput, ...]] = (*CONTAINERS, *LAYOUTS, *VALUES, *JSON_LINES, *REPEATS, *CONTACTS, *PLACES)

__all__ = [
    "CORPUS",
    "BadInput",
    "Expected",
    "Placed",
    "Slot",
    "place",
    "sound_files",
    "write_again",
    "write_first",
]
