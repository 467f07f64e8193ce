"""Builders of Kubernetes objects: a cluster's spec and a decision in, a manifest out, nothing else.

Every object bears the labels by which a pass finds it again, and the owner reference that makes deletion complete.
"""
