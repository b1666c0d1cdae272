"""Segments: who a person is, as of a date, in groups and probabilities.

Not here: the features themselves, which are SQL (``dbt_like_sql/segments``).

clusters    value groups: who is in which, and why
grouping    k-means and Ward; cluster_choice: how many groups, by evidence; value_names: their names, kept over weeks
targets     what is foretold of people; candidates: by which models; scoring: chosen, calibrated, given to everybody
calibration, model_card, score_tables  what is told of a score
next_interest  the topic a person turns to next; interest_*: its features, tree, rules, pictures
rules       what people have together, beyond chance
sentiment   how positive the words of reviews are
reasons     why, in words; feature_words: how a feature is said
fairness    how groups of people fare
drift       how far a day is from the day of training; standing: models used again
person_page what a person may be shown of it
intervals   bootstrap intervals of the numbers they report
pictures    what the UI and MLflow show of them
"""
