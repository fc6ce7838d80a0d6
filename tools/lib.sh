# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share: the tree's place, root's hand, the build folders.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Warnings are errors with the compiler that the project is held to, and warnings with others.
werror() {
  [ "$(g++ -dumpversion | cut -d. -f1)" = 12 ] && echo true || echo false
}

# configure FOLDER [meson options]: makes build/FOLDER, or leaves it as it is when it exists whole.
configure() {
  local folder=$top/build/$1
  shift
  if [ -f "$folder/build.ninja" ]; then return 0; fi
  rm -rf "$folder"
  (cd "$top" && meson setup "$folder" "$@")
}

# build FOLDER [targets]
build() {
  local folder=$top/build/$1
  shift
  ninja -C "$folder" "$@"
}

# Several sources at once, of which most of the time goes to what they include: it takes half as
# long. A folder that somebody has set up himself stays as it is.
configure_release() {
  configure release --buildtype=release -Dwerror="$(werror)" --unity=on -Dunity_size=12 \
    -Dcpp_args=-Wno-subobject-linkage
}

# Of the sanitizers that all of tests/unit, tests/sim and tests/fuzz run under. Light optimization and
# no debug information: with both it takes several times as long; and clang, which takes seven tenths of
# the time of g++ 12. What is left out costs most and finds what ASan finds; the name is what g++ defines
# by itself. Of warnings the release build is the judge.
configure_asan() {
  CXX=clang++-19 configure asan --buildtype=plain -Doptimization=1 --unity=on -Dunity_size=12 \
    -Db_sanitize=address,undefined -Db_lundef=false \
    -Dcpp_args="-fno-sanitize=null,alignment,object-size,vptr -D__SANITIZE_ADDRESS__ -w"
}

# Of clang, too, for its time, and because it can be told what not to look at. Line numbers are what a
# report is read by.
configure_tsan() {
  CXX=clang++-19 configure tsan --buildtype=plain -Doptimization=1 --unity=on -Dunity_size=12 \
    -Db_sanitize=thread -Db_lundef=false \
    -Dcpp_args="-gline-tables-only -fsanitize-ignorelist=$top/tools/tsan.ignore -D__SANITIZE_THREAD__ -w"
}
