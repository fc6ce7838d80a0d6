// SPDX-License-Identifier: Apache-2.0
// The program `lamina`.
#include "command_line.h"
#include "commands.h"

int main(int argc, char** argv) {
  lamina::CommandLine line;
  lamina::add_format(line);
  lamina::add_mount(line);
  lamina::add_umount(line);
  lamina::add_sync(line);
  lamina::add_create(line);
  lamina::add_resize(line);
  lamina::add_snapshot(line);
  lamina::add_clone(line);
  lamina::add_rollback(line);
  lamina::add_origin(line);
  lamina::add_rename(line);
  lamina::add_rm(line);
  lamina::add_ls(line);
  lamina::add_status(line);
  lamina::add_map(line);
  lamina::add_get(line);
  lamina::add_set(line);
  lamina::add_attach(line);
  lamina::add_detach(line);
  lamina::add_blob(line);
  lamina::add_age(line);
  lamina::add_defrag(line);
  lamina::add_scrub(line);
  lamina::add_check(line);
  lamina::add_repair(line);
  lamina::add_inspect(line);
  return line.run(argc, argv);
}
