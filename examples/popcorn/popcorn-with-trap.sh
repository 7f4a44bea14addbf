#!/bin/sh
trap 'echo "cleaned up"; exit 0' TERM
while true; do
  date
  sleep 1
done
