"""Public research data as partner drops: one module per published data set, through the door every partner uses.

Belongs here: reading the published files, filling what they lack (dates, identifiers, consents) by a seed and saying so
in the rows, and writing the feeds of `xmkt_assets/contracts`. Does not belong here: reading drops, cleaning, or any
number about the data. To add a data set, write one module with `write_drops` and name it in `ADAPTERS`.
"""

from typing import Final

from xmkt_assets.adapters import bruun, hahow, hillstrom
from xmkt_assets.adapters.drops import Adapter, AdapterSummary

ADAPTERS: Final[tuple[Adapter, ...]] = (bruun.write_drops, hahow.write_drops, hillstrom.write_drops)

__all__ = ["ADAPTERS", "Adapter", "AdapterSummary"]
