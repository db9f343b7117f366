#!/usr/bin/env bash
# One would guess a RUN line of lit is a shell command, in which $NAME, $(...) and NAME=value work; ShTest(True), as
# many small projects have it, asks for the shell.
# Seen: ShTest() runs lines in a shell of its own that leaves $NAME as it is: test -n "$NAME" always passes, set or
# not; $(...) is not run, and NAME=value before a command is not found (env NAME=value is). ShTest(True) is a
# ValueError in lit 23, which ends the run.
# With: lit==23.1.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile lit==23.1.5
mkdir tests old
printf '%s\n' 'import lit.formats' 'config.name = "t"' 'config.suffixes = [".t"]' > tests/lit.cfg
cp tests/lit.cfg old/lit.cfg
echo 'config.test_format = lit.formats.ShTest()' >> tests/lit.cfg
echo 'config.test_format = lit.formats.ShTest(True)' >> old/lit.cfg
echo '# RUN: test -n "$NO_SUCH_NAME"' > tests/unset_is_not_empty.t
echo '# RUN: test "$(echo hi)" = hi' > tests/substitution.t
echo '# RUN: NAME=value true' > tests/assignment.t
echo '# RUN: env NAME=value true' > tests/env.t
cp tests/env.t old/env.t
venv/bin/lit --version
venv/bin/lit -v tests > seen.txt || true
grep -E '^(PASS|FAIL): ' seen.txt | sort
for name in unset_is_not_empty env; do grep -q "^PASS: t :: $name.t" seen.txt; done
for name in substitution assignment; do grep -q "^FAIL: t :: $name.t" seen.txt; done
if venv/bin/lit old > old.txt 2>&1; then
  echo "ShTest(True) was taken"
  exit 1
fi
grep -o -m 1 'ValueError: execute_external=True' old.txt
