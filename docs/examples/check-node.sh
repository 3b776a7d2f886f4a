#!/bin/sh
# Check verify.mjs: sh docs/examples/check-node.sh
# Needs node, npm with its registry, and openssl; works in a temporary folder. Run it by hand: pip brings no Node.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$here/verify.mjs" "$folder"
cd "$folder"
npm install --silent --no-audit --no-fund standardwebhooks
echo "node $(node --version), standardwebhooks $(node -p 'require("standardwebhooks/package.json").version')"

export WEBHOOK_SECRET=whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD
key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
body='{"type":"webhook.test","timestamp":"2026-11-23T15:14:18Z","data":{}}'
now=$(date +%s)

sign() { # timestamp → signature of the body
  printf 'evt_1.%s.%s' "$1" "$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A
}
check() { # what is expected, body, timestamp, signatures
  expected=$1
  said=$(printf %s "$2" | node verify.mjs evt_1 "$3" "$4" 2>&1) || true
  case $said in
    "$expected"*) echo "ok: $said" ;;
    *) echo "NOT $expected: $said" && exit 1 ;;
  esac
}

check webhook.test "$body" "$now" "v1,$(sign "$now")"
check webhook.test "$body" "$now" "v1,AAAA v1,$(sign "$now")" # two, while a secret is rotated
check refused "$body " "$now" "v1,$(sign "$now")"
check refused "$body" "$((now + 1))" "v1,$(sign "$now")"
check refused "$body" "$((now - 400))" "v1,$(sign "$((now - 400))")"
echo "verify.mjs is right"
