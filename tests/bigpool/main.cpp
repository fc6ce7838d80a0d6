// SPDX-License-Identifier: Apache-2.0
// The program `lamina_words`: `lamina mount` with a WordDisk for every disk. What else lamina does,
// to the pool's file before or to the mount while it is there, the program itself does.
#include "commands.h"
#include "tests/bigpool/word_disk.h"

int main(int argc, char** argv) {
  lamina::CommandLine line;
  lamina::add_mount(line, lamina::open_word_disk);
  return line.run(argc, argv);
}
