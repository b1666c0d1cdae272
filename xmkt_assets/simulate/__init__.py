"""Two simulated partner firms with known truth: a course platform and an insurer that share customers.

They write the same drop files real partners would (``landing/<partner>/<feed>/dt=…``), and their people answer
campaigns by a stored rule, so what a campaign truly caused is known. Read in this order:

* ``world``: parameters, `build_world`, everything that happens without a campaign
* ``people``, ``groups``, ``catalogue``, ``tastes``: who there is, what is sold, who is drawn to what
* ``course_firm`` (with ``reviews``), ``insurer_firm``, ``accounts``, ``permissions``: what the feeds hold
* ``offers``, ``response``, ``truth``: a campaign list, the rule by which people answer, `true_effects`
* ``campaign_events``, ``campaign_feeds``, ``drops``: the feeds with a campaign, `write_days`
* ``store``: world.json and the truth; ``chance``, ``calendar``: random numbers by key, days

Simulated data is called simulated wherever it shows.
"""

from xmkt_assets.simulate.drops import DropSummary, write_days
from xmkt_assets.simulate.store import load_world, save_truth, save_world
from xmkt_assets.simulate.truth import true_effects
from xmkt_assets.simulate.world import Parameters, World, build_world

__all__ = [
    "DropSummary",
    "Parameters",
    "World",
    "build_world",
    "load_world",
    "save_truth",
    "save_world",
    "true_effects",
    "write_days",
]
