"""Verbs that plan, submit and follow the tasks of a run."""
