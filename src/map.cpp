// SPDX-License-Identifier: Apache-2.0
// lamina map: where the ranges of a device live; and, the other way round, whose a place is.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "map_reverse.h"
#include "text_table.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

std::unexpected<Error> not_understood(const LaminaPath& device) {
  return fail(Code::corrupt, "the daemon's map of " + device.path() +
                                 " is not what this program can read; is it another version's?");
}

// Two extents may lie side by side in a device and apart on the medium; where is not shown.
void add_range(Json& ranges, const Json& range) {
  if (!ranges.empty()) {
    Json& last = ranges.back();
    const uint64_t end = last.value("begin", uint64_t{0}) + last.value("length", uint64_t{0});
    if (last.value("state", "") == range.value("state", "") &&
        last.value("blob", Json()) == range.value("blob", Json()) &&
        last.value("origin", Json()) == range.value("origin", Json()) &&
        end == range.value("begin", uint64_t{0})) {
      last["length"] = last.value("length", uint64_t{0}) + range.value("length", uint64_t{0});
      return;
    }
  }
  ranges.push_back(range);
}

// The map comes in pieces, each of which says where the next begins.
Result<Json> read_map(const LaminaPath& device) {
  Json ranges = Json::array();
  for (Json next = 0; !next.is_null();) {
    auto text = get_control(device, "map@" + next.dump());
    if (!text) return forward_error(text);
    const Json piece = Json::parse(*text, nullptr, false);
    if (!piece.is_object() || !piece.contains("ranges") || !piece.contains("next"))
      return not_understood(device);
    if (!piece["next"].is_null() && piece["next"] == next) return not_understood(device);
    for (const Json& range : piece["ranges"]) {
      if (!range.is_object()) return not_understood(device);
      add_range(ranges, range);
    }
    next = piece["next"];
  }
  return ranges;
}

Result<ExitCode> print_map(const std::string& typed, bool json) {
  auto device = find_device(typed, true);
  if (!device) return forward_error(device);
  auto ranges = read_map(*device);
  if (!ranges) return forward_error(ranges);
  if (json) {
    std::printf("%s\n", ranges->dump(2).c_str());
    return ExitCode::done;
  }
  using Align = TextTable::Align;
  TextTable table({{"BEGIN", Align::right},
                   {"LENGTH", Align::right},
                   {"SIZE", Align::right},
                   {"STATE"},
                   {"BLOB"}});
  for (const Json& range : *ranges) {
    const auto length = range.value("length", uint64_t{0});
    const Json blob = range.value("blob", range.value("origin", Json(nullptr)));
    table.row({std::to_string(range.value("begin", uint64_t{0})), std::to_string(length),
               format_size(length), range.value("state", "?"),
               blob.is_string() ? blob.get<std::string>() : "-"});
  }
  std::printf("%s", table.text().c_str());
  return ExitCode::done;
}

}  // namespace

void add_map(CommandLine& line) {
  struct Options {
    std::string device, offset;
    bool reverse = false, json = false;
  };
  const auto options = std::make_shared<Options>();
  line.command(
          "map",
          "List the ranges of a device: data, zero, hole, reserved or lost; or say whose data a "
          "place on a disk of a mounted pool is")
      .word("DEVICE", options->device, "MOUNT/NAME; with --reverse a disk or file of the pool")
      .optional_word("OFFSET", options->offset,
                     "With --reverse: bytes from the beginning of the blob on it")
      .flag("--reverse", options->reverse, "Say what lies at OFFSET of the disk, and whose it is")
      .json(options->json)
      .example("lamina map /mnt/pool/vm1\n  lamina map --reverse /dev/sdb1 123456789")
      .action([options]() -> Result<ExitCode> {
        if (options->reverse && !options->offset.empty())
          return print_reverse_map(options->device, options->offset, options->json);
        if (options->reverse || !options->offset.empty())
          return fail(Code::invalid, "--reverse and OFFSET belong together");
        return print_map(options->device, options->json);
      });
}

}  // namespace lamina
