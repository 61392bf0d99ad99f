#!/usr/bin/env bash
# The life of a model in one go, on a registry that is made for it and thrown away:
# trained, approved, deployed, found wanting, rolled back, replayed, proven.
#
#     examples/fraud/run.sh [FOLDER]
#
# It needs pedigree (or PEDIGREE=path), git, and a Python with requirements.txt first on
# the PATH (or PYTHON=path). Everything is on loopback, on free ports. With FOLDER it
# makes that, works there and leaves the files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
keep=${1:-}
if [ -n "$keep" ]; then mkdir "$keep" && work=$(cd "$keep" && pwd); else work=$(mktemp -d); fi

started=()
finish() {
  status=$?
  trap - EXIT
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  if [ "$status" -ne 0 ]; then
    printf '\nrun.sh FAILED at: %s\n' "$at"
    grep -v level=INFO "$work"/*.log | tail -n 40 || true
  fi
  if [ -z "$keep" ]; then
    chmod -R u+w "$work" && rm -rf "$work"
  fi
  exit "$status"
}
at=start
trap finish EXIT
trap 'exit 130' INT TERM

say() { at=$1 && printf '\n\033[1m== %s\033[0m  (%d s)\n' "$1" "$SECONDS"; }
die() { echo "$*" >&2 && exit 1; }
# shown prints a command before it runs it, as whom it was run.
shown() { printf '%s$ %s\n' "$who" "$*" && "$@"; }
# as runs a command with the token of an account: as ann pedigree request fraud.
as() {
  local who=$1
  shift
  PEDIGREE_TOKEN=$(cat "$work/tokens/$who") shown "$@"
}
# quietly is as, for what the script asks for itself.
quietly() {
  local who=$1
  shift
  PEDIGREE_TOKEN=$(cat "$work/tokens/$who") "$@"
}
# refused runs a command that must be refused by a rule.
refused() {
  local code=0
  "$@" || code=$?
  [ "$code" -eq 4 ] || die "that should have been refused: exit code $code"
}
# soon waits until a command succeeds, for as long as a slow machine may need.
soon() {
  local end=$((SECONDS + 90))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "waited 90 s for: $*"
    sleep 0.2
  done
}

# One folder with the programs by the names that the example uses.
mkdir -p "$work/bin" "$work/tokens" "$work/home"
ln -sf "$(realpath "$(command -v "${PEDIGREE:-pedigree}")")" "$work/bin/pedigree"
if [ -n "${PYTHON:-}" ]; then # its folder, not the file behind its link: that is what makes it see its packages
  VIRTUAL_ENV=$(cd "$(dirname "$PYTHON")/.." && pwd)
  export VIRTUAL_ENV PATH="$VIRTUAL_ENV/bin:$PATH"
fi
export PATH="$work/bin:$PATH" HOME="$work/home" PYTHONDONTWRITEBYTECODE=1 NO_COLOR=1
# Nothing of who runs this gets in, and nothing but loopback is spoken to.
unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME PEDIGREE_TOKEN PEDIGREE_DATA PEDIGREE_PROJECT PEDIGREE_OWNER PEDIGREE_DATABASE
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
python -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("fastapi", "sklearn", "skops", "uvicorn"))))' || die "this needs the packages of $here/requirements.txt: PYTHON=path names a Python that has them"

say "A registry of its own, with accounts"
pedigree serve --addr 127.0.0.1:0 --data "$work/registry" >"$work/registry.log" 2>&1 &
started+=($!)
soon grep -o 'http://127.0.0.1:[0-9]*' "$work/registry.log"
PEDIGREE_URL=$(grep -o 'http://127.0.0.1:[0-9]*' "$work/registry.log" | head -n 1)
export PEDIGREE_URL
pedigree admin init --name root --data-dir "$work/registry" --quiet >"$work/tokens/root"
as root pedigree account create ann --display-name "Ann, data scientist"
as root pedigree account create bob --display-name "Bob, risk officer"
as root pedigree account create carl --display-name "Carl, on call"
as root pedigree account create ci-fraud --service --acts-for ann
as root pedigree account create fraud-service --service --acts-for ann
for grant in approver:ann deployer:ann approver:bob oncall:carl contributor:ci-fraud deployer:fraud-service; do
  as root pedigree role grant "${grant%:*}" "${grant#*:}"
done
for name in ann bob carl ci-fraud; do
  quietly root pedigree token create --account "$name" --expires 1d --quiet >"$work/tokens/$name"
done
# What serves may read and say what it runs, and nothing else. (The events that prove what
# sync fetched are read, too: reader has log.read.)
quietly root pedigree token create --account fraud-service --scope reader --scope observations.write --expires 1d --quiet >"$work/tokens/fraud-service"

say "The team's repository"
cp -R "$here" "$work/repository"
cd "$work/repository"
rm -rf build __pycache__
printf 'build/\n__pycache__/\n' >.gitignore
git init --quiet --initial-branch main
git add .
git -c user.name=Ann -c user.email=ann@example.org commit --quiet -m "Fraud model: five columns"
git log --oneline

say "The policy and the targets"
as root pedigree policy apply -f policy.yaml
as root pedigree target create prod/fraud-api --kind online --owner team:risk --alias production --protected --confirm observation \
  --dashboard https://grafana.example.org/d/fraud --runbook https://wiki.example.org/fraud --log-schema log-schema.json
as root pedigree target create prod/fraud-nightly --kind batch --owner team:risk

# in_ci runs release.sh as a job of CI does; the record names the job.
unset "${!GITHUB_@}" GITEA_ACTIONS FORGEJO_ACTIONS
in_ci() {
  (
    export CI=true GITHUB_ACTIONS=true GITHUB_WORKFLOW=release GITHUB_JOB=release GITHUB_ACTOR=ann GITHUB_RUN_ID=$1 GITHUB_RUN_NUMBER=$1
    export GITHUB_SERVER_URL=https://git.example.org GITHUB_REPOSITORY=risk/fraud GITHUB_REF=refs/heads/main GITHUB_SHA
    GITHUB_SHA=$(git rev-parse HEAD)
    as ci-fraud ./release.sh
  )
}

say "CI trains version 1, registers it and asks for approval"
in_ci 1
refused as ann pedigree approve fraud/1 # CI acted for ann: she is its author
as bob pedigree approve fraud/1 --comment "evaluation read; AUC 0.90 on the locked test data"

say "The service starts, and ann deploys"
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
PEDIGREE_TOKEN=$(cat "$work/tokens/fraud-service") \
  pedigree sync target:prod/fraud-api "$work/models" --interval 1s --no-report >"$work/sync.log" 2>&1 &
started+=($!)
PEDIGREE_TOKEN=$(cat "$work/tokens/fraud-service") FRAUD_MODELS=$work/models FRAUD_LOG=$work/predictions.jsonl HOSTNAME=fraud-api-1 \
  python -m uvicorn service:app --host 127.0.0.1 --port "$port" --log-level warning >"$work/service.log" 2>&1 &
started+=($!)
service=http://127.0.0.1:$port
serves() { python -c 'import json, sys, urllib.request; sys.exit(json.load(urllib.request.urlopen(sys.argv[1] + "/healthz"))["version"] != int(sys.argv[2]))' "$service" "$1"; }
active() { [ "$(quietly ann pedigree show fraud@production --quiet)" = "fraud/$1" ]; }
image=registry.example.org/risk/fraud:1.4 # this folder and its packages; the model is not in it
as ann pedigree deploy fraud/1 --to prod/fraud-api --image "$image" --note "first version"
as ann pedigree deploy fraud/1 --to prod/fraud-nightly --image "$image" --note "first version"
soon serves 1
soon active 1
as ann pedigree status
python traffic.py "$service" 2026-11-23

say "Version 2: one column more, and everything says that it is better"
sed -i.before 's|train.py --out build|train.py --out build --with-chargebacks|' release.sh && rm release.sh.before
git -c user.name=Ann -c user.email=ann@example.org commit --quiet --all -m "Use chargebacks_30d: AUC 0.99"
in_ci 2
as bob pedigree approve fraud/2 --comment "AUC 0.99, the gates pass"
as ann pedigree diff fraud/1 fraud/2
as ann pedigree deploy fraud/2 --to prod/fraud-api --image "$image" --note "chargebacks_30d: AUC 0.99"
as ann pedigree deploy fraud/2 --to prod/fraud-nightly --image "$image" --note "chargebacks_30d: AUC 0.99"
soon serves 2
soon active 2
python traffic.py "$service" 2026-11-24

say "The nightly job runs with what is active at its target"
as fraud-service pedigree exec --target prod/fraud-nightly --cache "$work/cache" --output scores=scores-2026-11-24.jsonl -- \
  python batch.py 2026-11-24 scores-2026-11-24.jsonl

say "At night: a customer was robbed, and all that there is is the logged prediction"
quietly carl pedigree predictions check "$work/predictions.jsonl" --target prod/fraud-api
tail -n 1 "$work/predictions.jsonl" >"$work/line.json"
cat "$work/line.json"
as carl pedigree which "$work/line.json" >"$work/which.txt"
cat "$work/which.txt"
grep -q '^fraud/2' "$work/which.txt" || die "which did not find fraud/2"
as carl pedigree changes prod/fraud-api --from -1h

say "Carl is on call: he may roll back, and nothing else"
refused as carl pedigree deploy fraud/1 --to prod/fraud-api
as carl pedigree rollback prod/fraud-api --yes --reason "2 lets frauds through that 1 stopped" --incident https://incidents.example.org/4711
rolled=$SECONDS
soon serves 1
soon active 1
echo "the service serves fraud/1 again, $((SECONDS - rolled)) s after the command"
python traffic.py "$service" 2026-11-24
as carl pedigree status prod/fraud-api
as carl pedigree timeline prod/fraud-api

say "In the morning: what did version 2 do, and can we prove it?"
as ann pedigree replay "$work/line.json" --run --write "$work/proof.json"
key=$(quietly ann pedigree log keys --quiet)
env -u PEDIGREE_URL pedigree verify "$work/proof.json" --key "$key"
as ann pedigree replay scores-2026-11-24.jsonl --id 2026-11-24-7
as bob pedigree withdraw fraud/2 --reason "trained on chargebacks_30d, which is filled in after the fact" --incident https://incidents.example.org/4711
echo "The job still runs it; the plan names what was written since:"
as carl pedigree rollback prod/fraud-nightly --yes --reason "fraud/2 is withdrawn" --incident https://incidents.example.org/4711 2>&1 | tee "$work/nightly.txt"
grep -q 'written since.*scores' "$work/nightly.txt" || die "the rollback did not name what the job wrote"
echo "Whatever version 2 wrote is to be made again:"
as ann pedigree executions fraud/2 --outputs
quietly ann pedigree executions fraud/2 -o json >"$work/written.json"
grep -q "$(sha256sum scores-2026-11-24.jsonl | cut -c1-64)" "$work/written.json" || die "the file of the job was not found"

say "The whole log"
as ann pedigree report delivery --from -1d
as ann pedigree verify

printf '\nall of it took %d s\n' "$SECONDS"
