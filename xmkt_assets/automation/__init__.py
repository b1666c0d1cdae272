"""Automation: what runs together (`jobs`), what the clock starts (`schedules`), what a change starts (`sensors`)."""
