#!/bin/sh
# Builds the native scan core with sanitizers and drives it over small trees; then with valgrind,
# where that is. About half a minute.
set -eu
cd "$(dirname "$0")/../.."

compiler=${CC:-cc}
place=$(mktemp -d)
chmod 755 "$place"  # the driver also walks as nobody
trap 'rm -rf "$place"' EXIT

drive() { # NAME WRAPPER FLAGS...
  name=$1 wrapper=$2
  shift 2
  echo "$name"
  $compiler -std=c11 -g -O1 -Wall -Wextra -Werror -D_FILE_OFFSET_BITS=64 -pthread "$@" \
    -Iapp/scan/native app/scan/native/*.c tests/native/driver.c -o "$place/driver"
  mkdir "$place/trees"
  $wrapper "$place/driver" "$place/trees"
  rm -rf "$place/trees"
}

# ThreadSanitizer of older compilers cannot live with much randomness in the addresses.
fixed=""
if setarch -R true 2>/dev/null; then fixed="setarch -R"; fi

drive "AddressSanitizer, UndefinedBehaviorSanitizer" "" \
  -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
drive "ThreadSanitizer" "$fixed" -fsanitize=thread
if command -v valgrind >/dev/null; then
  # It may not know openat2(2) yet, and say so; then this is the check of the way without it.
  drive "valgrind" "valgrind --quiet --leak-check=full --show-leak-kinds=definite \
    --errors-for-leak-kinds=definite --error-exitcode=9"
fi
echo "nothing found"
