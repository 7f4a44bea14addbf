#!/bin/sh
echo "prepared"
"$@"
echo "ended"
