// SPDX-License-Identifier: Apache-2.0
// lamina inspect: any block of metadata in words.
#include "tools/inspect.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"

namespace lamina {
namespace {

struct InspectOptions {
  std::string place;
  uint64_t part_offset = 0;
  bool hex = false, json = false;
};

Result<ExitCode> inspect(const InspectOptions& options) {
  const auto place = parse_block_place(options.place);
  if (!place) {
    std::fprintf(stderr, "lamina inspect: %s\n", place.error().message.c_str());
    return ExitCode::usage;
  }
  const auto inspected = inspect_block(place->path, options.part_offset, place->offset);
  if (!inspected) return std::unexpected(inspected.error());
  if (!options.json) {
    std::printf("%s", inspected->text.c_str());
    if (options.hex) std::printf("\n%s", inspected->hexdump.c_str());
    return ExitCode::done;
  }
  nlohmann::ordered_json fields = nlohmann::ordered_json::array();
  for (const auto& [name, value] : inspected->fields)
    fields.push_back({{"name", name}, {"value", value}});
  nlohmann::ordered_json facts{{"path", place->path},
                               {"offset", place->offset},
                               {"kind", inspected->kind},
                               {"fields", fields}};
  if (options.hex) facts["hexdump"] = inspected->hexdump;
  std::printf("%s\n",
              facts.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  return ExitCode::done;
}

}  // namespace

void add_inspect(CommandLine& line) {
  const auto options = std::make_shared<InspectOptions>();
  line.command("inspect", "Decode a block of metadata; a mounted pool may be looked at, too")
      .word("PATH@OFFSET", options->place,
            "A disk or file of a pool, and where: 0, 64K, 0x10000; without, its superblock")
      .size_option("--part-offset", options->part_offset,
                   "Where the blob begins on it, if it is a part")
      .flag("--hex", options->hex, "The bytes, too")
      .json(options->json)
      .example("lamina inspect /srv/pool.img@64K --hex")
      .action([options] { return inspect(*options); });
}

}  // namespace lamina
