"""Widgets that know the model and the text helpers, and nothing else of whodiff."""
