"""Hypothesis profiles: `dev` looks for new failures, `ci` repeats the same cases, `mutants` shrinks nothing.

Modules are verified between passes, unless PLENA_VERIFY_PASSES=0."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

os.environ.setdefault("PLENA_VERIFY_PASSES", "1")

_SLOW = [HealthCheck.too_slow]

settings.register_profile("dev", max_examples=40, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", max_examples=60, deadline=None, suppress_health_check=_SLOW, derandomize=True)
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
