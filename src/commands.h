// SPDX-License-Identifier: Apache-2.0
// The subcommands; each is in the file of its name.
#pragma once

#include "blobs/file_disk.h"
#include "command_line.h"

namespace lamina {

void add_format(CommandLine& line);
void add_mount(CommandLine& line, OpenDisk open_disk = open_file_disk);
void add_umount(CommandLine& line);
void add_sync(CommandLine& line);
void add_create(CommandLine& line);
void add_resize(CommandLine& line);
void add_snapshot(CommandLine& line);
void add_clone(CommandLine& line);
void add_rollback(CommandLine& line);
void add_origin(CommandLine& line);
void add_rename(CommandLine& line);
void add_rm(CommandLine& line);
void add_ls(CommandLine& line);
void add_status(CommandLine& line);
void add_map(CommandLine& line);
void add_get(CommandLine& line);
void add_set(CommandLine& line);
void add_attach(CommandLine& line);
void add_detach(CommandLine& line);
void add_blob(CommandLine& line);
void add_age(CommandLine& line);
void add_defrag(CommandLine& line);
void add_scrub(CommandLine& line);
void add_check(CommandLine& line);
void add_repair(CommandLine& line);
void add_inspect(CommandLine& line);

}  // namespace lamina
