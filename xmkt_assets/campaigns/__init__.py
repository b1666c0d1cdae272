"""Campaigns: from a plan to the list of who is contacted with what, and the list of who is not and why.

One module per question: what was asked for (`plan`), which course goes with which product (`joint`), who is in
which arm (`holdout`), who may be listed (`decisions`), what the tables look like (`tables`), how it is shown
(`pictures`). Pure: frames in, frames out; reading the lake and writing to it is ``assets/campaigns.py``.
"""
