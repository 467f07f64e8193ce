"""Decisions: plain values in, decisions out. No clocks, no chance, no network; time and entropy are arguments.

A decision carries its reason, which becomes a condition's message or an event.
"""
