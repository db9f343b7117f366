#!/usr/bin/env bash
# One would guess that distributed.wait(futures) and as_completed(futures) ask the futures for their client: every one
# has `.client`, and result() works for a client that is not the default one.
# Seen: both raise ValueError "No clients found" if the client was made with set_as_default=False; inside
# `with client.as_current():` they work.
# With: distributed==2026.8.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile distributed==2026.8.0
venv/bin/python - <<'PY'
import distributed
from distributed import Client, as_completed, wait

print("distributed", distributed.__version__)
with Client(processes=False, n_workers=1, dashboard_address=None, set_as_default=False) as client:
    future = client.submit(abs, -3)
    assert future.client is client and future.result() == 3
    for function in (wait, as_completed):
        try:
            function([future])
        except ValueError as error:
            print(function.__name__, "raises", str(error).splitlines()[0])
            assert str(error).startswith("No clients found")
        else:
            raise SystemExit(f"{function.__name__} found the client")
    with client.as_current():
        assert wait([future]).done == {future}
        assert [f.result() for f in as_completed([future])] == [3]
PY
