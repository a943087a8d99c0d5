"""Pipelines: a recipe read and checked, its plan, and the execution of its steps."""
