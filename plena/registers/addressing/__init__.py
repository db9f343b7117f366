"""From address expressions to register contents: which values live in which registers when, and what that costs.

Pure algorithms on an abstract loop tree (`program`); the pass `materialize-addresses` applies their plans to IR.
"""
