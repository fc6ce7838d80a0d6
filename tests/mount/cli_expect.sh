# SPDX-License-Identifier: Apache-2.0
# For tests of the command line: what a command must answer. Sourced after lib.sh.

# answers CODE PATTERN COMMAND...: it ends with that code, and what it prints has a line that
# matches the pattern.
answers() {
  local code=$1 pattern=$2 said got=0
  shift 2
  said=$("$@" 2>&1) || got=$?
  [ $got = "$code" ] || fail "'$*' ended with $got, not $code, and said: $said"
  grep -qE -- "$pattern" <<<"$said" || fail "'$*' said '$said', nothing like '$pattern'"
}

# refuses PATTERN COMMAND...: exit code 3, and one message.
refuses() {
  local pattern=$1
  shift
  answers 3 "$pattern" "$@"
  [ "$("$@" 2>&1 | grep -c '^lamina [a-z ]*: ')" = 1 ] || fail "'$*' says more than one message"
}

# wrong_usage PATTERN COMMAND...: exit code 2.
wrong_usage() { answers 2 "$@"; }

# json EXPRESSION: of the JSON on standard input, called `it`, in Python.
json() { python3 -c 'import json, sys
it = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$1"; }
