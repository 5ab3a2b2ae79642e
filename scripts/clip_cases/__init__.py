"""Clips that video programs get wrong: how they are made, what is expected of each, and what is measured."""
