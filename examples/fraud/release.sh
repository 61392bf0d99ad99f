#!/usr/bin/env bash
# Train, register, ask for approval: what CI does on every merge to main, and the same by
# hand. Further arguments go to train.py.
#
#     ./release.sh [--with-chargebacks]
set -euo pipefail
cd "$(dirname "$0")"

python train.py --out build "$@"
version=$(pedigree push fraud build/model --record build/record.yaml --signature build/model/signature.json \
  --evidence evaluation=build/evaluation.json --script train.py --owner team:risk --target prod/fraud-api \
  --rollback-note "nothing to mind: no state, the service swaps it in place" --alias candidate --quiet)

# Whoever approves sees what the gates say. A gate that fails is not hidden by a version
# that nobody asks to approve: the job fails, the version stays registered.
# (Exit code 4 is a refusal; the missing approval alone is what is asked for next.)
pedigree policy test "$version" --target prod/fraud-api || [ $? -eq 4 ]
pedigree request "$version" --note "${GITHUB_SERVER_URL:+$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID}"
echo "$version"
