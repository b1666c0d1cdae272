"""kill -9 during a load: after a rerun the tables equal an undisturbed run's, and no reader ever saw half a load.

``scene`` makes a home with something to load, ``worker`` is the process that is killed, ``looking`` says what a reader
sees, ``reader`` is the process that looks all along, ``kills`` kills, runs again and compares. Run it: ``make chaos``.
"""
