#!/bin/sh
trap 'echo "goodbye"; exit 0' TERM
date
sleep 1000
