#!/bin/sh
# Verify that a webhook comes from imgsvc, unchanged and recent. Needs openssl only.
# WEBHOOK_SECRET=whsec_… sh verify.sh ID TIMESTAMP SIGNATURE < body.json
set -eu
id=$1 timestamp=$2 signatures=$3

refuse() {
  echo "refused: $1" >&2
  exit 1
}

case $timestamp in '' | *[!0-9]*) refuse "the timestamp is not a number" ;; esac
age=$(($(date +%s) - timestamp))
[ "${age#-}" -le 300 ] || refuse "the timestamp is more than five minutes off"

# The part after whsec_ is the key in base64; openssl takes it in hexadecimal.
key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
expected=$({ printf '%s.%s.' "$id" "$timestamp"; cat; } |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)

case " $signatures " in # one, or two while a secret is rotated
  *" v1,$expected "*) echo "the signature is valid" ;;
  *) refuse "no signature is valid" ;;
esac
