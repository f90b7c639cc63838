"""The web page: a thin door to what ``microscopygan restore`` does, for one person's browser.

`server` starts it; `guard` says who may ask, `routes` what; `session` holds what is open.
"""
