"""Evaluation: what an experiment caused, and how sure that is.

One module per question: what is measured (`metrics`), was the allocation as designed (`srm`), how large is the
effect (`effects`), does a score find those it works on (`qini`), can such a score be learnt (`t_learner`,
`covariates`), all of it for every experiment (`experiments`), the tables (`tables`) and pictures (`pictures`).
Pure: frames and arrays in, frames and frozen results out; wiring is ``assets/evaluation.py``.
"""
